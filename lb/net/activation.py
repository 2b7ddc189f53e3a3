"""Socket activation: listening sockets that a service manager opened and keeps open. Listeners use copies of them.

The protocol is sd_listen_fds(3). A socket belongs to the listener that binds the socket's address.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping, Sequence

import attrs

from lb.model.address import Address, Client
from lb.net.errors import describe_error

__all__ = ["Given", "GivenError", "GivenSockets", "socket_name"]

FIRST = 3
"""SD_LISTEN_FDS_START: the first passed descriptor."""
MOST_DIGITS = 5
"""Of the number of passed sockets. A guess: far more than a service manager passes."""
FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class GivenError(Exception):
    """A passed descriptor is not a listening stream socket. The text is one line."""


def socket_name(sock: socket.socket) -> str:
    """Return the address that a socket is bound to, in the form of the configuration."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        scope = f"%{_interface(name[3])}" if len(name) == 4 and name[3] else ""
        return str(Client(name[0] + scope, name[1]))
    return f"unix:@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else f"unix:{name}"


def _interface(number: int) -> str:
    """Return the name of a network interface; its number if it is gone."""
    try:
        return socket.if_indextoname(number)
    except OSError:
        return str(number)


@attrs.frozen
class Given:
    """A passed socket, with its name from the systemd unit."""

    sock: socket.socket
    name: str

    @property
    def bind(self) -> str:
        return socket_name(self.sock)


class GivenSockets:
    """The passed sockets. They stay open for the life of the process, so a reload can start to use one."""

    def __init__(self, given: Sequence[Given] = ()) -> None:
        self.all = tuple(given)

    @classmethod
    def of_environment(cls) -> GivenSockets:
        """Read the sockets from the LISTEN_* variables, and remove these variables: child processes must not see them.

        Raises GivenError.
        """
        pid, count, names = (os.environ.pop(f"LISTEN_{suffix}", "") for suffix in ("PID", "FDS", "FDNAMES"))
        if pid != str(os.getpid()):
            return cls()
        if not (count.isdecimal() and len(count) <= MOST_DIGITS):
            raise GivenError(f"LISTEN_FDS must be a number of descriptors, not {count[:20]!r}")
        listed = names.split(":")
        return cls.of_descriptors({FIRST + n: (listed[n : n + 1] or [""])[0] for n in range(int(count))})

    @classmethod
    def of_descriptors(cls, names: Mapping[int, str]) -> GivenSockets:
        """Take the sockets from descriptor numbers, each with its name. Raises GivenError."""
        return cls([Given(_listening(fd), name) for fd, name in names.items()])

    def take(self, family: socket.AddressFamily, target: object) -> socket.socket | None:
        """Return a copy of the socket bound to this address; None if there is none."""
        wanted = _key(family, target)
        for given in self.all:
            if _key(given.sock.family, given.sock.getsockname()) == wanted:
                return given.sock.dup()
        return None

    def has_file(self, address: Address) -> bool:
        """Return whether a unix path belongs to a passed socket. The process must not remove it then."""
        return address.has_file and any(given.bind == f"unix:{address.path}" for given in self.all)

    def unused(self, bound: Collection[str]) -> list[Given]:
        """Return the passed sockets that no listener uses: their address is not in ``bound``."""
        return [given for given in self.all if given.bind not in bound]


def _key(family: socket.AddressFamily, name: object) -> tuple[object, ...]:
    """Return a socket's address without the IPv6 flow and scope, which getaddrinfo and systemd may set differently."""
    return (
        (family, *name[:2])
        if isinstance(name, tuple)
        else (family, os.fsencode(str(name)) if isinstance(name, str) else name)
    )


def _listening(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise GivenError(f"descriptor {fd} is not a socket: {describe_error(error)}") from error
    accepting = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not accepting or sock.type != socket.SOCK_STREAM or sock.family not in FAMILIES:
        sock.close()
        raise GivenError(f"descriptor {fd} is not a listening TCP or unix stream socket")
    sock.set_inheritable(False)
    return sock
