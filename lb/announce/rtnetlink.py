"""Addresses and local routes of this machine, set by messages to the kernel: rtnetlink(7).

Each call blocks until the kernel has done it, which may wait for a lock that all changes of the network share: call it
in a thread.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import NamedTuple

from lb.model.announce import InterfaceAddress

__all__ = ["add_address", "add_local_route", "check_rights", "remove_address", "remove_local_route"]

# linux/netlink.h
NLMSGHDR = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, port."""
NLMSGERR = struct.Struct("=i")
"""Its begin: 0, or the negative errno."""
RTATTR = struct.Struct("=HH")
"""Length, type."""
ALIGNMENT = 4
NLMSG_ERROR = 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x1, 0x4, 0x200, 0x400, 0x800
# linux/rtnetlink.h, linux/if_addr.h
RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE = 20, 21, 24, 25
IFADDRMSG = struct.Struct("=BBBBI")
"""Family, length of the prefix, flags, scope, index of the interface."""
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_F_NODAD = 0x02
"""Several balancers have the address by intent: IPv6 must not look for duplicates, and wait for the result."""
RTMSG = struct.Struct("=BBBBBBBBI")
"""Family, lengths of the prefixes of destination and source, TOS, table, protocol, scope, type, flags."""
RTA_DST, RTA_OIF = 1, 4
INDEX = struct.Struct("=i")
RT_TABLE_LOCAL, RT_SCOPE_HOST, RTN_LOCAL = 255, 254, 2
RTPROT_STATIC = 4
"""The kernel's own route of an address has another protocol (``kernel``), so that removing one leaves the other."""
LARGEST_REPLY = 8192
"""Bytes. A reply is an errno with the request."""


class _Request(NamedTuple):
    kind: int
    flags: int
    body: bytes


def add_address(address: InterfaceAddress, index: int) -> None:
    """Set an address on the interface with this index, as ``ip address add`` does. It may stand already.

    Raises OSError.
    """
    flags = NLM_F_CREATE | NLM_F_EXCL
    _ask(_Request(RTM_NEWADDR, flags, _address(address, index)), unless=errno.EEXIST)


def remove_address(address: InterfaceAddress, index: int) -> bool:
    """Remove an address. Returns whether it stood. Raises OSError."""
    return _ask(_Request(RTM_DELADDR, 0, _address(address, index)), unless=errno.EADDRNOTAVAIL)


def add_local_route(address: InterfaceAddress) -> None:
    """Have the kernel take packets for an address, wherever it stands: ``ip route append local ADDRESS dev lo``.

    Raises OSError.
    """
    flags = NLM_F_CREATE | NLM_F_APPEND
    _ask(_Request(RTM_NEWROUTE, flags, _local_route(address)), unless=errno.EEXIST)


def remove_local_route(address: InterfaceAddress) -> None:
    """Remove the route of :func:`add_local_route`, if it is there. Raises OSError."""
    _ask(_Request(RTM_DELROUTE, 0, _local_route(address)), unless=errno.ESRCH)


def check_rights(index: int) -> None:
    """Raise OSError if this process may not set addresses on an interface. Changes nothing."""
    nowhere = IFADDRMSG.pack(socket.AF_INET, 32, 0, 0, index) + _attribute(IFA_LOCAL, bytes(4))
    _ask(_Request(RTM_DELADDR, 0, nowhere), unless=errno.EADDRNOTAVAIL)


def _address(address: InterfaceAddress, index: int) -> bytes:
    packed = address.ip.packed
    flags = IFA_F_NODAD if address.version == 6 else 0
    head = IFADDRMSG.pack(_family(address), address.network.prefixlen, flags, 0, index)
    return head + _attribute(IFA_LOCAL, packed) + _attribute(IFA_ADDRESS, packed)


def _local_route(address: InterfaceAddress) -> bytes:
    length, index = address.network.prefixlen, socket.if_nametoindex("lo")
    head = RTMSG.pack(_family(address), length, 0, 0, RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL, 0)
    return head + _attribute(RTA_DST, address.network.network_address.packed) + _attribute(RTA_OIF, INDEX.pack(index))


def _family(address: InterfaceAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(-len(value) % ALIGNMENT)
    return RTATTR.pack(RTATTR.size + len(value), kind) + value + padding


def _ask(request: _Request, unless: int) -> bool:
    """Send a request and wait for the kernel's reply. Returns False if that is the errno ``unless``. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        length = NLMSGHDR.size + len(request.body)
        flags = NLM_F_REQUEST | NLM_F_ACK | request.flags
        kernel.send(NLMSGHDR.pack(length, request.kind, flags, 1, 0) + request.body)
        reply = kernel.recv(LARGEST_REPLY)
    _, kind, _, _, _ = NLMSGHDR.unpack_from(reply)
    if kind != NLMSG_ERROR:
        raise OSError(errno.EPROTO, f"the kernel replied with a message of type {kind}")
    number = -NLMSGERR.unpack_from(reply, NLMSGHDR.size)[0]
    if number and number != unless:
        raise OSError(number, os.strerror(number))
    return not number
