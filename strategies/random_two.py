"""Random-two: the less loaded of two random servers.

Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001). Nearly as even as least-conn;
several independent balancers do not all pick the same server (no herding).
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy, View

__all__ = ["RandomTwo"]


class RandomTwo(Strategy):
    """The less loaded of two random servers.

    Draws two distinct available servers, every pair with the same probability. The server with the lower load per unit
    of weight wins; with equal loads the first drawn. A pick costs O(1), plus one swap per server already tried.
    """

    paced = True
    random = True

    def __init__(self) -> None:
        super().__init__()
        self.rng = random.Random(random.random())  # noqa: S311 - for load balancing, not for secrets
        """Reproducible if the global random generator is seeded. May be replaced."""
        self._urn: list[Server] = []
        """The available servers, in no order."""
        self._places: dict[Server, int] = {}
        """The position of each server in ``_urn``."""

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:  # noqa: ARG002 - all clients alike
        choices = len(self._urn)
        for server in dict.fromkeys(tried) if tried else ():
            if server in self.available:
                choices -= 1
                self._swap(self._places[server], choices)
        if choices < 2:
            return self._urn[0] if choices else None
        first, second = divmod(int(self.rng.random() * choices * (choices - 1)), choices - 1)
        if second >= first:
            second += 1
        one, other = self._urn[first], self._urn[second]
        return one if one.load <= other.load else other

    def use(self, servers: Sequence[Server], built: object) -> None:
        super().use(servers, built)
        self._urn = [server for server in self.servers if server in self.available]
        self._places = {server: place for place, server in enumerate(self._urn)}

    def enable(self, server: Server) -> None:
        if server not in self.available:
            super().enable(server)
            self._places[server] = len(self._urn)
            self._urn.append(server)

    def disable(self, server: Server) -> None:
        if server in self.available:
            super().disable(server)
            self._swap(self._places[server], len(self._urn) - 1)
            self._urn.pop()
            del self._places[server]

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - all clients alike
        """Return the loads. ``share`` is the probability to be chosen.

        That is to be drawn with a server of higher load, or first with one of equal load.
        """
        loads = sorted(server.load for server in candidates)
        pairs = len(loads) * (len(loads) - 1) / 2

        def share(server: Server) -> float:
            more = len(loads) - bisect_right(loads, server.load)
            as_much = len(loads) - more - bisect_left(loads, server.load) - 1
            return (more + as_much / 2) / pairs if pairs else 1.0

        return View(
            "chance",
            [
                (server, {"load": server.load} | ({"share": share(server)} if server in candidates else {}))
                for server in sorted(self.servers, key=lambda server: (server not in candidates, server.load))
            ],
        )

    def _swap(self, one: int, other: int) -> None:
        urn = self._urn
        urn[one], urn[other] = urn[other], urn[one]
        self._places[urn[one]] = one
        self._places[urn[other]] = other
