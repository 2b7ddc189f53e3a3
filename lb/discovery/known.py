"""What is known from one discovery source: pure decisions about servers that are missing. No I/O."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import attrs

from lb.discovery.dns_records import in_order
from lb.events import DiscoveryFailed, DiscoveryRestored, Event
from lb.model import ServerSpec
from lb.model.values import duration_text

__all__ = ["Known", "SourceKey"]

BEFORE = 1.0
"""When all servers are missing, those stay that stood there so many seconds before: leases end one after the other."""
MOST_SETS = 256
"""Sets that are remembered for that. More in a second, and a younger one counts."""


class SourceKey(NamedTuple):
    """Identity of a pool's discovery source. Its servers are kept as long as the pool names the source."""

    pool: str
    text: str
    """``dns web.internal:80``, ``file web.servers`` or ``etcd /trio-lb/pools/web/``."""

    @property
    def kind(self) -> str:
        return self.text.partition(" ")[0]


@attrs.define
class Known:
    """The state of one discovery source."""

    servers: tuple[ServerSpec, ...] = ()
    """The last good list. Once all are missing: those that stay until ``stay_until``."""
    held: dict[str, tuple[ServerSpec, float]] = attrs.field(factory=dict)
    """Servers that the last list no longer has, by name, and until when they are held: they drain."""
    origin: str = ""
    """Where the servers are from: ``dns``, ``file``, ``etcd``; empty before the first answer."""
    failures: int = 0
    """Look-ups that failed, completely or partly, since the last good one."""
    errors: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    """What is wrong now, by kind: each kind is reported when it begins."""
    since: float = -math.inf
    """When ``origin`` or what is wrong changed last."""
    is_empty: bool = False
    """The last answer was that there are no servers."""
    stay_until: float = math.inf
    """Until when the servers stay although the last answer had none; while look-ups fail, without end."""
    stays: float = 0.0
    """How many seconds that was from the first answer that had none."""
    _sets: deque[tuple[float, tuple[ServerSpec, ...]]] = attrs.field(factory=lambda: deque(maxlen=MOST_SETS))
    """The last lists, and since when they were in use: the first one stood there a second ago."""

    @property
    def names(self) -> set[str]:
        return {server.name for server in self.servers}

    @property
    def all_servers(self) -> tuple[ServerSpec, ...]:
        """The servers, and those that are held, each in its place."""
        return in_order((*self.servers, *(server for server, _ in self.held.values()))) if self.held else self.servers

    @property
    def next_end(self) -> float:
        """When the next server is held no longer."""
        return min((self.stay_until, *(end for _, end in self.held.values())))

    @property
    def error(self) -> str:
        return "; ".join(text for texts in self.errors.values() for text in texts)

    def remember(self, servers: tuple[ServerSpec, ...], now: float) -> None:
        """Use servers from before this start, unless there was an answer."""
        if not self.origin:
            self._list(servers, now, 0.0)
            self._is_from("file", now)

    def take(
        self,
        servers: tuple[ServerSpec, ...] | None,
        now: float,
        origin: str,
        hold: float = 0.0,
        hold_all: float = 0.0,
    ) -> None:
        """Take the result of a look-up at ``now``. None: it failed, and the last list stays, whatever was known of it.

        Servers that a list does not have any more are held for ``hold`` seconds. An empty list is believed after
        ``hold_all`` seconds; until then, the servers of a second ago stay.
        """
        if servers is None:
            self.stay_until = math.inf
            return
        self._is_from(origin, now)
        if servers:
            self._list(servers, now, hold)
        elif not self.is_empty:
            before = self._before(now)
            self.is_empty = True
            self.servers = before if hold_all else ()
            self.held = {name: each for name, each in self.held.items() if name not in self.names}
            self._sets.clear()
            self._stay(now, hold_all)
        elif self.stay_until == math.inf:
            self._stay(now, hold_all)

    def _is_from(self, origin: str, now: float) -> None:
        if origin != self.origin:
            self.origin, self.since = origin, now

    def _list(self, servers: tuple[ServerSpec, ...], now: float, hold: float) -> None:
        self.is_empty, self.stay_until = False, math.inf
        if hold or self.held:
            names = {server.name for server in servers}
            gone = {server.name: (server, now + hold) for server in self.servers if hold and server.name not in names}
            self.held = {name: each for name, each in {**self.held, **gone}.items() if name not in names}
        self.servers = servers
        self._sets.append((now, servers))
        self._forget_before(now - BEFORE)

    def _before(self, now: float) -> tuple[ServerSpec, ...]:
        """Return the servers of a second ago or, if there was none, those that came after."""
        self._forget_before(now - BEFORE)
        return next((servers for _, servers in self._sets if servers), self.servers)

    def _forget_before(self, time: float) -> None:
        while len(self._sets) > 1 and self._sets[1][0] <= time:
            self._sets.popleft()

    def _stay(self, now: float, seconds: float) -> None:
        self.stay_until = now + seconds if self.servers else math.inf
        self.stays = seconds

    def end_hold(self, now: float) -> None:
        """Drop the servers whose time is over."""
        if self.held:
            self.held = {name: (server, end) for name, (server, end) in self.held.items() if end > now}
        if self.stay_until <= now:
            self.servers, self.stay_until = (), math.inf

    def note(
        self, source: SourceKey, where: str, servers: tuple[ServerSpec, ...] | None, errors: tuple[str, ...], now: float
    ) -> Event | None:
        """Count the result of a look-up, which was taken before. Return the event to report, see ``_are_wrong``."""
        if servers is None:  # what the last answer said still holds
            wrong = {**self.errors, "look-up": errors}
        else:
            wrong = {"file": self.errors["file"]} if "file" in self.errors else {}
            wrong |= {"entries": errors} if errors else {}
            wrong |= {"empty": (self._emptiness(where),)} if not servers else {}
        return self._are_wrong(source, wrong, now)

    def note_file(self, source: SourceKey, error: str, now: float) -> Event | None:
        """Count an attempt to keep the servers in a file; an empty ``error`` is a success."""
        wrong = {kind: errors for kind, errors in self.errors.items() if kind != "file"}
        return self._are_wrong(source, {**wrong, "file": (error,)} if error else wrong, now)

    def _emptiness(self, where: str) -> str:
        stay = f", the last {len(self.servers)} stay for {duration_text(self.stays)}" if self.servers else ""
        return f"no server {where}{stay}"

    def _are_wrong(self, source: SourceKey, wrong: dict[str, tuple[str, ...]], now: float) -> Event | None:
        """Set what is wrong, by kind. Return an event when a kind begins, and when nothing is wrong any more."""
        before, began = self.error, [kind for kind in wrong if kind not in self.errors]
        self.errors = wrong
        if self.error != before:
            self.since = now
        if wrong:
            self.failures += 1
            texts = (text for kind in dict.fromkeys([*began, *wrong]) for text in wrong[kind])
            return DiscoveryFailed(*source, tuple(texts), len(self.servers)) if began else None
        failures, self.failures = self.failures, 0
        return DiscoveryRestored(*source, failures, len(self.servers)) if failures else None
