"""Why a client got this server and no other: the record of one pick. Values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import attrs

__all__ = ["Considered", "Decides", "Decision", "Figures", "Verdict"]

Figures: TypeAlias = Mapping[str, float]
"""What a strategy sees, by name."""
Decides: TypeAlias = Literal["client", "load", "turn", "chance", "unknown"]
"""What makes a strategy choose one server and no other: a hash of the client, how loaded servers are, whose turn it
is, or chance; unknown if the strategy does not tell."""
Verdict: TypeAlias = Literal[
    "chosen",
    "candidate",  # it might have been chosen, and the strategy chose another
    "tried",  # a connect to it has failed just now
    "down",
    "ejected",
    "checking",
    "draining",
    "full",
    "slow start",  # held back until the others have had their part of the picks
    "backup",  # there is another server
]

MOST_NAMED = 8
"""Servers of which a shortened record speaks; of the others it gives numbers."""


@attrs.frozen
class Considered:
    """One server at a pick. ``weight`` and ``active`` are what they were before it."""

    name: str
    verdict: Verdict
    reason: str
    """Why it could not be chosen, in words; may be empty."""
    weight: int
    active: int
    figures: Figures
    """What else the strategy saw of it."""

    def fields(self) -> dict[str, object]:
        """As JSON has it."""
        fields: dict[str, object] = {"server": self.name, "verdict": self.verdict}
        if self.reason:
            fields["reason"] = self.reason
        figures = {name: round(figure, 4) for name, figure in self.figures.items()}
        return {**fields, "saw": {"weight": self.weight, "active": self.active, **figures}}


@attrs.frozen
class Decision:
    """One pick: what it went by, and what became of each server."""

    strategy: str
    decides: Decides
    key: Mapping[str, str | int]
    """What of the client is hashed, and where that is; empty where nothing is."""
    chosen: str | None
    """None if nobody could be chosen; beforehand also if nobody can tell."""
    otherwise: Literal["", "reject", "hold", "queue"]
    """What happens to the client, if nobody could be chosen."""
    servers: tuple[Considered, ...]
    """In the order in which the strategy would take them, as far as it has one."""
    counts: Mapping[Verdict, int]
    """How many there are of each, of all servers of the pool."""

    def choosing(self, name: str | None, otherwise: Literal["", "reject", "hold", "queue"]) -> Decision:
        """The same with what came of it in fact."""
        servers = tuple(_decided(server, name) for server in self.servers)
        return attrs.evolve(self, chosen=name, otherwise=otherwise, servers=servers, counts=count(servers))

    def shortened(self) -> Decision:
        """Of bounded size: the first servers, and the chosen one."""
        if len(self.servers) <= MOST_NAMED:
            return self
        first, rest = self.servers[: MOST_NAMED - 1], self.servers[MOST_NAMED - 1 :]
        chosen = next((server for server in rest if server.verdict == "chosen"), rest[0])
        return attrs.evolve(self, servers=(*first, chosen))

    def fields(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "chosen": self.chosen,
            "strategy": self.strategy,
            "decides": self.decides,
            **({"key": dict(self.key)} if self.key else {}),
            **({"otherwise": self.otherwise} if self.otherwise else {}),
            "servers": [server.fields() for server in self.servers],
            "counts": dict(self.counts),
        }


def count(servers: Iterable[Considered]) -> Mapping[Verdict, int]:
    """How many servers there are of each verdict."""
    return Counter(server.verdict for server in servers)


def _decided(server: Considered, chosen: str | None) -> Considered:
    if server.name == chosen:
        return attrs.evolve(server, verdict="chosen", reason="")
    return attrs.evolve(server, verdict="candidate") if server.verdict == "chosen" else server
