"""The machine of a rehearsal: nothing of it is real. Implements :class:`lb.host.Host`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, cast

import trio

from healthcheck.probe import Probe, Target
from lb.address import Address, SocketAddress
from lb.host import Host
from lb.model import Config, PluginSpec
from lb.rehearse.agenda import Agenda
from lb.rehearse.probe import VirtualProbe
from lb.rehearse.scenario import Scenario
from lb.rehearse.servers import VirtualServer
from lb.rehearse.sockets import ListeningSocket, VirtualDepartures
from lb.rehearse.splicer import VirtualSplicer
from lb.resolver import static_targets
from lb.service.given_sockets import GivenSockets
from lb.splicing.departures import Watch
from lb.splicing.descriptors import Descriptors
from lb.splicing.splicer import Splicer

__all__ = ["VirtualHost", "VirtualNames"]


class VirtualNames(trio.abc.HostnameResolver):
    """A host name is its own address. For ``trio.socket.set_custom_hostname_resolver``."""

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,  # noqa: ARG002 - there is one
        type: int = 0,  # noqa: A002, ARG002 - the same
        proto: int = 0,
        flags: int = 0,  # noqa: ARG002 - socket.getaddrinfo's
    ) -> list[tuple[Any, socket.SocketKind, int, str, Any]]:
        name = (host or b"").decode("ascii")
        return [(socket.AF_INET, socket.SOCK_STREAM, proto, "", (name, int(port or 0)))]

    async def getnameinfo(
        self,
        sockaddr: tuple[str, int] | tuple[str, int, int, int],
        flags: int,  # noqa: ARG002 - socket.getnameinfo's
    ) -> tuple[str, str]:
        return sockaddr[0], str(sockaddr[1])


def _target_of(address: Address) -> SocketAddress:
    """What connects to it go to."""
    return next(iter(static_targets(address)), (socket.AF_INET, (address.host, address.port)))


class VirtualHost(Host):
    """Has a server for each address of the configurations. ``joined`` and ``refused`` hear of clients."""

    def __init__(
        self,
        agenda: Agenda,
        scenario: Scenario,
        configs: Iterable[Config],
        random: Random,
        *,
        joined: Callable[[float], None],
        refused: Callable[[str], None],
    ) -> None:
        self._agenda = agenda
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
                    server = self._servers.setdefault(target, VirtualServer(agenda, conduct, random))
                    self._by_name.setdefault(name, {})[server] = None

    def servers(self, name: str) -> Iterable[VirtualServer]:
        """All that are ever called ``pool/server``: a reload may give the name to another address."""
        return self._by_name[name]

    def open_sockets(self, address: Address, backlog: int, given: GivenSockets) -> list[socket.socket]:  # noqa: ARG002
        self.listening[address] = opened = ListeningSocket(address.text, self._refused)
        return [cast("socket.socket", opened)]

    def descriptors(self, reserve: int) -> Descriptors:  # noqa: ARG002 - there are enough
        return Descriptors(sys.maxsize)

    def splicer(
        self,
        descriptors: Descriptors,  # noqa: ARG002 - there are enough
        fault: Callable[[str, Exception], None],  # noqa: ARG002 - a bug ends the rehearsal
        *,
        dedicated: bool,  # noqa: ARG002 - there is no other traffic
    ) -> Splicer:
        return VirtualSplicer(self._agenda, self._servers, self._joined)

    def departures(self, fault: Callable[[str, Exception], None]) -> Watch:  # noqa: ARG002 - a bug ends the rehearsal
        return VirtualDepartures()

    def probe(self, spec: PluginSpec) -> Probe:
        return VirtualProbe(self._probed, only_connects=spec.name == "tcp")

    def _probed(self, target: Target) -> VirtualServer:
        """By the address; a port of its own for checks is on the same machine."""
        server = self._servers.get(target.sockaddrs[0])
        return server or next(iter(self._by_name[f"{target.pool}/{target.server}"]))
