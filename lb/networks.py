"""Sets of IP networks, as ``allow``, ``deny`` and ``accept_proxy`` list them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

import attrs

__all__ = ["Networks", "address_of"]

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(host: str) -> IPAddress | None:
    """The address of a client's host, without its scope (``%eth0``); None for a unix client, which has none."""
    return ipaddress.ip_address(host.partition("%")[0]) if host else None


def _by_width(texts: Iterable[str]) -> dict[int, dict[int, frozenset[int]]]:
    """For each version of IP: the networks' own bits, by how many bits are left to their hosts."""
    found: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
    for text in texts:
        network = ipaddress.ip_network(text)
        width = network.max_prefixlen - network.prefixlen
        found[network.version].setdefault(width, set()).add(int(network.network_address) >> width)
    return {version: {width: frozenset(each) for width, each in widths.items()} for version, widths in found.items()}


@attrs.frozen
class Networks:
    """Networks in CIDR form (``10.0.0.0/8``, ``2001:db8::/32``); a bare address is a network of one.

    One look-up for each length of prefix in the list, however long it is. Raises ValueError if one is no network.
    """

    texts: tuple[str, ...] = ()
    _own_bits: dict[int, dict[int, frozenset[int]]] = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(lambda self: _by_width(self.texts), takes_self=True)
    )

    def __bool__(self) -> bool:
        return bool(self.texts)

    def __str__(self) -> str:
        return ", ".join(self.texts) or "none"

    def __contains__(self, address: IPAddress | None) -> bool:
        """True if the address lies in one of them; one that is not there lies nowhere."""
        if address is None:
            return False
        number = int(address)
        return any(number >> width in own for width, own in self._own_bits[address.version].items())
