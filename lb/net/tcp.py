"""TCP details: socket options, closing with a reset, and detection of a socket connected to itself."""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import suppress
from pathlib import Path

import trio

__all__ = [
    "KEEPALIVE_OFF",
    "bound_unsent",
    "end_with_reset",
    "has_ended",
    "is_self_connected",
    "keepalive_options",
    "socket_options",
]


def _own_ports() -> range:
    """Return the system's range of ephemeral ports, ip(7)."""
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return range(1024, 65536)
    return range(int(low), int(high) + 1)


OWN_PORTS = _own_ports()


def is_self_connected(sock: socket.SocketType | trio.socket.SocketType, target: object) -> bool:
    """Return True if TCP has connected this socket to itself.

    That can happen when the target is a local port in the ephemeral range and no process listens on it (simultaneous
    open, RFC 9293, section 3.5). The socket then looks like a server that is up and echoes.
    """
    if not isinstance(target, tuple) or target[1] not in OWN_PORTS:
        return False
    own = sock.getsockname()
    return bool(own[1] == target[1] and own == sock.getpeername())


TCP_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY),  # send small writes at once
    (socket.SOL_SOCKET, socket.SO_OOBINLINE),  # otherwise a read skips the urgent byte, tcp(7)
)
"""Options of relayed sockets. Accepted sockets inherit them from the listening socket."""


def socket_options(keepalive: float, user_timeout: float) -> tuple[tuple[int, int, int], ...]:
    """Return the options of a relayed TCP socket, as :meth:`socket.socket.setsockopt` takes them.

    ``keepalive`` as for :func:`keepalive_options`; ``user_timeout`` is the time in seconds that sent bytes may stay
    unacknowledged, 0 = the kernel's default.
    """
    options = [(level, option, 1) for level, option in TCP_OPTIONS]
    if user_timeout:
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(round(user_timeout * 1000), 1)))
    return (*options, *keepalive_options(keepalive))


def keepalive_options(keepalive: float) -> tuple[tuple[int, int, int], ...]:
    """Return the options of TCP keep-alive. ``keepalive`` is the idle time in seconds before the first probe, 0 = off.

    The kernel also counts the idle time before they are set.
    """
    if not keepalive:
        return ()
    seconds = min(max(round(keepalive), 1), MAX_KEEPALIVE)
    return (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, TCP_KEEPIDLE, seconds)


KEEPALIVE_OFF = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),
    *([(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)] if sys.platform == "linux" else []),
)
"""The options of :func:`socket_options` that a reload may end, switched off."""
MAX_KEEPALIVE = 32_767
"""Seconds: MAX_TCP_KEEPIDLE of Linux."""
TCP_KEEPIDLE: int = getattr(socket, "TCP_KEEPIDLE", 0x10)
"""macOS has the option under the name TCP_KEEPALIVE."""
TCP_ESTABLISHED = b"\1"
"""The first byte of TCP_INFO while both ends may send, tcp(7)."""


def has_ended(sock: socket.SocketType) -> bool:
    """Return True if the peer of a socket that is readable without new bytes has sent its end.

    On Linux, an edge may also report bytes that an earlier peek has seen. Elsewhere, a readable socket means the end.
    """
    return sys.platform != "linux" or sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != TCP_ESTABLISHED


MOST_UNSENT = 1024 * 1024
"""Bytes that the kernel accepts beyond those that are on their way. Its send buffer would grow to 4 MiB, tcp(7)."""


def bound_unsent(sock: socket.SocketType) -> None:
    """Bound what the kernel accepts of a stream. Accepted sockets inherit it from the listening socket."""
    with suppress(OSError):  # not TCP, or a system that lacks it
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT)


def end_with_reset(sock: socket.SocketType | trio.socket.SocketType) -> None:
    """Make the close of this socket send a RST: SO_LINGER with timeout 0, socket(7)."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except OSError as error:  # some systems refuse it if the peer is gone; no RST is needed then
        if error.errno not in (errno.EINVAL, errno.ENOTCONN):
            raise
