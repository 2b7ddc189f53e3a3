"""Which addresses are reachable from the whole internet, and which lead into a network of one's own.

The table is that of IANA's registries of special-purpose addresses (RFC 6890), as of 2025, and not that of
:mod:`ipaddress`, which differs between versions of Python and knows no addresses within addresses.
"""

from __future__ import annotations

import functools
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from lb.model.address import SEEN_ADDRESSES, IPAddress, Networks

__all__ = ["embedded_ipv4", "globally_reachable", "has_none_reachable", "plain_address"]

_NOT_GLOBAL = Networks(
    (
        "0.0.0.0/8",  # this network: RFC 791, section 3.2
        "10.0.0.0/8",  # private: RFC 1918
        "100.64.0.0/10",  # shared by providers: RFC 6598
        "127.0.0.0/8",  # loopback: RFC 1122, section 3.2.1.3
        "168.63.129.16/32",  # a public address that leads to the host of a virtual machine in Azure
        "169.254.0.0/16",  # link-local, and the metadata of clouds: RFC 3927
        "172.16.0.0/12",  # private: RFC 1918
        "192.0.0.0/24",  # protocol assignments: RFC 6890, section 2.1
        "192.0.2.0/24",  # documentation: RFC 5737
        "192.88.99.0/24",  # relays of 6to4: RFC 7526
        "192.168.0.0/16",  # private: RFC 1918
        "198.18.0.0/15",  # benchmarks: RFC 2544
        "198.51.100.0/24",  # documentation: RFC 5737
        "203.0.113.0/24",  # documentation: RFC 5737
        "224.0.0.0/4",  # multicast: RFC 1112
        "240.0.0.0/4",  # reserved, and broadcast: RFC 1112, RFC 8190
        "2001::/23",  # protocol assignments, Teredo among them: RFC 2928
        "2001:db8::/32",  # documentation: RFC 3849
        "3fff::/20",  # documentation: RFC 9637
    )
)
_GLOBAL_IN_THESE = Networks(
    (
        "192.0.0.9/32",  # Port Control Protocol: RFC 7723
        "192.0.0.10/32",  # TURN: RFC 8155
        "2001:1::1/128",  # Port Control Protocol: RFC 7723
        "2001:1::2/128",  # TURN: RFC 8155
        "2001:1::3/128",  # service registration in DNS-SD: RFC 9665
        "2001:3::/32",  # AMT: RFC 7450
        "2001:4:112::/48",  # AS112: RFC 7535
        "2001:20::/28",  # ORCHIDv2: RFC 7343
        "2001:30::/28",  # drone remote ids: RFC 9374
    )
)
_GIVEN_OUT = Networks(
    (
        "0.0.0.0/0",
        "2000::/3",  # global unicast: RFC 4291, section 2.4
        "64:ff9b::/96",  # NAT64: RFC 6052
        "::ffff:0:0/96",  # IPv4-mapped: RFC 4291, section 2.5.5.2
    )
)
"""All that the internet uses. Outside are ``::1``, ``fc00::/7``, ``fe80::/10``, multicast and what is reserved."""
_IN_LAST_BITS = Networks(
    (
        "64:ff9b::/96",
        "::ffff:0:0/96",
        "::/96",  # IPv4-compatible: RFC 4291, section 2.5.5.1
        "::ffff:0:0:0/96",  # IPv4-translated: RFC 2765
        "64:ff9b:1::/48",  # NAT64 of a network's own: RFC 8215; here with a prefix of 96 bits
    )
)
"""Networks whose addresses end with an IPv4 address."""
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""The first half of an ISATAP interface identifier: RFC 5214, section 6.1."""
_6TO4 = 0x2002
"""The first 16 bits: RFC 3056."""
_TEREDO = 0x2001_0000
"""The first 32 bits: RFC 4380."""
_ALL_ONES = 0xFFFF_FFFF


@functools.lru_cache(SEEN_ADDRESSES)
def globally_reachable(address: IPAddress) -> bool:
    """Return whether an address is reachable from the whole internet, with all IPv4 addresses that it carries.

    An address with a scope (``fe80::1%eth0``) is not.
    """
    if address not in _GIVEN_OUT or (address in _NOT_GLOBAL and address not in _GLOBAL_IN_THESE):
        return False
    if isinstance(address, IPv4Address):
        return True
    return address.scope_id is None and all(map(globally_reachable, embedded_ipv4(address)))


def has_none_reachable(network: IPv4Network | IPv6Network) -> bool:
    """Return whether no address of a network is globally reachable: a rule that allows it alone allows nothing."""
    if globally_reachable(network.network_address):
        return False
    if not any(network.overlaps(ip_network(text)) for text in _GIVEN_OUT.texts):
        return True
    blocks = map(ip_network, _NOT_GLOBAL.texts)
    return any(network.network_address in block and network.prefixlen >= block.prefixlen for block in blocks)


def plain_address(address: IPAddress) -> IPAddress:
    """Return the address that packets go to: IPv4 in place of IPv4-mapped IPv6."""
    mapped = None if isinstance(address, IPv4Address) else address.ipv4_mapped
    return address if mapped is None else mapped


def embedded_ipv4(address: IPAddress) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 address carries, and that a packet to it may end at."""
    if isinstance(address, IPv4Address):
        return ()
    number = int(address)
    found = []
    if address in _IN_LAST_BITS or (number >> 32) & _ALL_ONES in _ISATAP:
        found.append(number & _ALL_ONES)
    if number >> 112 == _6TO4:
        found.append((number >> 80) & _ALL_ONES)
    if number >> 96 == _TEREDO:  # RFC 4380, section 4: the server, and the client with all bits turned
        found += [(number >> 64) & _ALL_ONES, (number & _ALL_ONES) ^ _ALL_ONES]
    return tuple(map(IPv4Address, found))
