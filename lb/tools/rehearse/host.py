"""The simulated host of a rehearsal. Implements :class:`lb.dataplane.host.Host`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import cast

from healthcheck.probe import Probe, Target
from lb.dataplane.host import Host
from lb.model import Config, PluginSpec
from lb.model.address import Address, SocketAddress
from lb.model.listener import ListeningSpec
from lb.net.activation import GivenSockets
from lb.net.descriptors import Descriptors
from lb.net.disconnects import Watch
from lb.net.resolver import static_targets
from lb.relay.splicer import Splicer
from lb.tools.rehearse.probe import VirtualProbe
from lb.tools.rehearse.scenario import Scenario
from lb.tools.rehearse.servers import VirtualServer
from lb.tools.rehearse.sockets import ListeningSocket, VirtualDisconnects
from lb.tools.rehearse.splicer import VirtualSplicer
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["VirtualHost", "virtual_names"]


async def virtual_names(address: Address, family: socket.AddressFamily) -> tuple[SocketAddress, ...]:  # noqa: ARG001
    """Resolve each host name to itself. Replaces :data:`lb.net.resolver.name_service`."""
    return ((socket.AF_INET, (address.host, address.port)),)


def _target_of(address: Address) -> SocketAddress:
    """Return the socket address that connects to this address use."""
    return next(iter(static_targets(address)), (socket.AF_INET, (address.host, address.port)))


class VirtualHost(Host):
    """Has a server per address of the configurations. Calls ``joined`` or ``refused`` for each client."""

    def __init__(
        self,
        clock: VirtualClock,
        scenario: Scenario,
        configs: Iterable[Config],
        random: Random,
        *,
        joined: Callable[[float], None],
        refused: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._joined = joined
        self._refused = refused
        self.listening: dict[Address, ListeningSocket] = {}
        self._servers: dict[SocketAddress, VirtualServer] = {}
        self._by_name: dict[str, dict[VirtualServer, None]] = {}
        for config in configs:
            for pool in config.pools.values():
                for spec in pool.servers:
                    name, target = f"{pool.name}/{spec.name}", _target_of(spec.address)
                    conduct = scenario.conducts.get(name, scenario.conduct)
                    server = self._servers.setdefault(target, VirtualServer(clock, conduct, random))
                    self._by_name.setdefault(name, {})[server] = None

    def servers(self, name: str) -> Iterable[VirtualServer]:
        """Return all servers with the name ``pool/server``: a reload may give the name to another address."""
        return self._by_name[name]

    @property
    def stalled(self) -> int:
        """The number of open sessions whose server is silent."""
        return sum(len(server.sessions) for server in self._servers.values() if server.stuck)

    def open_sockets(
        self,
        address: Address,
        spec: ListeningSpec,  # noqa: ARG002 - clients never wait
        given: GivenSockets,  # noqa: ARG002 - there are none
        targets: Sequence[SocketAddress],  # noqa: ARG002 - found by their address
    ) -> list[socket.socket]:
        self.listening[address] = opened = ListeningSocket(address.text, self._refused)
        return [cast("socket.socket", opened)]

    def descriptors(self, reserve: int) -> Descriptors:  # noqa: ARG002 - unlimited
        return Descriptors(sys.maxsize)

    def splicer(
        self,
        descriptors: Descriptors,  # noqa: ARG002 - unlimited
        fault: Callable[[str, Exception], None],  # noqa: ARG002 - an error ends the rehearsal
        *,
        dedicated: bool,  # noqa: ARG002 - there is no other traffic
    ) -> Splicer:
        return VirtualSplicer(self._clock, self._servers, self._joined)

    def disconnects(self, fault: Callable[[str, Exception], None]) -> Watch:  # noqa: ARG002 - an error ends the rehearsal
        return VirtualDisconnects()

    def probe(self, spec: PluginSpec) -> Probe:
        return VirtualProbe(self._probed, only_connects=spec.name == "tcp")

    def _probed(self, target: Target) -> VirtualServer:
        """Return the checked server. A separate port for health checks belongs to the same server."""
        server = self._servers.get(target.sockaddrs[0])
        return server or next(iter(self._by_name[f"{target.pool}/{target.server}"]))
