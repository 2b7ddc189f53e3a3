"""Messages of netlink(7) and their attributes, as bytes. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["NetlinkMessage", "attribute", "attributes", "netlink_messages", "request"]

NLMSGHDR = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, port: linux/netlink.h."""
RTATTR = struct.Struct("=HH")
"""Length, type."""
ALIGNMENT = 4


class NetlinkMessage(NamedTuple):
    kind: int
    flags: int
    body: bytes


def request(kind: int, flags: int, body: bytes) -> bytes:
    return NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, flags, 1, 0) + body


def netlink_messages(content: bytes) -> Iterator[NetlinkMessage]:
    """Yield the messages of what was received at once. The kernel sends whole ones."""
    at = 0
    while at + NLMSGHDR.size <= len(content):
        length, kind, flags, _, _ = NLMSGHDR.unpack_from(content, at)
        yield NetlinkMessage(kind, flags, content[at + NLMSGHDR.size : at + length])
        at += max(NLMSGHDR.size, _aligned(length))


def attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(_aligned(len(value)) - len(value))
    return RTATTR.pack(RTATTR.size + len(value), kind) + value + padding


def attributes(content: bytes) -> dict[int, bytes]:
    """Return the attributes behind the fixed part of a body."""
    found = {}
    at = 0
    while at + RTATTR.size <= len(content):
        length, kind = RTATTR.unpack_from(content, at)
        found[kind] = content[at + RTATTR.size : at + length]
        at += max(RTATTR.size, _aligned(length))
    return found


def _aligned(length: int) -> int:
    return (length + ALIGNMENT - 1) & -ALIGNMENT
