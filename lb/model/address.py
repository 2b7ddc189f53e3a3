"""Addresses of listeners, servers and clients. Values only: no I/O."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

import attrs

__all__ = ["SEEN_ADDRESSES", "Address", "Client", "Networks", "SocketAddress", "address_of", "client_of"]

SEEN_ADDRESSES = 4096
"""Addresses that are kept parsed. To parse one costs a tenth of a connection, and most clients come again."""

SocketAddress: TypeAlias = tuple[socket.AddressFamily, object]
"""The result of a name lookup: the address family, and the address as :meth:`socket.socket.connect` takes it."""


@attrs.frozen
class Address:
    """The address of a socket: ``host:port``, or the path of a unix socket.

    ``text`` is the address as configured. It is the identity of the address: hash tables place a server by it,
    so a host name keeps its place when its IP addresses change.
    """

    text: str
    host: str = attrs.field(default="", eq=False)
    """Without brackets; empty means all addresses (listeners only)."""
    port: int = attrs.field(default=0, eq=False)
    path: str = attrs.field(default="", eq=False)
    """Path of a unix socket, ``@name`` of one in the abstract namespace, unix(7); empty for TCP."""

    @classmethod
    def parse(cls, text: str, directory: Path | None = None) -> Address:
        """Parse ``host:port``, ``[v6]:port``, ``:port``, ``unix:/path`` or ``unix:@name``.

        Relative paths start at ``directory``, else at the directory of the process. Raises ValueError with the reason.
        """
        if not text.isprintable():
            raise ValueError(f"must not hold control characters, like {text!r}")
        if text.startswith("unix:"):
            return cls(text=text, path=_unix_path(text, directory))
        if "://" in text:
            raise ValueError(f"must be an address without a scheme{_suggestion(text)}")
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError(f"must be 'host:port' or 'unix:/path', not {text!r}")
        return cls(text=text, port=_port(port), host=_host(host, port))

    @classmethod
    def of(cls, host: str, port: int) -> Address:
        """Return the address of a host, which is given without brackets."""
        return cls(text=f"[{host}]:{port}" if ":" in host else f"{host}:{port}", host=host, port=port)

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    @property
    def has_no_port(self) -> bool:
        """True for a server that is reached at the port that the client came to."""
        return not (self.port or self.path)

    @property
    def has_file(self) -> bool:
        """True for a unix socket with a file, not an abstract one."""
        return self.is_unix and not self.path.startswith("@")

    @property
    def unix_target(self) -> str:
        """The address of a unix socket, as :meth:`socket.socket.bind` takes it."""
        return self.path if self.has_file else f"\0{self.path[1:]}"

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach it: a unix socket, ``localhost``, or a loopback address (RFC 6890)."""
        if self.is_unix or self.host == "localhost":
            return True
        return bool(self.host) and not self.is_name and ipaddress.ip_address(self.host).is_loopback

    @property
    def is_name(self) -> bool:
        """True if the host is a name that needs a lookup."""
        if not self.host or ":" in self.host:
            return False
        last_label = self.host.rpartition(".")[
            2
        ]  # of a valid host, a number only in an IPv4 address (RFC 3696, section 2)
        return not (last_label.isascii() and last_label.isdigit())

    def __str__(self) -> str:
        return self.text


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    if re.fullmatch(r"[0-9]+-[0-9]+", text):
        raise ValueError(f"must have one port, not the range {text!r}")
    raise ValueError(f"the port must be a number from 0 to 65535, not {text!r}")


