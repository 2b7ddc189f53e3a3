"""The content of a PROXY header in both versions: the source and destination of a connection."""

from __future__ import annotations

import functools
import ipaddress
from typing import NamedTuple

from lb.model.address import SEEN_ADDRESSES, Client, IPAddress, address_of

__all__ = ["BadProxyHeader", "Endpoints", "host_of"]


class BadProxyHeader(ValueError):  # noqa: N818 - a peer's error, not the program's
    """The bytes are not a valid PROXY header."""


class Endpoints(NamedTuple):
    """Source and destination of the connection that a proxy forwards. A unix end has no address."""

    source: Client
    destination: Client

    def addresses(self) -> tuple[IPAddress, IPAddress] | None:
        """Return both addresses in one family, IPv6 if they differ; None if an end has no address."""
        source, destination = address_of(self.source.host), address_of(self.destination.host)
        if source is None or destination is None:
            return None
        if source.version != destination.version:
            return _as_v6(source), _as_v6(destination)
        return source, destination


def _as_v6(address: IPAddress) -> ipaddress.IPv6Address:
    """Return an IPv4 address mapped to IPv6, RFC 4291, section 2.5.5.2."""
    return address if address.version == 6 else ipaddress.IPv6Address(0xFFFF_0000_0000 | int(address))


@functools.lru_cache(SEEN_ADDRESSES)
def host_of(address: str | bytes, version: int) -> str:
    """Return the text of an address, given as text or packed, as without a proxy: mapped IPv4 becomes plain IPv4.

    Raises ValueError.
    """
    if version == 4:
        return str(ipaddress.IPv4Address(address))
    parsed = ipaddress.IPv6Address(address)
    if parsed.scope_id is not None:
        raise ValueError("the address has a scope")
    return str(parsed.ipv4_mapped or parsed)
