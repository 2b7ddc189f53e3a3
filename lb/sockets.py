"""Listening sockets: how they are opened, what they are called, and what is left of them in the file system."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from lb.address import Address
from lb.errors import describe_error
from lb.service.given_sockets import GivenSockets
from lb.splicing.splicer import TCP_OPTIONS

__all__ = ["open_sockets", "remove_file"]

NONE_GIVEN = GivenSockets()


def remove_file(address: Address) -> None:
    """Of a unix socket: who comes later finds nobody, and is not queued for somebody who leaves."""
    if address.is_unix:
        with suppress(OSError):  # gone, or not ours to remove any more; nothing depends on it
            Path(address.path).unlink()


def open_sockets(address: Address, backlog: int, given: GivenSockets = NONE_GIVEN) -> list[socket.socket]:
    """Bind and listen, or take what is ``given``. Raises OSError whose text says what could not be bound, and why.

    A host name binds all that it resolves to; an empty host all addresses of both families with one socket, where the
    system has IPv6.
    """
    opened: list[socket.socket] = []
    try:
        for family, target in _bind_targets(address):
            taken = given.take(family, target)
            sock = taken or socket.socket(family, socket.SOCK_STREAM)
            opened.append(sock)
            if not address.is_unix:
                for level, option in TCP_OPTIONS:
                    sock.setsockopt(level, option, 1)
            if taken is None:
                _bind(sock, address, target)
            sock.setblocking(False)
            sock.listen(backlog)
    except OSError as error:
        for sock in opened:
            sock.close()
        raise OSError(error.errno, f"cannot listen on {address}: {describe_error(error)}") from error
    return opened


def _bind_targets(address: Address) -> list[tuple[socket.AddressFamily, object]]:
    if address.is_unix:
        return [(socket.AF_UNIX, address.path)]
    if not address.host:
        if socket.has_dualstack_ipv6():
            return [(socket.AF_INET6, ("::", address.port))]
        return [(socket.AF_INET, ("0.0.0.0", address.port))]  # noqa: S104 - asked for by ":port"
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
    """Remove the socket file of a process that is gone. Raises OSError (EADDRINUSE) if somebody still listens there."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return  # bind will say that the path is in use
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        error = probe.connect_ex(path)
    if error != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    Path(path).unlink()


def listening_socket(fd: int) -> socket.socket:
    """One that is given: it belongs to whoever calls this."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def close_all(opened: Mapping[tuple[str, Address], Iterable[socket.socket]]) -> None:
    for sockets in opened.values():
        for sock in sockets:
            sock.close()
