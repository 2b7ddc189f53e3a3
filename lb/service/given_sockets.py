"""Listening sockets that a service manager has opened and keeps open; listeners take copies of them.

How they come: sd_listen_fds(3). Which is whose is told by the address that each is bound to.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping, Sequence

import attrs

from lb.address import Address, Client
from lb.errors import describe_error

__all__ = ["Given", "GivenError", "GivenSockets", "socket_name"]

FIRST = 3
"""SD_LISTEN_FDS_START: the number of the first one."""
FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class GivenError(Exception):
    """What was given is no listening stream socket; the text says so, in one line."""


def socket_name(sock: socket.socket) -> str:
    """The address a socket is bound to, as the configuration writes it."""
    name = sock.getsockname()
    return str(Client(name[0], name[1])) if isinstance(name, tuple) else f"unix:{name}"


@attrs.frozen
class Given:
    """One of them, with the name that its unit has for it."""

    sock: socket.socket
    name: str

    @property
    def bind(self) -> str:
        return socket_name(self.sock)


class GivenSockets:
    """They stay open here as long as the process lives, so that a reload may take one that none had wanted before."""

    def __init__(self, given: Sequence[Given] = ()) -> None:
        self.all = tuple(given)

    @classmethod
    def of_environment(cls) -> GivenSockets:
        """Those that the environment speaks of; its words are taken out, as they are not for children.

        Raises GivenError.
        """
        pid, count, names = (os.environ.pop(f"LISTEN_{word}", "") for word in ("PID", "FDS", "FDNAMES"))
        if pid != str(os.getpid()):
            return cls()
        listed = names.split(":")
        return cls.of_descriptors({FIRST + n: (listed[n : n + 1] or [""])[0] for n in range(int(count))})

    @classmethod
    def of_descriptors(cls, names: Mapping[int, str]) -> GivenSockets:
        """Those of these numbers, each with its name. Raises GivenError."""
        return cls([Given(_listening(fd), name) for fd, name in names.items()])

    def take(self, family: socket.AddressFamily, target: object) -> socket.socket | None:
        """A copy of the one that is bound there."""
        wanted = _place(family, target)
        for given in self.all:
            if _place(given.sock.family, given.sock.getsockname()) == wanted:
                return given.sock.dup()
        return None

    def has_file(self, address: Address) -> bool:
        """Whether a path is that of a given socket, so that it is not ours to remove."""
        return address.is_unix and any(given.bind == f"unix:{address.path}" for given in self.all)

    def unused(self, bound: Collection[str]) -> list[Given]:
        """Those that are not among the addresses really bound."""
        return [given for given in self.all if given.bind not in bound]


def _place(family: socket.AddressFamily, name: object) -> tuple[object, ...]:
    """A socket's name without an IPv6 address's flow and scope, which getaddrinfo and systemd leave at 0 or not."""
    return (family, *name[:2]) if isinstance(name, tuple) else (family, name)


def _listening(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise GivenError(f"descriptor {fd} is no socket: {describe_error(error)}") from error
    accepting = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not accepting or sock.type != socket.SOCK_STREAM or sock.family not in FAMILIES:
        sock.close()
        raise GivenError(f"descriptor {fd} is no listening TCP or unix stream socket")
    sock.set_inheritable(False)
    return sock
