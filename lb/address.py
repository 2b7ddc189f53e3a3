"""Addresses: where a socket listens or connects, and who a client is. Values only: no I/O."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple, TypeAlias

import attrs

__all__ = ["Address", "Client", "SocketAddress", "client_of"]

SocketAddress: TypeAlias = tuple[socket.AddressFamily, object]
"""A family and the address in the form that :meth:`socket.socket.connect` takes: what an address resolves to."""


@attrs.frozen
class Address:
    """Where a socket listens or connects: ``host:port``, or the path of a unix socket.

    ``text`` is what the user wrote. It is the address's identity: hash tables place a server by it,
    so a host name keeps its place when its addresses change.
    """

    text: str
    host: str = attrs.field(default="", eq=False)
    """Without brackets; empty means all addresses (listeners only)."""
    port: int = attrs.field(default=0, eq=False)
    path: str = attrs.field(default="", eq=False)
    """Path of a unix socket; empty for TCP."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``, ``[v6]:port``, ``:port`` or ``unix:/path``. Raises ValueError saying what is wrong."""
        if not text.isprintable():
            raise ValueError(f"must not hold control characters, like {text!r}")
        if text.startswith("unix:"):
            return cls(text=text, path=_unix_path(text))
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError(f"must be 'host:port' or 'unix:/path', not {text!r}")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            raise ValueError(f"the port must be a number from 0 to 65535, not {port!r}")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            try:
                ipaddress.IPv6Address(host)
            except ValueError as error:
                raise ValueError(f"{host!r} is not an IPv6 address") from error
        elif ":" in host:
            raise ValueError(f"an IPv6 address needs brackets: '[{host}]:{port}'")
        elif host and not _is_ipv4_or_name(host):
            raise ValueError(f"{host!r} is not a host name or an address")
        return cls(text=text, host=host, port=int(port))

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    @property
    def is_local(self) -> bool:
        """True if only this host can reach it: a unix socket, ``localhost``, or a loopback address (RFC 6890)."""
        if self.is_unix or self.host == "localhost":
            return True
        return bool(self.host) and not self.is_name and ipaddress.ip_address(self.host).is_loopback

    @property
    def is_name(self) -> bool:
        """True if the host has to be looked up."""
        if self.is_unix or not self.host:
            return False
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False

    def __str__(self) -> str:
        return self.text


def _unix_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if not path:
        raise ValueError(f"a path must follow 'unix:' in {text!r}")
    if len(path.encode()) > 107:
        raise ValueError(f"the path of a unix socket has at most 107 bytes, {path!r} has {len(path.encode())}")
    return path


def _is_ipv4_or_name(host: str) -> bool:
    """A name whose last label is a number can only be an IPv4 address, or a mistyped one (RFC 3696, section 2)."""
    try:
        labels = host.encode("idna").decode().removesuffix(".").split(".")
        if labels[-1].isdigit():
            ipaddress.IPv4Address(host)
    except ValueError:  # not an address; or a label that is empty or longer than 63 bytes
        return False
    return all(re.fullmatch(r"[A-Za-z0-9_-]+", label) for label in labels)


class Client(NamedTuple):
    """Who connected: the address as text and the port; a unix peer has neither.

    An IPv4 client of a dual-stack listener is plain IPv4.
    """

    host: str
    port: int

    def __str__(self) -> str:
        if not self.host:
            return "unix:"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def client_of(peer: object) -> Client:
    """The client from what accept says of the peer. An IPv4 client of a dual-stack socket is plain IPv4, RFC 4291."""
    if not isinstance(peer, tuple):
        return Client("", 0)
    if len(peer) == 2:
        return Client._make(peer)
    host = peer[0]
    return Client(host.removeprefix("::ffff:") if "." in host else host, peer[1])
