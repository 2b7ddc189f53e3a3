"""First: all traffic to one server, the others stand by."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy, View

__all__ = ["First"]


class First(Strategy):
    """The first server of the file that is available; weights have no effect.

    With ``failback = false`` it is the one that has been available longest, of several the first in the file. So the
    server in use stays in use while it lives, even if one before it comes back. This holds over reloads and upgrades
    and is the same for all workers, as it depends only on when the servers came up.

    A pick costs O(1), plus one step per server already tried.
    """

    uses_weights = False
    uses_shares = False

    def __init__(self, failback: bool = True) -> None:
        super().__init__()
        if not isinstance(failback, bool):
            raise ValueError(f"failback must be true or false, not {failback!r}")  # noqa: TRY004 - as for other options
        self._failback = failback
        self._ranks: dict[Server, tuple[float, int]] = {}
        """Of each available server: since when it is available, if that matters, and its position."""
        self._order: list[tuple[float, int]] = []
        """The ranks, sorted."""
        self._positions: dict[Server, int] = {}

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:  # noqa: ARG002 - all clients alike
        for _, position in self._order:
            server = self.servers[position]
            if server not in tried:
                return server
        return None

    def use(self, servers: Sequence[Server], built: object) -> None:
        super().use(servers, built)
        self._positions = {server: position for position, server in enumerate(self.servers)}
        self._ranks = {server: self._rank(server) for server in self.available}
        self._order = sorted(self._ranks.values())

    def enable(self, server: Server) -> None:
        if server not in self.available:
            super().enable(server)
            self._ranks[server] = rank = self._rank(server)
            insort(self._order, rank)

    def disable(self, server: Server) -> None:
        if server in self.available:
            super().disable(server)
            del self._order[bisect_left(self._order, self._ranks.pop(server))]

    def _rank(self, server: Server) -> tuple[float, int]:
        return (0.0 if self._failback else server.since, self._positions[server])

    def expected_shares(self, candidates: AbstractSet[Server]) -> Mapping[Server, float]:
        first = min(candidates, key=self._rank, default=None)
        return {server: float(server is first) for server in candidates}

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - all clients alike
        shares = self.expected_shares(candidates)
        ordered = sorted(self.servers, key=lambda server: (server not in candidates, *self._rank(server)))
        return View("order", [(server, {"share": shares[server]} if server in shares else {}) for server in ordered])
