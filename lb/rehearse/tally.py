"""What a rehearsal adds up to. Pure: it hears of events, with the time, and of clients."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import attrs

from lb.events import (
    BackendAdvised,
    BackendEjected,
    BackendRestored,
    ConfigApplied,
    ConfigRejected,
    ConnectionClosed,
    Event,
    Fault,
)
from lb.figures import LiveConnection
from lb.rehearse.scenario import Does

__all__ = ["SLICES", "End", "Moment", "Slice", "Spell", "Tally", "end_of"]

End: TypeAlias = Literal["ok", "failed", "cut", "left"]
"""How a session ended. ``failed``: it never had a server. ``cut``: it had one, and was ended by it or by the balancer
before its time. ``left``: its client has given up."""
VERBS: Mapping[Does, str] = {
    "die": "dies",
    "vanish": "vanishes",
    "hang": "hangs",
    "slow": "slows down",
    "fail": "fails its checks",
    "flap": "flaps",
    "join": "joins",
    "recover": "recovers",
}
SLICES = 120
"""Parts of the time that charts tell apart."""
PAUSE = 10.0
"""Seconds without another one that end a run of sessions that went wrong. A guess."""


def end_of(record: ConnectionClosed) -> End:
    """By what a connection's record says, of an imagined client or a real one."""
    if record.reason == "eof":
        return "ok"
    if record.ended_by == "client":
        return "left"
    return "failed" if record.connect_ms is None else "cut"


@attrs.frozen
class Moment:
    """A line of the timeline."""

    at: float
    kind: Literal["happening", "ejected", "restored", "reload", "sessions", "fault"]
    text: str
    server: str = ""
    """As ``pool/server``, if it is about one."""
    does: Does | None = None
    """What befell it."""


@attrs.define
class Spell:
    """Sessions that went wrong in the same way, one soon after another."""

    end: End
    reason: str
    listener: str
    first: float
    last: float
    count: int = 1


@attrs.define
class Slice:
    """A part of the time."""

    arrived: int = 0
    moved: int = 0
    ends: Counter[End] = attrs.field(factory=Counter)
    served: Counter[str] = attrs.field(factory=Counter)
    """By ``pool/server``: the sessions that came in this part."""
    waits: array[float] = attrs.field(factory=lambda: array("d"))
    """Seconds until each client was joined to its server, of those that were in this part."""


class Tally:
    """Counts. ``now`` is seconds from the start, at most ``duration``."""

    def __init__(self, duration: float) -> None:
        self.slices = [Slice() for _ in range(SLICES + 1)]
        self.moments: list[Moment] = []
        self.spells: list[Spell] = []
        self.ends: Counter[End] = Counter()
        self.reasons: Counter[tuple[End, str]] = Counter()
        self.served: Counter[str] = Counter()
        """Sessions that had a server, by ``pool/server``; those that are still open, too, at the end."""
        self.arrived = 0
        self.moved = 0
        self.retries = 0
        self.open = 0
        self.faults = 0
        self._per_second = SLICES / duration
        self._current: dict[tuple[End, str, str], Spell] = {}

    def client_arrived(self, now: float) -> None:
        self.arrived += 1
        self.slices[int(now * self._per_second)].arrived += 1

    def client_refused(self, now: float, listener: str) -> None:
        """Nobody listened."""
        self._went_wrong(now, "failed", "refused", listener)

    def client_joined(self, now: float, waited: float) -> None:
        self.slices[int(now * self._per_second)].waits.append(waited)

    def befell(self, now: float, server: str, does: Does) -> None:
        """The scenario's doing."""
        self.moments.append(Moment(now, "happening", f"{server} {VERBS[does]}", server, does))

    def reloading(self, now: float, file: str) -> None:
        """The same."""
        self.moments.append(Moment(now, "reload", f"reload of {file}"))

    def observe(self, now: float, event: Event) -> None:
        """The balancer's."""
        match event:
            case ConnectionClosed():
                self._closed(now, event)
            case BackendEjected(pool, server, reason, source):
                name = f"{pool}/{server}"
                self.moments.append(Moment(now, "ejected", f"{name} ejected: {reason} ({source})", name))
            case BackendRestored(pool, server):
                name = f"{pool}/{server}"
                self.moments.append(Moment(now, "restored", f"{name} restored", name))
            case BackendAdvised():
                pass
            case ConfigApplied(added, removed, changed):
                lists = {"added": added, "removed": removed, "changed": changed}
                steps = "; ".join(f"{verb} {', '.join(names)}" for verb, names in lists.items() if names)
                self.moments.append(Moment(now, "reload", f"configuration applied: {steps or 'no changes'}"))
            case ConfigRejected(errors):
                self.moments.append(Moment(now, "reload", f"configuration rejected: {'; '.join(errors)}"))
            case Fault(where, exception):
                self.faults += 1
                text = f"fault: {where}: {type(exception).__name__}: {exception}"
                self.moments.append(Moment(now, "fault", text))

    def _closed(self, now: float, record: ConnectionClosed) -> None:
        end = end_of(record)
        if record.connect_ms is not None:
            self._served(now - record.duration_ms / 1000, f"{record.pool}/{record.server}")
        if record.attempts:
            self.retries += len(record.attempts)
            if record.connect_ms is not None and record.attempts[-1].server != record.server:
                self.moved += 1
                self.slices[int(now * self._per_second)].moved += 1
        if end == "ok":
            self.ends["ok"] += 1
            self.slices[int(now * self._per_second)].ends["ok"] += 1
        else:
            self._went_wrong(now, end, record.reason, record.listener)

    def _served(self, since: float, name: str) -> None:
        self.served[name] += 1
        self.slices[int(since * self._per_second)].served[name] += 1

    def _went_wrong(self, now: float, end: End, reason: str, listener: str) -> None:
        self.ends[end] += 1
        self.reasons[end, reason] += 1
        self.slices[int(now * self._per_second)].ends[end] += 1
        kind = (end, reason, listener)
        spell = self._current.get(kind)
        if spell is None or now - spell.last > PAUSE:
            self._current[kind] = spell = Spell(end, reason, listener, now, now, 0)
            self.spells.append(spell)
        spell.last = now
        spell.count += 1

    def finish(self, now: float, live: Iterable[LiveConnection]) -> None:
        """The time is over; these are still open."""
        self.open = self.arrived - self.ends.total()
        for connection in live:
            if connection.state == "open":
                self._served(now - connection.duration_ms / 1000, f"{connection.pool}/{connection.server}")
