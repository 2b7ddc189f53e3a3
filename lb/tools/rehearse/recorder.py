"""Records and counts the events and clients of a rehearsal. No I/O; the time is an argument."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import attrs

from lb.events import (
    BackendEjected,
    BackendRestored,
    ConfigApplied,
    ConfigRejected,
    ConnectionClosed,
    Event,
    Fault,
)
from lb.model.connection import LiveConnection
from lb.tools.rehearse.scenario import Does, NodeDoes

__all__ = ["SLICES", "Burst", "End", "Moment", "Recorder", "Slice", "end_of"]

End: TypeAlias = Literal["ok", "failed", "cut", "left"]
"""How a session ended. ``failed``: it never had a server. ``cut``: its server or the balancer ended it early, or the
balancer is gone. ``left``: its client gave up."""
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
"""Parts of the time in charts."""
BURST_PAUSE = 10.0
"""Seconds without a further failed session that end a burst. An estimate."""


def end_of(record: ConnectionClosed) -> End:
    """Classify a ``connection.closed`` event, of a simulated or a real client."""
    if record.reason == "eof":
        return "ok"
    if record.ended_by == "client":
        return "left"
    return "failed" if record.connect_ms is None and record.reason != "stopped" else "cut"


@attrs.frozen
class Moment:
    """A line of the timeline."""

    at: float
    kind: Literal["happening", "ejected", "restored", "reload", "sessions", "fault"]
    text: str
    server: str = ""
    """``pool/server``, if the line is about a server."""
    does: Does | None = None
    """Fault of the server, or of the balancer."""
    node: str = ""
    """The balancer that the line is about, or that has emitted it, if there are several."""


@attrs.define
class Burst:
    """A series of sessions that failed in the same way, at most BURST_PAUSE apart."""

    end: End
    reason: str
    listener: str
    first: float
    last: float
    count: int = 1


@attrs.define
class Slice:
    """The counts of one part of the time."""

    arrived: int = 0
    moved: int = 0
    ends: Counter[End] = attrs.field(factory=Counter)
    served: Counter[str] = attrs.field(factory=Counter)
    """Sessions that began in this part, per ``pool/server``."""
    took: Counter[str] = attrs.field(factory=Counter)
    """Sessions that came to each balancer in this part, if there are several."""
    waits: array[float] = attrs.field(factory=lambda: array("d"))
    """Seconds that clients waited for their server, for clients joined to one in this part."""


class Recorder:
    """Counts sessions and collects the timeline. ``now`` is seconds from the start, at most ``duration``."""

    def __init__(self, duration: float) -> None:
        self.slices = [Slice() for _ in range(SLICES + 1)]
        self.moments: list[Moment] = []
        self.bursts: list[Burst] = []
        self.ends: Counter[End] = Counter()
        self.reasons: Counter[tuple[End, str]] = Counter()
        self.served: Counter[str] = Counter()
        """Sessions that had a server, per ``pool/server``; after :meth:`finish`, with those still open."""
        self.took: Counter[str] = Counter()
        """Sessions that came to each balancer, if there are several."""
        self.arrived = 0
        self.misplaced = 0
        self.moved = 0
        self.retries = 0
        self.open = 0
        self.stalled = 0
        self.faults = 0
        self._per_second = SLICES / duration
        self._current: dict[tuple[End, str, str], Burst] = {}

    def client_arrived(self, now: float) -> None:
        """Count a new client."""
        self.arrived += 1
        self.slices[int(now * self._per_second)].arrived += 1

    def client_refused(self, now: float, listener: str, reason: str = "refused") -> None:
        """Count a client that no listener accepted."""
        self._count_failure(now, "failed", reason, listener)

    def client_joined(self, now: float, waited: float) -> None:
        """Record how long a client waited for its server."""
        self.slices[int(now * self._per_second)].waits.append(waited)

    def injected(self, now: float, server: str, does: Does) -> None:
        """Record a fault that the scenario injects."""
        self.moments.append(Moment(now, "happening", f"{server} {VERBS[does]}", server, does))

    def node_took(self, now: float, node: str) -> None:
        """Count a session that came to a balancer."""
        if node:
            self.took[node] += 1
            self.slices[int(now * self._per_second)].took[node] += 1

    def client_misplaced(self) -> None:
        """Count a session whose server depends on the balancer that it comes to."""
        self.misplaced += 1

    def node_injected(self, now: float, node: str, does: NodeDoes) -> None:
        """Record a fault of a balancer that the scenario injects."""
        self.moments.append(Moment(now, "happening", f"{node} {VERBS[does]}", does=does, node=node))

    def node_left(self, now: float, node: str) -> None:
        """Record that the loss of a balancer has been detected."""
        self.moments.append(Moment(now, "ejected", f"{node}: new sessions go to the others", node=node))

    def node_back(self, now: float, node: str) -> None:
        """Record that a balancer serves again."""
        self.moments.append(Moment(now, "restored", f"{node} takes sessions again", node=node))

    def reloading(self, now: float, file: str) -> None:
        """Record a reload."""
        self.moments.append(Moment(now, "reload", f"reload of {file}"))

    def observe(self, now: float, event: Event, node: str = "") -> None:
        """Record an event of a balancer; ``node`` is its name, if there are several."""
        if isinstance(event, ConnectionClosed):
            self._closed(now, event)
        elif (moment := self._moment(now, event)) is not None:
            said_by = f"{node}: " if node else ""
            self.moments.append(attrs.evolve(moment, text=f"{said_by}{moment.text}", node=node))

    def _moment(self, now: float, event: Event) -> Moment | None:
        """Return the line of an event; None if it has none."""
        match event:
            case BackendEjected(pool, server, reason, source):
                name = f"{pool}/{server}"
                return Moment(now, "ejected", f"{name} ejected: {reason} ({source})", name)
            case BackendRestored(pool, server):
                name = f"{pool}/{server}"
                return Moment(now, "restored", f"{name} restored", name)
            case ConfigApplied(added, removed, changed):
                lists = {"added": added, "removed": removed, "changed": changed}
                steps = "; ".join(f"{verb} {', '.join(names)}" for verb, names in lists.items() if names)
                return Moment(now, "reload", f"configuration applied: {steps or 'no changes'}")
            case ConfigRejected(errors):
                return Moment(now, "reload", f"configuration rejected: {'; '.join(errors)}")
            case Fault(where, exception):
                self.faults += 1
                text = f"fault: {where}: {type(exception).__name__}: {exception}"
                return Moment(now, "fault", text)
        return None

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
            reason = "its balancer is gone" if record.reason == "stopped" else record.reason
            self._count_failure(now, end, reason, record.listener)

    def _served(self, since: float, name: str) -> None:
        self.served[name] += 1
        self.slices[int(since * self._per_second)].served[name] += 1

    def _count_failure(self, now: float, end: End, reason: str, listener: str) -> None:
        self.ends[end] += 1
        self.reasons[end, reason] += 1
        self.slices[int(now * self._per_second)].ends[end] += 1
        kind = (end, reason, listener)
        burst = self._current.get(kind)
        if burst is None or now - burst.last > BURST_PAUSE:
            self._current[kind] = burst = Burst(end, reason, listener, now, now, 0)
            self.bursts.append(burst)
        burst.last = now
        burst.count += 1

    def finish(self, now: float, live: Iterable[LiveConnection], stalled: int) -> None:
        """End the recording. ``live`` are the connections still open, ``stalled`` of them with a silent server."""
        self.open = self.arrived - self.ends.total()
        self.stalled = stalled
        for connection in live:
            if connection.state == "open":
                self._served(now - connection.duration_ms / 1000, f"{connection.pool}/{connection.server}")
