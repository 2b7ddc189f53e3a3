"""The simulated host of a rehearsal. Implements :class:`lb.dataplane.host.Host`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from typing import cast

from healthcheck.probe import Probe, Target
from lb.dataplane.host import Host
from lb.model import PluginSpec
from lb.model.address import Address, SocketAddress
from lb.model.listener import ListeningSpec
from lb.net.activation import GivenSockets
from lb.net.descriptors import Descriptors
from lb.net.disconnects import Watch
from lb.relay.splicer import Splicer
from lb.tools.rehearse.probe import VirtualProbe
from lb.tools.rehearse.servers import VirtualServer, VirtualServers
from lb.tools.rehearse.sockets import ListeningSocket, VirtualDisconnects
from lb.tools.rehearse.splicer import VirtualSplicer
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["VirtualHost", "virtual_names"]


async def virtual_names(address: Address, family: socket.AddressFamily) -> tuple[SocketAddress, ...]:  # noqa: ARG001
    """Resolve each host name to itself. Replaces :data:`lb.net.resolver.name_service`."""
    return ((socket.AF_INET, (address.host, address.port)),)


class VirtualHost(Host):
    """The machine of one balancer. Calls ``joined`` or ``refused`` for each client, ``passed(pool)`` for each check."""

    def __init__(
        self,
        clock: VirtualClock,
        servers: VirtualServers,
        *,
        joined: Callable[[float], None],
        refused: Callable[[str], None],
        passed: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._servers = servers
        self._joined = joined
        self._refused = refused
        self._passed = passed
        self.listening: dict[Address, ListeningSocket] = {}

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
        return VirtualSplicer(self._clock, self._servers.by_address, self._joined)

    def disconnects(self, fault: Callable[[str, Exception], None]) -> Watch:  # noqa: ARG002 - an error ends the rehearsal
        return VirtualDisconnects()

    def probe(self, spec: PluginSpec) -> Probe:
        return VirtualProbe(self._probed, self._passed, only_connects=spec.name == "tcp")

    def _probed(self, target: Target) -> VirtualServer:
        """Return the checked server. A separate port for health checks belongs to the same server."""
        server = self._servers.by_address.get(target.sockaddrs[0])
        return server or next(iter(self._servers.named(f"{target.pool}/{target.server}")))
