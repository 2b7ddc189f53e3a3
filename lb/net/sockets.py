"""Listening sockets: open and close them, and remove the files of unix sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from lb.model.address import Address, SocketAddress
from lb.model.binds import BindingChanges, Place
from lb.net.activation import GivenSockets
from lb.net.errors import describe_error
from lb.net.tcp import TCP_OPTIONS, bound_unsent

__all__ = ["ListeningSockets", "Opened", "close_all", "listening_socket", "open_sockets", "remove_file"]

Opened: TypeAlias = Mapping[Place, list[socket.socket]]
"""Open listening sockets, by listener and address."""

NONE_GIVEN = GivenSockets()


def remove_file(address: Address) -> None:
    """Remove the file of a unix socket, so that new clients are refused at once and not queued in its backlog."""
    if address.is_unix:
        with suppress(OSError):  # already gone, or no permission any more; nothing depends on it
            Path(address.path).unlink()


def open_sockets(
    address: Address, backlog: int, given: GivenSockets = NONE_GIVEN, targets: Sequence[SocketAddress] = ()
) -> list[socket.socket]:
    """Bind and listen, or use the ``given`` sockets. Raises OSError whose text names the address and the cause.

    A host name binds every address that it resolves to: ``targets``, or it is looked up, which blocks. An empty host
    binds all addresses of both families with one socket, if the system has IPv6.
    """
    opened: list[socket.socket] = []
    try:
        for family, target in targets or _bind_targets(address):
            taken = given.take(family, target)
            sock = taken or socket.socket(family, socket.SOCK_STREAM)
            opened.append(sock)
            if not address.is_unix:
                for level, option in TCP_OPTIONS:
                    sock.setsockopt(level, option, 1)
                bound_unsent(sock)
            if taken is None:
                _bind(sock, address, target)
            sock.setblocking(False)
            sock.listen(backlog)
    except OSError as error:
        for sock in opened:
            sock.close()
        raise OSError(error.errno, f"cannot listen on {address}: {describe_error(error)}") from error
    return opened


def _bind_targets(address: Address) -> list[SocketAddress]:
    if address.is_unix:
        return [(socket.AF_UNIX, address.path)]
    if not address.host:
        if socket.has_dualstack_ipv6():
            return [(socket.AF_INET6, ("::", address.port))]
        return [(socket.AF_INET, ("0.0.0.0", address.port))]  # noqa: S104 - requested with ":port"
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, target) for family, _, _, _, target in found))


def _bind(sock: socket.socket, address: Address, target: object) -> None:
    if address.is_unix:
        _remove_stale(address.path)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(address.host)))
    sock.bind(target)  # type: ignore[arg-type]


def _remove_stale(path: str) -> None:
    """Remove the socket file of a dead process. Raises OSError (EADDRINUSE) if a process still listens there."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return  # bind reports that the path is in use
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a process that hangs has a full backlog: EAGAIN
        error = probe.connect_ex(path)
    if error != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    Path(path).unlink()


def listening_socket(fd: int) -> socket.socket:
    """Return the listening socket with this descriptor. The caller owns it."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def close_all(opened: Opened) -> None:
    """Close all these sockets."""
    for sockets in opened.values():
        for sock in sockets:
            sock.close()


class ListeningSockets:
    """The owner of the process's listening sockets. It follows the configuration. Other objects accept on them."""

    def __init__(self) -> None:
        self.by_place: dict[Place, list[socket.socket]] = {}

    def change(self, changes: BindingChanges, opened: Opened) -> None:
        """Close removed sockets, reassign moved ones, add new ones."""
        close_all({place: self.by_place.pop(place) for place in changes.closed})
        moved = {place: self.by_place.pop((giver, place[1])) for place, giver in changes.moved}
        self.by_place |= {**moved, **opened}

    def close(self) -> None:
        """Close all sockets."""
        close_all(self.by_place)
        self.by_place = {}
