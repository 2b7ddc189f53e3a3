"""Addresses and local routes of this machine, set by messages to the kernel: rtnetlink(7).

Each call blocks until the kernel has done it, which may wait for a lock that all changes of the network share: call it
in a thread.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_interface

from lb.announce.netlink import NetlinkMessage, attribute, attributes, netlink_messages, request
from lb.model.announce import InterfaceAddress

__all__ = [
    "RTM_DELADDR",
    "RTM_NEWADDR",
    "add_address",
    "add_local_route",
    "addresses_on",
    "check_rights",
    "packed_address",
    "remove_address",
    "remove_local_route",
]

# linux/netlink.h
NLMSGERR = struct.Struct("=i")
"""Its begin: 0, or the negative errno."""
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_DUMP, NLM_F_DUMP_INTR = 0x300, 0x10
SOL_NETLINK, NETLINK_GET_STRICT_CHK = 270, 12
"""The kernel heeds what a list is asked for: here, of which interface."""
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x1, 0x4, 0x200, 0x400, 0x800
# linux/rtnetlink.h, linux/if_addr.h
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_DELROUTE = 20, 21, 22, 24, 25
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
LARGEST_REPLY = 1 << 16
"""Bytes. A reply is an errno with the request, or a part of a list: 32 KiB at most."""
MOST_LISTS = 10
"""How often a list is asked for that changes while the kernel writes it. A guess."""


def add_address(address: InterfaceAddress, index: int) -> None:
    """Set an address on the interface with this index, as ``ip address add`` does. It may stand already.

    Raises OSError.
    """
    flags = NLM_F_CREATE | NLM_F_EXCL
    _ask(NetlinkMessage(RTM_NEWADDR, flags, _address(address, index)), unless=errno.EEXIST)


def remove_address(address: InterfaceAddress, index: int) -> bool:
    """Remove an address. Returns whether it stood. Raises OSError."""
    return _ask(NetlinkMessage(RTM_DELADDR, 0, _address(address, index)), unless=errno.EADDRNOTAVAIL)


def add_local_route(address: InterfaceAddress) -> None:
    """Have the kernel take packets for an address, wherever it stands: ``ip route append local ADDRESS dev lo``.

    Raises OSError.
    """
    flags = NLM_F_CREATE | NLM_F_APPEND
    _ask(NetlinkMessage(RTM_NEWROUTE, flags, _local_route(address)), unless=errno.EEXIST)


def remove_local_route(address: InterfaceAddress) -> None:
    """Remove the route of :func:`add_local_route`, if it is there. Raises OSError."""
    _ask(NetlinkMessage(RTM_DELROUTE, 0, _local_route(address)), unless=errno.ESRCH)


def check_rights(index: int) -> None:
    """Raise OSError if this process may not set addresses on an interface. Changes nothing."""
    nowhere = IFADDRMSG.pack(socket.AF_INET, 32, 0, 0, index) + attribute(IFA_LOCAL, bytes(4))
    _ask(NetlinkMessage(RTM_DELADDR, 0, nowhere), unless=errno.EADDRNOTAVAIL)


def addresses_on(index: int) -> set[InterfaceAddress]:
    """Return the addresses of an interface. Raises OSError."""
    body = IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, index)
    for _ in range(MOST_LISTS):
        found: set[InterfaceAddress] = set()
        interrupted = False
        for message in _list(request(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, body)):
            interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
            if message.kind == RTM_NEWADDR and (address := _address_in(message.body, index)):
                found.add(address)
        if not interrupted:
            return found
    raise OSError(errno.EAGAIN, "the addresses change all the time")


def _list(asked: bytes) -> Iterator[NetlinkMessage]:
    """Send a request for a list, and yield its messages. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        with suppress(OSError):  # a kernel before 4.20 sends the addresses of all interfaces
            kernel.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        kernel.send(asked)
        while True:
            for message in netlink_messages(kernel.recv(LARGEST_REPLY)):
                if message.kind == NLMSG_ERROR:
                    number = -NLMSGERR.unpack_from(message.body)[0]
                    raise OSError(number, os.strerror(number))
                yield message
                if message.kind == NLMSG_DONE:
                    return


def _address_in(body: bytes, index: int) -> InterfaceAddress | None:
    """Return the address of a message, if it is on this interface."""
    _, length, _, _, own = IFADDRMSG.unpack_from(body)
    packed = packed_address(body)
    return ip_interface((packed, length)) if own == index and packed else None


def packed_address(body: bytes) -> bytes | None:
    """Return the address of a message about one, on whatever interface; None if it has none."""
    found = attributes(body[IFADDRMSG.size :])
    return found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)  # of IPv4 the second is the peer's, if there is one


def _address(address: InterfaceAddress, index: int) -> bytes:
    packed = address.ip.packed
    flags = IFA_F_NODAD if address.version == 6 else 0
    head = IFADDRMSG.pack(_family(address), address.network.prefixlen, flags, 0, index)
    return head + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)


def _local_route(address: InterfaceAddress) -> bytes:
    length, index = address.network.prefixlen, socket.if_nametoindex("lo")
    head = RTMSG.pack(_family(address), length, 0, 0, RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL, 0)
    return head + attribute(RTA_DST, address.network.network_address.packed) + attribute(RTA_OIF, INDEX.pack(index))


def _family(address: InterfaceAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _ask(asked: NetlinkMessage, unless: int) -> bool:
    """Send a request and wait for the kernel's reply. Returns False if that is the errno ``unless``. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(request(asked.kind, NLM_F_REQUEST | NLM_F_ACK | asked.flags, asked.body))
        reply = next(netlink_messages(kernel.recv(LARGEST_REPLY)))
    if reply.kind != NLMSG_ERROR:
        raise OSError(errno.EPROTO, f"the kernel replied with a message of type {reply.kind}")
    number = -NLMSGERR.unpack_from(reply.body)[0]
    if number and number != unless:
        raise OSError(number, os.strerror(number))
    return not number