def _host(text: str, port: str) -> str:
    """Return a host without brackets; empty for all addresses."""
    if text.startswith("[") and text.endswith("]"):
        host = text[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError as error:
            raise ValueError(f"{host!r} is not an IPv6 address") from error
        return host
    if ":" in text:
        raise ValueError(f"an IPv6 address needs brackets: '[{text}]:{port}'")
    if text == "*":
        raise ValueError(f"'*' is not a host name or an address; a listener on all addresses has ':{port}'")
    if text and not _is_ipv4_or_name(text):
        raise ValueError(f"{text!r} is not a host name or an address")
    return text


_PORT_OF_SCHEME = {"http": 80, "https": 443}


def _suggestion(url: str) -> str:
    """Return the end of a message about a URL: the address that it has, if it has one."""
    scheme, _, rest = url.partition("://")
    found = re.split("[/?#]", rest)[0].rpartition("@")[2]
    for text in (found, f"{found}:{_PORT_OF_SCHEME.get(scheme)}"):
        try:
            return f", did you mean {Address.parse(text).text!r}?"
        except ValueError:
            continue
    return f", not {url!r}"


def _unix_path(text: str, directory: Path | None) -> str:
    path = text.removeprefix("unix:")
    if path in ("", "@"):
        raise ValueError(f"a path must follow 'unix:' in {text!r}")
    if directory is not None and not path.startswith("@"):
        path = str(directory / path)
    if len(path.encode()) > 107:
        raise ValueError(f"the path of a unix socket has at most 107 bytes, {path!r} has {len(path.encode())}")
    return path


def _is_ipv4_or_name(host: str) -> bool:
    """Check a host. If its last label is a number, it must be a valid IPv4 address (RFC 3696, section 2)."""
    if host.isascii() and host[0].isdigit():  # most servers have an IPv4 address, and a name takes five times as long
        with suppress(ValueError):
            ipaddress.IPv4Address(host)
            return True
    try:
        labels = host.encode("idna").decode().removesuffix(".").split(".")
        if labels[-1].isdigit():
            ipaddress.IPv4Address(host)
    except ValueError:  # not an address; or a label that is empty or longer than 63 bytes
        return False
    return all(re.fullmatch(r"[A-Za-z0-9_-]+", label) for label in labels)


class Client(NamedTuple):
    """A client's address as text, and its port. A client of a unix socket has neither.

    An IPv4 client of a dual-stack listener has a plain IPv4 address.
    """

    host: str
    port: int

    def __str__(self) -> str:
        if not self.host:
            return "unix:"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def client_of(peer: object) -> Client:
    """Return the client for a peer address from accept. IPv4-mapped addresses (RFC 4291) become plain IPv4."""
    if not isinstance(peer, tuple):
        return Client("", 0)
    if len(peer) == 2:
        return Client._make(peer)
    host = peer[0]
    return Client(host.removeprefix("::ffff:") if "." in host else host, peer[1])


IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@functools.lru_cache(SEEN_ADDRESSES)
def address_of(host: str) -> IPAddress | None:
    """Return a client's IP address without its scope (``%eth0``); None for a client of a unix socket."""
    return ipaddress.ip_address(host.partition("%")[0]) if host else None


def _by_width(texts: Iterable[str]) -> dict[int, dict[int, frozenset[int]]]:
    """Return the network prefixes by IP version and by number of host bits."""
    found: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
    for text in texts:
        network = ipaddress.ip_network(text)
        width = network.max_prefixlen - network.prefixlen
        found[network.version].setdefault(width, set()).add(int(network.network_address) >> width)
    return {version: {width: frozenset(each) for width, each in widths.items()} for version, widths in found.items()}


@attrs.frozen
class Networks:
    """Networks in CIDR form (``10.0.0.0/8``, ``2001:db8::/32``). A bare address is a network of one address.

    A membership test costs one lookup per prefix length in the list, however long the list is. Raises ValueError
    for an invalid network.
    """

    texts: tuple[str, ...] = ()
    _prefixes: dict[int, dict[int, frozenset[int]]] = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(lambda self: _by_width(self.texts), takes_self=True)
    )

    def __bool__(self) -> bool:
        return bool(self.texts)

    def __str__(self) -> str:
        return ", ".join(self.texts) or "none"

    def __contains__(self, address: IPAddress | None) -> bool:
        """True if one of the networks contains the address; False for None."""
        if address is None:
            return False
        number = int(address)
        for width, prefixes in self._prefixes[address.version].items():  # noqa: SIM110 - any() costs three times as much
            if number >> width in prefixes:
                return True
        return False
