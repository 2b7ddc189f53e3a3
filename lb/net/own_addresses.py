"""Whether a server's address is one of this process's own listening sockets.

A connection to such a server comes back as a new client, which connects again: one byte would use up all descriptors.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from lb.model.address import IPAddress, SocketAddress

__all__ = ["OwnAddresses"]

LOOPBACK: dict[int, IPAddress] = {4: ipaddress.IPv4Address("127.0.0.1"), 6: ipaddress.IPv6Address("::1")}


class OwnAddresses:
    """The addresses of listening sockets, each as ``getsockname`` returns it."""

    def __init__(self, bound: Iterable[object] = ()) -> None:
        self._paths: set[object] = set()
        self._hosts: dict[int, set[IPAddress]] = {}
        """By port. The unspecified address is all addresses of this host."""
        for address in bound:
            if isinstance(address, tuple):
                self._hosts.setdefault(address[1], set()).add(_parsed(address[0]))
            else:
                self._paths.add(address)

    def among(self, targets: Iterable[SocketAddress]) -> frozenset[SocketAddress]:
        """Return those of a server's addresses on which this process listens."""
        own: frozenset[SocketAddress] = frozenset()
        for target in targets:
            if self._has(target[1]):
                own |= {target}
        return own

    def _has(self, address: object) -> bool:
        if not isinstance(address, tuple):
            return address in self._paths
        hosts = self._hosts.get(address[1])  # nearly always None, without a system call
        if not address[1]:  # the port that the client came to
            hosts = set().union(*self._hosts.values())
        if not hosts:
            return False
        host = _parsed(address[0])
        if host.is_unspecified:  # a connect to it is one to this host
            host = LOOPBACK[host.version]
        return host in hosts or (any(each.is_unspecified for each in hosts) and _is_of_this_host(host))


def _parsed(host: str) -> IPAddress:
    address = ipaddress.ip_address(host.partition("%")[0])
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def _is_of_this_host(address: IPAddress) -> bool:
    """Return whether the system lets this process have the address."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
