"""Weighted: smooth weighted round robin, with turns as evenly spread as the weights allow.

Source: nginx's algorithm (``ngx_stream_upstream_round_robin.c``, since 1.3.1). Every available server has a credit,
initially 0. At a pick each server gains its weight. The server with the highest credit (among equals the first in the
file) is chosen and pays the sum of the weights. Weights 5, 1, 1 give a a b a c a a. Servers that are unavailable or
already tried neither gain nor pay. A server with a reduced share of its weight gains that share only.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy, View, pick_without, shares_by_weight

__all__ = ["Weighted"]

MAX_CYCLE = 1 << 18
"""The longest cycle that is kept: 2 MB."""


class Weighted(Strategy):
    """Turns by weight, evenly spread: smooth weighted round robin.

    The sequence is the same as nginx's, whose picks cost O(n). It repeats after sum of weights / their greatest common
    divisor picks. The first cycle after a change costs one step of a C loop per distinct weight and pick; it is kept,
    and from then on a pick costs O(1).

    Servers of the same weight gain the same, so their order is fixed until one of them pays. Each weight has a queue
    of its servers, the highest credit first. The next server is the first of one of the queues, and it usually goes to
    the end of its queue when it pays. So the cycle that is kept is that of the queues.

    A queue holds a key per server: ``(gains of its weight so far - credit) * number of members + position``. A gain
    thus changes no key; of two keys in a queue the smaller goes first, and among equal credits the first in the file.
    """

    def __init__(self) -> None:
        super().__init__()
        self._positions: dict[Server, int] = {}
        self._weights: dict[Server, int] = {}
        """The weight of each member in hundredths. A copy, as ``server.weight`` and ``server.share`` change earlier."""
        self._resting: dict[Server, int] = {}
        """The credits of the members that do not participate."""
        self._queues: dict[int, deque[int]] = {}
        """The keys of the participating servers, by weight."""
        self._keys: list[int] = []
        """The key of each participating server, by position."""
        self._gains = 0
        """Number of picks: how often each participating server has gained its weight."""
        self._price = 0
        """What a pick adds to the key of the chosen server: the sum of the weights, as a key."""
        self._turns: Iterator[Server] = iter(())
        """The servers in the order of the next picks. Made anew when the participants change."""
        self._round = 0
        """The sum of the weights of all members."""
        self._largest_round = 0
        """The largest round since credits were last limited; no credit exceeds it."""

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:
        if tried and not self.available.isdisjoint(tried):
            return pick_without(self, tried, client)
        self._gains += 1
        return next(self._turns, None)

    def use(self, servers: Sequence[Server], built: object) -> None:
        """Keep the servers' credits, limited to the sum of the new weights.

        Without the limit, a server whose weight drops from 1000 to 1 could owe a thousand turns. If no server remains,
        begin at ``start``.
        """
        kept = {server: self._credit(server) for server in self.servers}
        super().use(servers, built)
        self._positions = {server: position for position, server in enumerate(self.servers)}
        self._weights = {server: server.weight * server.share for server in self.servers}
        self._round = self._largest_round = one_round = sum(self._weights.values())
        if kept.keys().isdisjoint(self.servers):
            kept = self._credits_at_start()
        self._resting = {s: max(-one_round, min(kept.get(s, 0), one_round)) for s in self.servers}
        self._keys = [0] * len(self.servers)
        self._queues = {}
        self._price = 0
        self._turns = iter(())
        for server in self.candidates(()):
            self._join(server)

    def _credits_at_start(self) -> dict[Server, int]:
        """Return the credits after one turn of each server before ``start``."""
        turns = int(self.start * len(self.servers))
        return {
            server: turns * self._weights[server] - (self._round if position < turns else 0)
            for server, position in self._positions.items()
        }

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

    def expected_shares(self, candidates: AbstractSet[Server]) -> Mapping[Server, float]:
        return shares_by_weight(candidates)

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - all clients alike
        """Return the credits. A candidate's credit includes its weight, as in the comparison of a pick."""
        shares = self.expected_shares(candidates)
        order: list[tuple[Server, dict[str, float]]] = []
        for server in self.servers:
            figures = {"credit": self._credit(server) / 100}
            if server in candidates:
                figures = {"credit": (self._credit(server) + self._weights[server]) / 100}
                figures["share"] = shares[server]
            order.append((server, figures))
        return View("turn", sorted(order, key=lambda each: (each[0] not in candidates, -each[1]["credit"])))

    def _credit(self, server: Server) -> int:
        if server in self._resting:
            return self._resting[server]
        return self._weights[server] * self._gains - self._keys[self._positions[server]] // len(self.servers)

    def _join(self, server: Server) -> None:
        position, weight = self._positions[server], self._weights[server]
        key = (weight * self._gains - self._resting.pop(server)) * len(self.servers) + position
        self._keys[position] = key
        insort(self._queues.setdefault(weight, deque()), key)
        self._participants_changed(weight)

    def _leave(self, server: Server) -> None:
        self._resting[server] = self._credit(server)
        weight = self._weights[server]
        queue = self._queues[weight]
        del queue[bisect_left(queue, self._keys[self._positions[server]])]
        if not queue:
            del self._queues[weight]
        self._participants_changed(-weight)

    def _participants_changed(self, weight: int) -> None:
        """Adapt the price to a change of the sum of the weights, and forget the order."""
        self._price += weight * len(self.servers)
        self._turns = self._in_turn(self._gains)

    def _in_turn(self, gains: int) -> Iterator[Server]:
        """Yield the server of each next pick, without end, once it has paid. ``gains`` is the number of picks so far.

        Keeps a cycle and repeats it. In a cycle each server has its turns and the credits return to their values. That
        is so if at its begin a payment moves the first key of a queue behind the last, and if at its end the first
        keys, less the gains, are those of its begin: between two turns of a server all others of its queue have one.
        """
        if not self._queues:
            return
        servers, keys, price, queues = self.servers, self._keys, self._price, list(self._queues.values())
        steps = [weight * len(servers) for weight in self._queues]
        firsts = [queue[0] - step * gains for step, queue in zip(steps, queues, strict=True)]
        length = price // math.gcd(*steps)
        turns: dict[int, tuple[deque[int], int, Server]] = {}
        while True:
            keep = length <= MAX_CYCLE and all(queue[-1] - queue[0] < price for queue in queues)
            begin, cycle = firsts, []
            for _ in range(length):
                firsts = list(map(operator.sub, firsts, steps))
                number = firsts.index(min(firsts))
                queue = queues[number]
                key = queue.popleft()
                position = key % len(servers)
                firsts[number] -= key
                keys[position] = key = key + price
                if queue and key < queue[-1]:
                    insort(queue, key)
                else:
                    queue.append(key)
                firsts[number] += queue[0]
                if keep:
                    cycle.append(turns.setdefault(position, (queue, position, servers[position])))
                yield servers[position]
            while keep and firsts == begin:
                for queue, position, server in cycle:
                    keys[position] = key = queue.popleft() + price
                    queue.append(key)
                    yield server
