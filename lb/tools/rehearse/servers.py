"""Simulated servers, and the effect of their condition on connects and sessions."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from random import Random
from typing import Literal, Protocol, TypeAlias

from lb.model import Config
from lb.model.address import Address, SocketAddress
from lb.net.resolver import static_targets
from lb.tools.rehearse.scenario import ConductSpec, Scenario
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["Condition", "Session", "VirtualServer", "VirtualServers"]

Condition: TypeAlias = Literal["healthy", "dead", "unreachable", "hung", "failing"]
"""Condition of a server. ``dead``: its host refuses connects. ``unreachable``: nothing responds. ``hung``: connects
succeed, but it sends nothing. ``failing``: it serves clients, but fails health checks that do more than connect."""
STUCK = ("unreachable", "hung")
JITTER = 0.1
"""Relative jitter of all times, to either side, so that events do not coincide systematically. An estimate."""


class Session(Protocol):
    """A client that is joined to a server."""

    def stall(self) -> None:
        """The server has become silent."""

    def resume(self) -> None:
        """The server sends again."""

    def cut(self) -> None:
        """The server has reset the connection."""


class VirtualServer:
    """A server at one address."""

    def __init__(self, clock: VirtualClock, conduct: ConductSpec, random: Random) -> None:
        self.condition: Condition = "healthy"
        self.slowness = 1.0
        """Factor of all times."""
        self.sessions: dict[Session, None] = {}
        self._conduct = conduct
        self._clock = clock
        self._random = random

    @property
    def stuck(self) -> bool:
        """Whether sessions stall."""
        return self.condition in STUCK

    def connect_time(self) -> float:
        """Return the seconds that the next connect takes."""
        return self._conduct.connect * self._factor()

    def answer_time(self) -> float:
        """Return the seconds that the reply to the next health check takes."""
        return self._conduct.answer * self._factor()

    def _factor(self) -> float:
        return self.slowness * (1 + JITTER * (2 * self._random.random() - 1))

    def become(self, condition: Condition, slowness: float = 1.0) -> None:
        """Change the condition, with the effect on open sessions."""
        was_stuck = self.stuck
        self.condition, self.slowness = condition, slowness
        for session in list(self.sessions):
            if condition == "dead":
                session.cut()
            elif self.stuck and not was_stuck:
                session.stall()
            elif was_stuck and not self.stuck:
                session.resume()

    def refusal(self) -> OSError | None:
        """Return the error of a connect now; None if it succeeds or gets no response."""
        if self.condition == "dead":
            return ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return None

    @property
    def takes_connects(self) -> bool:
        """Whether a connect succeeds now."""
        return self.condition not in ("dead", "unreachable")


def _target_of(address: Address) -> SocketAddress:
    """Return the socket address that connects to this address use."""
    return next(iter(static_targets(address)), (socket.AF_INET, (address.host, address.port)))


class VirtualServers:
    """A server per address of the configurations. All balancers have the same ones."""

    def __init__(self, clock: VirtualClock, scenario: Scenario, configs: Iterable[Config], random: Random) -> None:
        self.by_address: dict[SocketAddress, VirtualServer] = {}
        self._by_name: dict[str, dict[VirtualServer, None]] = {}
        for config in configs:
            for pool in config.pools.values():
                for spec in pool.servers:
                    name, target = f"{pool.name}/{spec.name}", _target_of(spec.address)
                    conduct = scenario.conducts.get(name, scenario.conduct)
                    server = self.by_address.setdefault(target, VirtualServer(clock, conduct, random))
                    self._by_name.setdefault(name, {})[server] = None

    def named(self, name: str) -> Iterable[VirtualServer]:
        """Return all servers with the name ``pool/server``: a reload may give the name to another address."""
        return self._by_name[name]

    @property
    def stalled(self) -> int:
        """The number of open sessions whose server is silent."""
        return sum(len(server.sessions) for server in self.by_address.values() if server.stuck)
