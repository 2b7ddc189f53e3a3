"""Notice that somebody changes addresses, or interfaces, of this machine: the notifications of rtnetlink(7)."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection
from typing import NamedTuple

import trio

from lb.announce.netlink import NetlinkMessage, attributes, netlink_messages
from lb.announce.rtnetlink import RTM_DELADDR, RTM_NEWADDR, packed_address

__all__ = ["AddressWatch", "WatchedNames"]

# linux/rtnetlink.h, linux/if_link.h
RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
RTM_NEWLINK, RTM_DELLINK = 16, 17
IFINFOMSG_SIZE = 16
"""Bytes before the attributes."""
IFLA_IFNAME = 3
LARGEST_NOTIFICATIONS = 1 << 16
"""Bytes that are taken at once. A notification has a few hundred to two thousand."""


class WatchedNames(NamedTuple):
    """What is watched."""

    interfaces: Collection[str]
    addresses: Collection[bytes]
    """As packed, on any interface."""


class AddressWatch:
    """Hears of all addresses and interfaces from now on."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))

    def close(self) -> None:
        self._socket.close()

    async def changed(self, watched: Callable[[], WatchedNames]) -> None:
        """Wait until something may have changed that is watched then."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                content = self._socket.recv(LARGEST_NOTIFICATIONS)
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # there were too many: some are lost
                    return
                raise
            names = watched()
            if any(_matters(message, names) for message in netlink_messages(content)):
                return


def _matters(message: NetlinkMessage, names: WatchedNames) -> bool:
    if message.kind in {RTM_NEWADDR, RTM_DELADDR}:
        return packed_address(message.body) in names.addresses
    if message.kind in {RTM_NEWLINK, RTM_DELLINK}:
        name = attributes(message.body[IFINFOMSG_SIZE:]).get(IFLA_IFNAME, b"")
        return name.rstrip(b"\0").decode(errors="replace") in names.interfaces
    return False
