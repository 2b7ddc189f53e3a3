"""The target of a client: a host name or an address, and a port."""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import attrs

from lb.http1.grammar import MalformedError
from lb.model.address import Address, IPAddress
from lb.model.reachability import plain_address

__all__ = [
    "LAST_PORT",
    "LONGEST_HOST_NAME",
    "SEEN_TARGETS",
    "ForwardTarget",
    "parse_authority",
    "target_of_address",
    "target_of_name",
]

SEEN_TARGETS = 1024
"""Targets that are kept, as clients wrote them. To read one takes a tenth of what a tunnel takes in this process."""

_AUTHORITY = re.compile(rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|([^\[\]:@/?#%]+))(?::([0-9]{1,5}))?")
_NAME = re.compile(rb"[0-9A-Za-z_-]{1,63}(?:\.[0-9A-Za-z_-]{1,63})*")
LONGEST_HOST_NAME = 253
"""Characters of a host name, without the dot at the end: RFC 1035, section 2.3.4."""
LAST_PORT = 65_535
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_MOST_PARTS = 4


@attrs.frozen(cache_hash=True)
class ForwardTarget:
    """Where a client wants to go."""

    host: str
    """A name in lower case, in its ASCII form and without a dot at the end; or the text of ``address``."""
    port: int
    address: IPAddress | None = None
    """None for a name. IPv4-mapped addresses are plain IPv4."""
    text: str = attrs.field(init=False, eq=False, repr=False)
    """``example.com:443``, ``[2001:db8::1]:443``"""

    @text.default
    def _text(self) -> str:
        return Address.of(self.host, self.port).text

    def __str__(self) -> str:
        return self.text


@functools.lru_cache(SEEN_TARGETS)
def parse_authority(authority: bytes, default_port: int = 0) -> ForwardTarget:
    """Return the target of ``host:port``, as CONNECT has it. With a default port, the port may be absent.

    A name that the system would read as an IPv4 address (``0x7f.1``, ``2130706433``) is that address. Raises
    MalformedError, also for user information, percent-encoding, scopes of IPv6 and characters outside ASCII.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise MalformedError("the target is not host:port")
    port = _port(int(match[3] or default_port))
    if match[1] is not None:
        return target_of_address(_ipv6(match[1]), port)
    return target_of_name(match[2], port)


def target_of_name(name: bytes, port: int) -> ForwardTarget:
    """Return the target of a host name, or of the text of an address, which has no brackets.

    Raises MalformedError, as :func:`parse_authority`.
    """
    if b":" in name:
        return target_of_address(_ipv6(name), port)
    plain = name.removesuffix(b".")
    if _NAME.fullmatch(plain) is None or len(plain) > LONGEST_HOST_NAME:
        raise MalformedError("the target's host is neither a name nor an address")
    host = plain.decode("ascii").lower()
    if _NUMBER.fullmatch(host.rpartition(".")[2]):  # RFC 1123, section 2.1: no name ends in a number
        return target_of_address(_ipv4(host), port)
    return ForwardTarget(host, _port(port))


def target_of_address(address: IPAddress, port: int) -> ForwardTarget:
    """Return the target of an address. Raises MalformedError for port 0."""
    plain = plain_address(address)
    return ForwardTarget(str(plain), _port(port), plain)


def _port(port: int) -> int:
    if not 0 < port <= LAST_PORT:
        raise MalformedError("the target's port is not a number from 1 to 65535")
    return port


def _ipv6(text: bytes) -> IPv6Address:
    try:
        address = IPv6Address(text.decode("ascii"))
    except ValueError as error:
        raise MalformedError("the target's host is not an IPv6 address") from error
    if address.scope_id is not None:
        raise MalformedError("the target's address has a scope")
    return address


def _ipv4(text: str) -> IPv4Address:
    """Read an address as inet_aton(3) does: one to four numbers, the last of which fills what is left."""
    *first, last = [_number(part) for part in text.split(".")]
    room = 8 * (_MOST_PARTS - len(first))
    if len(first) >= _MOST_PARTS or last >> room or any(part > 0xFF for part in first):
        raise MalformedError("the target's host is not an IPv4 address")
    return IPv4Address(sum(part << 24 - 8 * index for index, part in enumerate(first)) + last)


def _number(text: str) -> int:
    """Read a hexadecimal, octal or decimal number."""
    if _NUMBER.fullmatch(text) is not None:
        hexadecimal, octal = text.startswith("0x"), text.startswith("0") and len(text) > 1
        digits, base = (text[2:], 16) if hexadecimal else (text[1:], 8) if octal else (text, 10)
        with suppress(ValueError):  # no digits, or an 8 in an octal number
            return int(digits, base)
    raise MalformedError("the target's host is not an IPv4 address")
