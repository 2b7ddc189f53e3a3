"""The host names of the forward demo: three of its own, and those of the system."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import dns.asyncresolver

from lb.forward.both_families import FoundAddresses
from lb.forward.system_names import SystemNames
from lb.net.dns_query import query_name_servers
from lb.net.resolver import LOOK_UP_TIMEOUT

__all__ = ["INSIDE", "INSIDE_ADDRESS", "ORIGIN", "SILENT", "DemoNames"]

ORIGIN, INSIDE, SILENT = "origin.test", "inside.test", "silent.test"
"""The demo's server, a name of a private address, and one whose name server does not answer."""
INSIDE_ADDRESS = "10.0.0.7"
_ADDRESSES = {ORIGIN: "127.0.0.1", INSIDE: INSIDE_ADDRESS}


class DemoNames:
    """Implements :class:`lb.forward.names.NameSource`. ``port``: of a name server on loopback that never answers."""

    def __init__(self, port: int) -> None:
        self._system = SystemNames()
        self._silent = dns.asyncresolver.Resolver(configure=False)
        self._silent.nameservers = ["127.0.0.1"]
        self._silent.port = port

    async def look_up(self, host: str, found: Callable[[FoundAddresses], None]) -> None:
        address = _ADDRESSES.get(host)
        if address is not None:
            found(FoundAddresses((ipaddress.ip_address(address),), 0.0))
        elif host == SILENT:
            await query_name_servers(self._silent, host, "A", LOOK_UP_TIMEOUT)
        else:
            await self._system.look_up(host, found)
