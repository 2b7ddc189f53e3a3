"""What both versions of the PROXY protocol tell: two ends of a connection."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from lb.address import Client
from lb.networks import IPAddress, address_of

__all__ = ["BadProxyHeader", "Endpoints", "client_at"]


class BadProxyHeader(ValueError):  # noqa: N818 - what a peer did, not an error of the program
    """These bytes are no PROXY header, or a wrong one."""


class Endpoints(NamedTuple):
    """The connection that a proxy speaks for: who made it, and where to. A unix end has no address."""

    source: Client
    destination: Client

    def addresses(self) -> tuple[IPAddress, IPAddress] | None:
        """Both addresses in one family, IPv6 if they differ; None if an end has none."""
        source, destination = address_of(self.source.host), address_of(self.destination.host)
        if source is None or destination is None:
            return None
        if source.version != destination.version:
            return _as_v6(source), _as_v6(destination)
        return source, destination


def _as_v6(address: IPAddress) -> ipaddress.IPv6Address:
    """An IPv4 address mapped, RFC 4291, section 2.5.5.2."""
    return address if address.version == 6 else ipaddress.IPv6Address(0xFFFF_0000_0000 | int(address))


def client_at(address: IPAddress, port: int) -> Client:
    """The client as it would be without the proxy: a mapped IPv4 address is plain IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return Client(str(mapped or address), port)
