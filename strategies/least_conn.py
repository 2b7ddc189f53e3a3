"""Least-conn: the server with the fewest open connections per unit of weight."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter

import attrs

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy, View, pick_without, shares_by_weight

__all__ = ["LeastConn"]

FIRST_KEY = itemgetter(0)

ROUND = 1 << 32
"""Time between two turns of a server with a hundredth of weight 1. The heaviest server still has 655 units of it."""


class LeastConn(Strategy):
    """The server with the fewest open connections per unit of weight.

    Servers whose loads are lower than that of any server would be with one more connection take turns by weight. With
    equal weights these are the servers with the fewest connections. Of different weights, idle servers and those with a
    few connections for their weight are alike: else a connection that is just ending would send the next one to a
    server of a 65,535th of the weight.

    The turns are those of Envoy's scheduler: earliest deadline first. Time passes with the turns; after a turn, a
    server has its deadline one round later, and the rounds of a server of twice the weight take half the time. Among
    equal deadlines the first in the file wins. A server that had no turn for a while has one at once, and saves up no
    more.

    Each load has a queue per weight of its available servers, the earliest deadline first. With equal weights there are
    few loads, and a pick and a change of load are O(1) unless connections end in an order far from that of their picks;
    otherwise O(log n) amortised. With different weights, a pick costs a step for each queue that takes part.

    A queue holds a key per server: ``deadline * number of members + position``. All times are kept as multiples of the
    number of members.
    """

    paced = True

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[Server, _Place] = {}
        """The place of each member, in the order of the file."""
        self._by_position: list[_Place] = []
        self._queues: dict[float, dict[int, deque[int]]] = {}
        """The keys of the available servers, by load and weight. A queue may be empty."""
        self._queue_count = 0
        self._loads: list[float] = []
        """The loads that have queues, the lowest first."""
        self._weights: Counter[int] = Counter()
        """The weights of all members, in hundredths, and how many members have each."""
        self._now = 0
        """The latest deadline of a turn."""

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:
        if tried and not self.available.isdisjoint(tried):
            return pick_without(self, tried, client)
        if not self.available:
            return None
        while not (filled := list(filter(None, self._queues[self._loads[0]].values()))):
            self._queue_count -= len(self._queues.pop(self._loads.pop(0)))
        if len(self._weights) > 1:
            filled = self._queues_taking_part()
        queue = filled[0] if len(filled) == 1 else min(filled, key=FIRST_KEY)
        key = queue.popleft()
        position = key % len(self.servers)
        key -= position
        if key > self._now:
            self._now = key
        place = self._by_position[position]
        place.key = key = self._now + place.round + position
        if queue and key < queue[-1]:
            insort(queue, key)
        else:
            queue.append(key)
        return place.server

    def _queues_taking_part(self) -> list[deque[int]]:
        """Return the queues of the loads that are lower than any server's would be with one more connection."""
        found: list[deque[int]] = []
        limit = math.inf
        for load in self._loads:
            if load >= limit:
                break
            for weight, queue in self._queues[load].items():
                if queue:
                    found.append(queue)
                    limit = min(limit, 100 * (round(load * weight / 100) + 1) / weight)
        return found

    def use(self, servers: Sequence[Server], built: object) -> None:
        """Keep the deadlines of servers that stay. If no server remains, begin at ``start``."""
        keys = {server: place.key // len(self.servers) * len(servers) for server, place in self._places.items()}
        self._now = self._now // max(1, len(self.servers)) * len(servers)
        super().use(servers, built)
        latest = self._now + ROUND * len(self.servers)
        self._places = {
            server: _Place(server, position, keys.get(server, latest) + position)
            for position, server in enumerate(self.servers)
        }
        self._by_position = list(self._places.values())
        for place in self._by_position:
            self._set_weight(place)
        if keys.keys().isdisjoint(self.servers):
            for place in self._by_position[int(self.start * len(servers)) :] if self.start else ():
                place.key -= len(servers)  # just before those of its weight that come first in the file
        self._weights = Counter(place.weight for place in self._by_position)
        self._queues = {}
        self._queue_count = 0
        self._loads = []
        for server in self.candidates(()):
            self.load_changed(server)

    def _set_weight(self, place: _Place) -> None:
        """Take over the effective weight of a server that is in no queue. It has its turn within a round."""
        place.weight = place.server.weight * place.server.share
        place.round = ROUND // place.weight * len(self.servers)
        place.key = min(place.key, self._now + place.round + place.position)

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
            weight = place.weight
            place.load = load = 100 * server.leases.total / weight
            try:
                queue = self._queues[load][weight]
            except KeyError:
                queue = self._new_queue(load, weight)
            place.queue = queue
            if queue and key < queue[-1]:
                insort(queue, key)
            else:
                queue.append(key)

    def share_changed(self, server: Server) -> None:
        is_available = server in self.available
        self.disable(server)
        place = self._places[server]
        self._weights[place.weight] -= 1
        self._set_weight(place)
        self._weights[place.weight] += 1
        self._weights += Counter()  # drops the weights that no member has any more
        if is_available:
            self.enable(server)

    def expected_shares(self, candidates: AbstractSet[Server]) -> Mapping[Server, float]:
        return shares_by_weight(candidates)

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - all clients alike
        """Return the loads. ``deadline`` decides between low loads; 1 is a round of a server of weight 1."""
        loads = {
            server: place.load if place.queue is not None else server.load for server, place in self._places.items()
        }

        limit = min((server.next_load for server in candidates), default=0.0)

        def rank(server: Server) -> tuple[bool, float, int]:
            takes_turns = server in candidates and loads[server] < limit
            return server not in candidates, 0.0 if takes_turns else loads[server], self._places[server].key

        one_round = ROUND // 100 * len(self.servers)
        return View(
            "load",
            [
                (server, {"load": loads[server], "deadline": (self._places[server].key - self._now) / one_round})
                for server in sorted(loads, key=rank)
            ],
        )

    def _new_queue(self, load: float, weight: int) -> deque[int]:
        """Add a queue. If empty queues are many, removes them, so that their number is bounded."""
        if self._queue_count > 2 * len(self.servers) + 16:
            kept = {load: {w: queue for w, queue in queues.items() if queue} for load, queues in self._queues.items()}
            self._queues = {load: queues for load, queues in kept.items() if queues}
            self._queue_count = sum(map(len, self._queues.values()))
            self._loads = sorted(self._queues)
        if load not in self._queues:
            self._queues[load] = {}
            insort(self._loads, load)
        queue = self._queues[load][weight] = deque()
        self._queue_count += 1
        return queue


@attrs.define(eq=False)
class _Place:
    """The place of a member in the order: by load, and by key among equal loads."""

    server: Server
    position: int
    key: int
    weight: int = 0
    """In hundredths. A copy: to ask the server costs as much as the rest of a change of load."""
    round: int = 0
    """Time between two turns, while all loads are equal."""
    load: float = 0.0
    queue: deque[int] | None = None
    """The queue that holds the key, that of ``load`` and ``weight``; None while the server is not available."""
