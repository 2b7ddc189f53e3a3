"""The record of one pick: the server chosen, and the reason for each other server. Values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import attrs

__all__ = ["Considered", "Decides", "Decision", "Factors", "ServerVerdict"]

Factors: TypeAlias = Mapping[str, float]
"""The figures that a strategy uses for one server, by name."""
Decides: TypeAlias = Literal["client", "request", "order", "load", "turn", "chance", "unknown"]
"""What a strategy's choice depends on: a hash of the client or of its request, an order of the servers, their load,
turns, or chance; unknown if the strategy does not report it."""
ServerVerdict: TypeAlias = Literal[
    "chosen",
    "candidate",  # available, but the strategy chose another server
    "tried",  # this connection's attempt at it failed
    "down",
    "ejected",
    "checking",
    "draining",
    "full",
    "slow start",  # held back until the other servers have had their share of the picks
    "backup",  # a primary server is available
]

MOST_NAMED = 8
"""Servers listed in a shortened record; the others only appear in its counts."""


@attrs.frozen
class Considered:
    """One server at a pick. ``weight`` and ``active`` are the values before the pick."""

    name: str
    verdict: ServerVerdict
    reason: str
    """Why it could not be chosen, for humans; may be empty."""
    weight: int
    active: int
    figures: Factors
    """The other figures that the strategy used."""

    def fields(self) -> dict[str, object]:
        """Return the JSON object."""
        fields: dict[str, object] = {"server": self.name, "verdict": self.verdict}
        if self.reason:
            fields["reason"] = self.reason
        figures = {name: round(figure, 4) for name, figure in self.figures.items()}
        return {**fields, "saw": {"weight": self.weight, "active": self.active, **figures}}


@attrs.frozen
class Decision:
    """One pick: its inputs, and the verdict on each server."""

    strategy: str
    decides: Decides | Literal["cookie"]
    """``cookie`` if not the strategy decides, but the pool's sticky cookie."""
    key: Mapping[str, str | int]
    """The hash key of the client or of its request, and its position on the hash table; empty for a strategy that does
    not hash."""
    chosen: str | None
    """None if no server could be chosen, or, before the pick, if the choice cannot be predicted."""
    otherwise: Literal["", "reject", "hold", "queue"]
    """What happens to the client if no server could be chosen."""
    servers: tuple[Considered, ...]
    """In the strategy's order of preference, if it has one."""
    counts: Mapping[ServerVerdict, int]
    """Number of the pool's servers by verdict."""

    def choosing(self, name: str | None, otherwise: Literal["", "reject", "hold", "queue"]) -> Decision:
        """Return this record with the actual outcome of the pick."""
        servers = tuple(_decided(server, name) for server in self.servers)
        return attrs.evolve(self, chosen=name, otherwise=otherwise, servers=servers, counts=count(servers))

    def shortened(self) -> Decision:
        """Return a record of bounded size: the first servers and the chosen one."""
        if len(self.servers) <= MOST_NAMED:
            return self
        first, rest = self.servers[: MOST_NAMED - 1], self.servers[MOST_NAMED - 1 :]
        chosen = next((server for server in rest if server.verdict == "chosen"), rest[0])
        return attrs.evolve(self, servers=(*first, chosen))

    def fields(self) -> dict[str, object]:
        """Return the JSON object."""
        return {
            "chosen": self.chosen,
            "strategy": self.strategy,
            "decides": self.decides,
            **({"key": dict(self.key)} if self.key else {}),
            **({"otherwise": self.otherwise} if self.otherwise else {}),
            "servers": [server.fields() for server in self.servers],
            "counts": dict(self.counts),
        }


def count(servers: Iterable[Considered]) -> Mapping[ServerVerdict, int]:
    """Return the number of servers by verdict."""
    return Counter(server.verdict for server in servers)


def _decided(server: Considered, chosen: str | None) -> Considered:
    if server.name == chosen:
        return attrs.evolve(server, verdict="chosen", reason="")
    return attrs.evolve(server, verdict="candidate") if server.verdict == "chosen" else server
