"""Least-conn: the server with the fewest open connections per unit of weight."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy, View

__all__ = ["LeastConn"]


class LeastConn(Strategy):
    """The server with the fewest open connections per unit of weight.

    Among equal loads, the server picked longest ago wins; among servers never picked, the first in the file.

    Uses a heap ordered by (load, number of the last pick, position). An entry is stale when one of these changes; it
    remains until it reaches the top, or until stale entries are the majority. Each operation costs O(log n) amortised.
    """

    paced = True

    def __init__(self) -> None:
        super().__init__()
        self._positions: dict[Server, int] = {}
        self._last_picks: dict[Server, int] = {}
        self._picks = 0
        self._current: dict[int, tuple[float, int, int]] = {}
        """The valid entry of each available server, by position."""
        self._heap: list[tuple[float, int, int]] = []

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:  # noqa: ARG002 - all clients alike
        skipped = []
        chosen = None
        while self._heap and chosen is None:
            entry = heappop(self._heap)
            position = entry[2]
            if self._current.get(position) != entry:
                continue
            if self.servers[position] in tried:
                skipped.append(entry)
            else:
                chosen = self.servers[position]
        for entry in skipped:
            heappush(self._heap, entry)
        if chosen is not None:
            self._picks += 1
            self._last_picks[chosen] = self._picks
            self._push(chosen)
        return chosen

    def use(self, servers: Sequence[Server], built: object) -> None:
        super().use(servers, built)
        self._positions = {server: position for position, server in enumerate(self.servers)}
        self._last_picks = {server: self._last_picks.get(server, 0) for server in self.servers}
        self._current = {}
        self._heap = []
        for server in self.available:
            self._push(server)

    def enable(self, server: Server) -> None:
        if server not in self.available:
            super().enable(server)
            self._push(server)

    def disable(self, server: Server) -> None:
        if server in self.available:
            super().disable(server)
            del self._current[self._positions[server]]

    def load_changed(self, server: Server) -> None:
        """Update the server's entry. A server that left the list may still have connections that end."""
        if server in self.available:
            self._push(server)

    def share_changed(self, server: Server) -> None:
        self.load_changed(server)

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - all clients alike
        """Return the loads. ``picks_ago`` decides between equal loads; a server never picked has none and wins."""
        entries = {
            server: self._current.get(position) or (server.load, self._last_picks[server], position)
            for server, position in self._positions.items()
        }
        order = []
        for server in sorted(entries, key=lambda server: (server not in candidates, entries[server])):
            load, last_pick, _ = entries[server]
            order.append((server, {"load": load} | ({"picks_ago": self._picks + 1 - last_pick} if last_pick else {})))
        return View("load", order)

    def _push(self, server: Server) -> None:
        position = self._positions[server]
        entry = (server.load, self._last_picks[server], position)
        self._current[position] = entry
        heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._current) + 16:
            self._heap = list(self._current.values())
            heapify(self._heap)
