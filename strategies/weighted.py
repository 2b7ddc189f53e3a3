"""Weighted: smooth weighted round robin, with turns as evenly spread as the weights allow.

Source: nginx's algorithm (``ngx_stream_upstream_round_robin.c``, since 1.3.1). Every available server has a credit,
initially 0. At a pick each server gains its weight. The server with the highest credit (among equals the first in the
file) is chosen and pays the sum of the weights. Weights 5, 1, 1 give a a b a c a a. Servers that are unavailable or
already tried neither gain nor pay. A server with a reduced share of its weight gains that share only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy, View

__all__ = ["Weighted"]


class Weighted(Strategy):
    """Turns by weight, evenly spread: smooth weighted round robin.

    The sequence is the same as nginx's. A pick costs O(log n) plus one step per distinct weight; nginx's costs O(n).

    Servers with the same weight gain the same credit, so they keep their order until one of them pays. A heap per
    weight holds its servers, and a pick compares the first server of each heap.
    """

    def __init__(self) -> None:
        super().__init__()
        self._positions: dict[Server, int] = {}
        self._weights: dict[Server, int] = {}
        """The weight of each member in hundredths. A copy, as ``server.weight`` and ``server.share`` change earlier."""
        self._resting: dict[Server, int] = {}
        """The credits of the members that do not participate."""
        self._classes: dict[int, _WeightClass] = {}
        """The weight classes with participating servers, by weight."""
        self._total = 0
        """The sum of the weights of participating servers."""
        self._round = 0
        """The sum of the weights of all members."""
        self._largest_round = 0
        """The largest round since credits were last limited; no credit exceeds it."""

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:  # noqa: ARG002 - all clients alike
        skipped = self.available.intersection(tried)
        for server in skipped:
            self._leave(server)
        chosen = self._turn()
        for server in skipped:
            self._join(server)
        return chosen

    def use(self, servers: Sequence[Server], built: object) -> None:
        """Keep the servers' credits, limited to the sum of the new weights.

        Without the limit, a server whose weight drops from 1000 to 1 could owe a thousand turns.
        """
        for server in self.available:
            self._leave(server)
        super().use(servers, built)
        self._positions = {server: position for position, server in enumerate(self.servers)}
        self._weights = {server: server.weight * server.share for server in self.servers}
        self._limit_credits()
        for server in self.available:
            self._join(server)

    def enable(self, server: Server) -> None:
        if server not in self.available:
            super().enable(server)
            self._join(server)

    def disable(self, server: Server) -> None:
        if server in self.available:
            super().disable(server)
            self._leave(server)

    def share_changed(self, server: Server) -> None:
        """Update a server's weight. Limits all credits, in O(n), only if one may exceed two rounds."""
        participates = server in self.available
        if participates:
            self._leave(server)
        weight = server.weight * server.share
        self._round += weight - self._weights[server]
        self._weights[server] = weight
        if participates:
            self._join(server)
        self._largest_round = max(self._largest_round, self._round)
        if self._largest_round > 2 * self._round:
            self.use(self.servers, None)

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - all clients alike
        """Return the credits. A candidate's credit includes its weight, as in the comparison of a pick."""
        total = sum(self._weights[server] for server in self.servers if server in candidates)
        order: list[tuple[Server, dict[str, float]]] = []
        for server in self.servers:
            figures = {"credit": self._credit(server) / 100}
            if server in candidates:
                figures = {"credit": (self._credit(server) + self._weights[server]) / 100}
                figures["share"] = self._weights[server] / total
            order.append((server, figures))
        return View("turn", sorted(order, key=lambda each: (each[0] not in candidates, -each[1]["credit"])))

    def _credit(self, server: Server) -> int:
        if server in self._resting:
            return self._resting[server]
        return self._classes[self._weights[server]].credit(self._positions[server])

    def _limit_credits(self) -> None:
        """Limit credits to the sum of the weights. Only valid while no server participates."""
        self._round = self._largest_round = one_round = sum(self._weights.values())
        credit = self._resting
        self._resting = {s: max(-one_round, min(credit.get(s, 0), one_round)) for s in self.servers}

    def _turn(self) -> Server | None:
        """Pick one of the participating servers."""
        if not self._classes:
            return None
        for weight_class in self._classes.values():
            weight_class.gain += weight_class.weight
        _, position, winner = min(weight_class.first() for weight_class in self._classes.values())
        winner.pay(position, self._total)
        return self.servers[position]

    def _join(self, server: Server) -> None:
        weight = self._weights[server]
        if weight not in self._classes:
            self._classes[weight] = _WeightClass(weight)
        self._classes[weight].add(self._positions[server], self._resting.pop(server))
        self._total += weight

    def _leave(self, server: Server) -> None:
        weight = self._weights[server]
        weight_class = self._classes[weight]
        self._resting[server] = weight_class.remove(self._positions[server])
        if not weight_class.bases:
            del self._classes[weight]
        self._total -= weight


class _WeightClass:
    """The participating servers of one weight, by position.

    A credit is the sum of the server's base and the class's gain. Bases only decrease, so a heap entry that
    differs from ``bases`` is stale for good, and is dropped at the top.
    """

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.gain = 0
        self.bases: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []
        """Entries ``(-base, position)``; some are stale."""

    def add(self, position: int, credit: int) -> None:
        self.bases[position] = credit - self.gain
        self._push(position)

    def credit(self, position: int) -> int:
        return self.bases[position] + self.gain

    def remove(self, position: int) -> int:
        """Remove a server and return its credit."""
        return self.bases.pop(position) + self.gain

    def first(self) -> tuple[int, int, _WeightClass]:
        """Return the highest credit, negated so that the smallest tuple wins, and the first position that has it."""
        while self.bases.get(self._heap[0][1]) != -self._heap[0][0]:
            heappop(self._heap)
        negative_base, position = self._heap[0]
        return negative_base - self.gain, position, self

    def pay(self, position: int, price: int) -> None:
        self.bases[position] -= price
        self._push(position)

    def _push(self, position: int) -> None:
        heappush(self._heap, (-self.bases[position], position))
        if len(self._heap) > 2 * len(self.bases) + 16:  # mostly stale entries; O(1) amortised per push
            self._heap = [(-base, position) for position, base in self.bases.items()]
            heapify(self._heap)
