"""Listening sockets: open and close them, and remove the files of unix sockets."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from lb.model.address import Address, SocketAddress
from lb.model.binds import BindingChanges, Place
from lb.model.listener import ListeningSpec
from lb.net.activation import GivenSockets
from lb.net.errors import describe_error
from lb.net.tcp import KEEPALIVE_OFF, bound_unsent, socket_options

__all__ = [
    "NONE_GIVEN",
    "ListeningSockets",
    "Opened",
    "close_all",
    "listening_socket",
    "open_sockets",
    "remove_file",
    "set_options",
]

Opened: TypeAlias = Mapping[Place, list[socket.socket]]
"""Open listening sockets, by listener and address."""

NONE_GIVEN = GivenSockets()
NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""Errors of a bind to an address that this host does not have; the second one without IPv6."""
IP_FREEBIND = getattr(socket, "IP_FREEBIND", 15)
"""From ip(7); Python has the name since 3.13. It works for IPv6 as well."""


def remove_file(address: Address) -> None:
    """Remove the file of a unix socket, so that new clients are refused at once and not queued in its backlog."""
    if address.has_file:
        with suppress(OSError):  # already gone, or no permission any more; nothing depends on it
            Path(address.path).unlink()


def open_sockets(
    address: Address, spec: ListeningSpec, given: GivenSockets = NONE_GIVEN, targets: Sequence[SocketAddress] = ()
) -> list[socket.socket]:
    """Bind and listen, or use the ``given`` sockets. Raises OSError whose text names the address and the cause.

    A host name binds every address that it resolves to and that this host has: ``targets``, or it is looked up, which
    blocks. An empty host binds all addresses of both families with one socket, if the system has IPv6.
    """
    opened: list[socket.socket] = []
    missing: list[OSError] = []
    try:
        for family, target in targets or _bind_targets(address):
            try:
                opened.append(given.take(family, target) or _bound(family, target, address, spec))
            except OSError as error:
                if not address.is_name or error.errno not in NOT_HERE:
                    raise
                missing.append(error)
        if not opened:
            raise missing[0]
        for sock in opened:
            set_options(sock, spec)
            sock.setblocking(False)
            sock.listen(spec.backlog)
    except OSError as error:
        for sock in opened:
            sock.close()
        raise OSError(error.errno, f"cannot listen on {address}: {_why(error, address)}") from error
    return opened


def set_options(sock: socket.socket, spec: ListeningSpec) -> None:
    """Set the options of a TCP socket that accepted sockets inherit; nothing for a unix socket."""
    if sock.family != socket.AF_UNIX:
        for level, option, value in (*KEEPALIVE_OFF, *socket_options(spec.keepalive, spec.user_timeout)):
            sock.setsockopt(level, option, value)
        bound_unsent(sock)


def _bind_targets(address: Address) -> list[SocketAddress]:
    if address.is_unix:
        return [(socket.AF_UNIX, address.unix_target)]
    if not address.host:
        if socket.has_dualstack_ipv6():
            return [(socket.AF_INET6, ("::", address.port))]
        return [(socket.AF_INET, ("0.0.0.0", address.port))]  # noqa: S104 - requested with ":port"
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, target) for family, _, _, _, target in found))


def _bound(family: socket.AddressFamily, target: object, address: Address, spec: ListeningSpec) -> socket.socket:
    """Return a new socket that is bound."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if address.has_file:
            _bind_file(sock, address.path, spec)
            return sock
        if not address.is_unix:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if spec.freebind:
                sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(address.host)))
        sock.bind(target)  # type: ignore[arg-type]
    except OSError:
        sock.close()
        raise
    return sock


def _bind_file(sock: socket.socket, path: str, spec: ListeningSpec) -> None:
    """Bind a unix socket. Its file never has more permissions than configured, also before it listens."""
    _remove_stale(path)
    if spec.mode is not None:
        os.fchmod(sock.fileno(), spec.mode)  # Linux makes the file with these permissions, less the umask
    sock.bind(path)
    if spec.mode is not None:
        Path(path).chmod(spec.mode)
    if spec.owner:
        os.chown(path, *_ids(spec.owner), follow_symlinks=False)


def _ids(owner: str) -> tuple[int, int]:
    """Return the user and group of ``user:group``; -1 for a part that is absent. Raises OSError if it is unknown."""
    user, _, group = owner.partition(":")
    try:
        return pwd.getpwnam(user).pw_uid if user else -1, grp.getgrnam(group).gr_gid if group else -1
    except KeyError as error:
        raise OSError(f"socket_owner: no such user or group: {owner!r}") from error


def _why(error: OSError, address: Address) -> str:
    """Return the cause of a failed bind."""
    if address.has_file:
        directory = Path(address.path).parent
        if error.errno == errno.ENOENT and not directory.exists():
            return f"there is no directory {str(directory)!r}"
        return describe_error(error)
    if error.errno in NOT_HERE and ":" in address.host and not _has_ipv6():
        return "this host has no IPv6"
    if error.errno == errno.EADDRNOTAVAIL:
        return "not an address of this host"
    return describe_error(error)


def _has_ipv6() -> bool:
    """Return True if IPv6 is not switched off: the loopback address can be bound."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


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

    def change(self, changes: BindingChanges, opened: Opened) -> Opened:
        """Reassign moved sockets, add new ones. Return the removed ones: the caller closes them."""
        removed = {place: self.by_place.pop(place) for place in changes.closed}
        moved = {place: self.by_place.pop((giver, place[1])) for place, giver in changes.moved}
        self.by_place |= {**moved, **opened}
        return removed

    def remove_all(self) -> Opened:
        """Remove all sockets and return them: the caller closes them."""
        removed, self.by_place = self.by_place, {}
        return removed
