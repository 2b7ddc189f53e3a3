"""A trap of TCP for whoever connects to a local port: to be connected with oneself."""

from __future__ import annotations

import socket
from pathlib import Path

import trio

__all__ = ["is_self_connected"]


def _own_ports() -> range:
    """The ports that the system picks for our end of a connection, ip(7)."""
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return range(1024, 65536)
    return range(int(low), int(high) + 1)


OWN_PORTS = _own_ports()


def is_self_connected(sock: socket.SocketType | trio.socket.SocketType, target: object) -> bool:
    """True if TCP has connected this socket with itself.

    It may, where nobody listens on a local port out of the range for our own end (simultaneous open, RFC 9293 section
    3.5): what looks like a server that is up is our own echo.
    """
    if not isinstance(target, tuple) or target[1] not in OWN_PORTS:
        return False
    own = sock.getsockname()
    return bool(own[1] == target[1] and own == sock.getpeername())
