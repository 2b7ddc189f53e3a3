"""Who is at the other end of a unix socket. Abstract names are shown to all users, in ``/proc/net/unix``."""

from __future__ import annotations

import os
import socket
import struct

import trio

__all__ = ["is_own_user"]

_CREDENTIALS = struct.Struct("3i")
"""struct ucred of unix(7): process, user, group."""


def is_own_user(sock: socket.SocketType | trio.socket.SocketType) -> bool:
    """Return whether the process that has connected is of this process's user."""
    _, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return bool(user == os.geteuid())
