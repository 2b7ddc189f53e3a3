"""Least-conn: the server with the fewest open connections per unit of weight."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from heapq import heappop, heappush

import attrs

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy, View

__all__ = ["LeastConn"]


class LeastConn(Strategy):
    """The server with the fewest open connections per unit of weight.

    Among equal loads, the server picked longest ago wins; among servers never picked, the first in the file.

    Each load has a queue of its available servers, the one picked longest ago first; a heap orders the loads. A pick
    takes the first server of the first queue and appends it again, and a change of load moves it to another queue. With
    equal weights there are few loads, and both are O(1) unless connections end in an order far from that of their
    picks; otherwise O(log n) amortised.

    A queue holds a key per server: ``number of its last pick * number of members + position``.
    """

    paced = True

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[Server, _Place] = {}
        """The place of each member, in the order of the file."""
        self._by_position: list[_Place] = []
        self._queues: dict[float, deque[int]] = {}
        """The keys of the available servers, by load. A queue may be empty."""
        self._loads: list[float] = []
        """The heap of the loads that have a queue."""
        self._picks = 0

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:
        if tried and not self.available.isdisjoint(tried):
            return self._pick_without(self.available.intersection(tried), client)
        if not self.available:
            return None
        queue = self._queues[self._loads[0]]
        while not queue:
            del self._queues[heappop(self._loads)]
            queue = self._queues[self._loads[0]]
        position = queue.popleft() % len(self.servers)
        self._picks += 1
        place = self._by_position[position]
        place.key = key = self._picks * len(self.servers) + position
        queue.append(key)
        return place.server

    def _pick_without(self, skipped: AbstractSet[Server], client: Client) -> Server | None:
        for server in skipped:
            self.disable(server)
        chosen = self.pick(client, ())
        for server in skipped:
            self.enable(server)
        return chosen

    def use(self, servers: Sequence[Server], built: object) -> None:
        last_picks = {server: self._last_pick(place) for server, place in self._places.items()}
        super().use(servers, built)
        self._places = {
            server: _Place(
                server, server.weight * server.share, last_picks.get(server, 0) * len(self.servers) + position
            )
            for position, server in enumerate(self.servers)
        }
        self._by_position = list(self._places.values())
        self._queues = {}
        self._loads = []
        for server in self.candidates(()):
            self.load_changed(server)

    def enable(self, server: Server) -> None:
        if server not in self.available:
            super().enable(server)
            self.load_changed(server)

    def disable(self, server: Server) -> None:
        if server in self.available:
            super().disable(server)
            self.load_changed(server)

    def load_changed(self, server: Server) -> None:
        """Move the server to the queue of its load. A server that left the list may still have connections that end."""
        place = self._places.get(server)
        if place is None:
            return
        key, queue = place.key, place.queue
        if queue is not None:
            if queue[-1] == key:
                queue.pop()
            elif queue[0] == key:
                queue.popleft()
            else:
                del queue[bisect_left(queue, key)]
            place.queue = None
        if server in self.available:
            place.load = load = 100 * server.leases.total / place.weight
            try:
                queue = self._queues[load]
            except KeyError:
                queue = self._new_queue(load)
            place.queue = queue
            if queue and key < queue[-1]:
                insort(queue, key)
            else:
                queue.append(key)

    def share_changed(self, server: Server) -> None:
        self._places[server].weight = server.weight * server.share
        self.load_changed(server)

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - all clients alike
        """Return the loads. ``picks_ago`` decides between equal loads; a server never picked has none and wins."""
        loads = {
            server: place.load if place.queue is not None else server.load for server, place in self._places.items()
        }

        def rank(server: Server) -> tuple[bool, float, int]:
            return server not in candidates, loads[server], self._places[server].key

        order = []
        for server in sorted(loads, key=rank):
            last_pick = self._last_pick(self._places[server])
            picks_ago = {"picks_ago": self._picks + 1 - last_pick} if last_pick else {}
            order.append((server, {"load": loads[server]} | picks_ago))
        return View("load", order)

    def _last_pick(self, place: _Place) -> int:
        """Return the number of a member's last pick; 0 if it was never picked."""
        return place.key // len(self.servers)

    def _new_queue(self, load: float) -> deque[int]:
        """Add the queue of a load. If empty queues are many, removes them, so that their number is bounded."""
        if len(self._queues) > 2 * len(self.servers) + 16:
            self._queues = {load: queue for load, queue in self._queues.items() if queue}
            self._loads = sorted(self._queues)
        queue = self._queues[load] = deque()
        heappush(self._loads, load)
        return queue


@attrs.define(eq=False)
class _Place:
    """The place of a member in the order: by load, and by key among equal loads."""

    server: Server
    weight: int
    """In hundredths. A copy: to ask the server costs as much as the rest of a change of load."""
    key: int
    load: float = 0.0
    queue: deque[int] | None = None
    """The queue that holds the key, that of ``load``; None while the server is not available."""
