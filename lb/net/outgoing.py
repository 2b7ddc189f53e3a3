"""Sockets towards servers before they connect: source addresses, bounded buffers."""

from __future__ import annotations

import errno
import itertools
import socket
import sys
from collections.abc import Sequence

from lb.net.errors import MissingSourceError

__all__ = ["Outgoing"]

IP_BIND_ADDRESS_NO_PORT = 24
"""From ip(7), for IPv6 too: the port is chosen at the connect, so that one port may serve several servers."""


class Outgoing:
    """The settings of a pool's sockets.

    ``source``: addresses of this host that connections come from, in turn. A family without an address is not bound.
    ``buffer``: bytes of each kernel buffer, 0 = the kernel adapts them.
    """

    def __init__(self, source: Sequence[str] = (), buffer: int = 0) -> None:
        self._buffer = buffer
        families = {
            socket.AF_INET: [host for host in source if ":" not in host],
            socket.AF_INET6: [host for host in source if ":" in host],
        }
        self._sources = {int(family): itertools.cycle(hosts) for family, hosts in families.items() if hosts}

    def prepare(self, sock: socket.SocketType) -> None:
        """Apply the settings to a socket before its connect. If that fails, close it and raise OSError."""
        if sock.family == socket.AF_UNIX:
            return
        try:
            self._apply(sock)
        except OSError:
            sock.close()
            raise

    def _apply(self, sock: socket.SocketType) -> None:
        if self._buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer)
        sources = self._sources.get(sock.family)
        if sources is not None:
            if sys.platform == "linux":
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            source = next(sources)
            try:
                sock.bind((source, 0))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                raise MissingSourceError(error.errno, f"{source} is not an address of this host") from error
