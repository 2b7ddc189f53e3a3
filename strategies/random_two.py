"""Random-two: the less loaded of two random servers.

Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001). Nearly as even as least-conn;
several independent balancers do not all pick the same server (no herding).
"""

from __future__ import annotations

import itertools
import random
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy, View, pick_without, shares_by_weight

__all__ = ["RandomTwo"]


class RandomTwo(Strategy):
    """The less loaded of two random servers.

    Draws two distinct available servers, each with a probability in proportion to its weight. The first drawn wins,
    unless the other would have no higher load per unit of weight with one more connection. With equal weights that is
    the one with fewer connections.

    The servers lie on a line, those of the same weight side by side, each on a section as long as its weight. A draw is
    a random point of the line; the second leaves out the section of the first. A pick costs O(log d) with d different
    weights, and O(d) after a change. With equal weights, two positions are drawn.
    """

    paced = True
    random = True

    def __init__(self) -> None:
        super().__init__()
        self.rng = random.Random(random.random())  # noqa: S311 - for load balancing, not for secrets
        """Reproducible if the global random generator is seeded. May be replaced."""
        self._urns: dict[int, list[Server]] = {}
        """The available servers by weight, in no order."""
        self._places: dict[Server, tuple[int, int]] = {}
        """The weight of each available server in hundredths, and its position in its urn."""
        self._line: list[tuple[int, list[Server]]] = []
        """The urns in the order of the line, each with its weight. Empty if the line must be laid out again."""
        self._begins: list[int] = []
        """Where each urn of the line begins."""
        self._length = 0
        """The sum of the weights."""

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:
        if tried and not self.available.isdisjoint(tried):
            return pick_without(self, tried, client)
        if not self._line:
            self._lay_out()
        choices = len(self._places)
        if choices < 2:
            return self._line[0][1][0] if choices else None
        if len(self._line) > 1:
            return self._pick_by_weight()
        _, urn = self._line[0]
        first, second = divmod(int(self.rng.random() * choices * (choices - 1)), choices - 1)
        if second >= first:
            second += 1
        one, other = urn[first], urn[second]
        return one if one.load <= other.load else other

    def _pick_by_weight(self) -> Server:
        random, begins = self.rng.random, self._begins
        point = int(random() * self._length)
        number = bisect_right(begins, point) - 1
        weight, urn = self._line[number]
        position = (point - begins[number]) // weight
        one = urn[position]
        point = int(random() * (self._length - weight))
        if point >= begins[number] + position * weight:  # the first drawn is left out
            point += weight
        number = bisect_right(begins, point) - 1
        weight, urn = self._line[number]
        other = urn[(point - begins[number]) // weight]
        return one if one.load < other.next_load else other

    def _lay_out(self) -> None:
        self._line = list(self._urns.items())
        self._begins = list(itertools.accumulate((weight * len(urn) for weight, urn in self._line), initial=0))
        self._length = self._begins.pop()

    def use(self, servers: Sequence[Server], built: object) -> None:
        super().use(servers, built)
        self._urns, self._places, self._line = {}, {}, []
        for server in self.candidates(()):
            self._add(server)

    def enable(self, server: Server) -> None:
        if server not in self.available:
            super().enable(server)
            self._add(server)

    def disable(self, server: Server) -> None:
        if server in self.available:
            super().disable(server)
            weight, position = self._places.pop(server)
            urn = self._urns[weight]
            last = urn.pop()
            if last is not server:
                urn[position] = last
                self._places[last] = weight, position
            if not urn:
                del self._urns[weight]
            self._line = []

    def _add(self, server: Server) -> None:
        weight = server.weight * server.share
        urn = self._urns.setdefault(weight, [])
        self._places[server] = weight, len(urn)
        urn.append(server)
        self._line = []

    def share_changed(self, server: Server) -> None:
        if server in self.available:
            self.disable(server)
            self.enable(server)

    def expected_shares(self, candidates: AbstractSet[Server]) -> Mapping[Server, float]:
        return shares_by_weight(candidates)

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - all clients alike
        """Return the loads. ``share`` is the probability to be chosen."""
        shares = _chances(list(candidates))
        return View(
            "chance",
            [
                (server, {"load": server.load} | ({"share": shares[server]} if server in shares else {}))
                for server in sorted(self.servers, key=lambda server: (server not in candidates, server.load))
            ],
        )


def _chances(candidates: Sequence[Server]) -> dict[Server, float]:
    """Return the probability of each server to be chosen.

    A server is drawn first and wins against the second, or is drawn second and the first does not win.
    """
    if len(candidates) == 1:
        return {candidates[0]: 1.0}
    weights = {server: server.weight * server.share for server in candidates}
    total = sum(weights.values())
    nexts, won = _sums_from([(server.next_load, weights[server]) for server in candidates])
    loads, lost = _sums_from([(server.load, weights[server] / (total - weights[server])) for server in candidates])
    chances: dict[Server, float] = {}
    for server, weight in weights.items():
        beaten = won[bisect_right(nexts, server.load)] - weight
        chances[server] = weight / total * (beaten / (total - weight) + lost[bisect_left(loads, server.next_load)])
    return chances


def _sums_from(pairs: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the keys of pairs in order, and for each place in it the sum of the values from there on."""
    ordered = sorted(pairs)
    sums = [*itertools.accumulate((value for _, value in reversed(ordered)), initial=0.0)]
    return [key for key, _ in ordered], sums[::-1]
