"""Round robin: every available server in turn, in the order of the file."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import count

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy, View

__all__ = ["RoundRobin"]


class RoundRobin(Strategy):
    """Equal turns; weights have no effect.

    A pick costs O(1), plus one step per server already tried.
    """

    uses_weights = False
    uses_shares = False

    def __init__(self) -> None:
        super().__init__()
        self._positions: dict[Server, int] = {}
        self._turns: list[int] = []
        """The positions of the available servers, sorted."""
        self._last = -1
        """The last picked position."""
        self._next = 0
        """The index in ``_turns`` of the first position after the last picked one."""

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:  # noqa: ARG002 - all clients alike
        turns = self._turns
        for _ in turns:
            if self._next >= len(turns):
                self._next = 0
            position = turns[self._next]
            self._next += 1
            server = self.servers[position]
            if server not in tried:
                self._last = position
                return server
        return None

    def use(self, servers: Sequence[Server], built: object) -> None:
        """Continue after the last picked server, or after the nearest server before it that remains.

        If no server remains, begin at ``start``.
        """
        past = self.servers[: self._last + 1]
        super().use(servers, built)
        self._positions = {server: position for position, server in enumerate(self.servers)}
        self._turns = sorted(self._positions[server] for server in self.available)
        before_first = int(self.start * len(self.servers)) - 1
        kept = (self._positions[server] for server in reversed(past) if server in self._positions)
        self._last = next(kept, before_first)
        self._next = bisect_right(self._turns, self._last)

    def enable(self, server: Server) -> None:
        if server not in self.available:
            super().enable(server)
            insort(self._turns, self._positions[server])
            self._next = bisect_right(self._turns, self._last)

    def disable(self, server: Server) -> None:
        if server in self.available:
            super().disable(server)
            del self._turns[bisect_left(self._turns, self._positions[server])]
            self._next = bisect_right(self._turns, self._last)

    def expected_shares(self, candidates: AbstractSet[Server]) -> Mapping[Server, float]:
        return dict.fromkeys(candidates, 1 / len(candidates)) if candidates else {}

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - all clients alike
        following = self._last + 1
        turns = count(1)
        return View(
            "turn",
            [
                (server, {"turn": next(turns), "share": 1 / len(candidates)} if server in candidates else {})
                for server in (*self.servers[following:], *self.servers[:following])
            ],
        )
