"""A server as configured, and a running server as a strategy sees it."""

from __future__ import annotations

import math
from typing import Protocol

import attrs

from lb.model.address import Address

__all__ = ["Count", "LocalCount", "Server", "ServerSpec"]


class Count(Protocol):
    """A count that goes up and down. Several processes may share it; each changes its own part."""

    def add(self, number: int) -> None:
        """Add ``number``, which may be negative."""

    @property
    def total(self) -> int:
        """The sum over all processes."""

    @property
    def ahead(self) -> bool:
        """True if this process has clearly more than another one."""

    @property
    def others(self) -> int:
        """The sum over the other processes."""


class LocalCount:
    """The count of a balancer with a single process."""

    __slots__ = ("total",)
    ahead = False
    others = 0

    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int) -> None:
        self.total += number


@attrs.frozen
class ServerSpec:
    """A server as configured. ``name`` is its identity; ``max_connections = 0`` means no limit.

    ``check_port`` and ``check_address`` are another place to check, for all checks without a place of their own.
    """

    name: str
    address: Address
    weight: int = 1
    backup: bool = False
    max_connections: int = 0
    check_port: int = 0
    check_address: str = ""
    drained: bool = False
    """An operator, or a vanished record, lets it have no new connections. It keeps its place in hash tables."""

    @property
    def effective_weight(self) -> int:
        """The weight, or 0 while it is drained."""
        return 0 if self.drained else self.weight


@attrs.define(eq=False)
class Server:
    """A running server, as a strategy sees it.

    Compared by identity: the object survives changes of its spec.
    """

    spec: ServerSpec
    leases: Count = attrs.field(factory=LocalCount)
    """Leases held now. A lease counts from the pick, not from the connect."""
    total: int = 0
    """Leases ever acquired, in this process."""
    share: int = 100
    """Effective percentage of the weight (agent check, slow start). Above 0 while the server may be chosen."""

    @property
    def active(self) -> int:
        """Leases held now, by all processes."""
        return self.leases.total

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def weight(self) -> int:
        return self.spec.weight

    @property
    def since(self) -> float:
        """When it last became available or unavailable, in seconds of a clock. A server that is full keeps its time."""
        return 0.0

    @property
    def load(self) -> float:
        """Leases per unit of effective weight; infinite for weight 0."""
        weight = self.spec.weight * self.share
        return 100 * self.leases.total / weight if weight else math.inf

    @property
    def next_load(self) -> float:
        """``load`` with one more lease."""
        weight = self.spec.weight * self.share
        return 100 * (self.leases.total + 1) / weight if weight else math.inf
