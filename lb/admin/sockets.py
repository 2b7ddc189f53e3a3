"""Where the admin endpoint listens."""

from __future__ import annotations

import socket
from pathlib import Path

from lb.address import Address
from lb.sockets import open_sockets

__all__ = ["ADMIN", "BACKLOG", "open_admin"]

ADMIN = "/admin"
"""The name of its place among those of listeners, whose own names hold no slash."""
BACKLOG = 64
"""Operators and scrapers are few. A guess."""
ONLY_OWNER = 0o600


def open_admin(bind: Address) -> list[socket.socket]:
    """Bind and listen. Raises OSError whose text says what could not be bound, and why."""
    sockets = open_sockets(bind, BACKLOG)
    if bind.is_unix:
        Path(bind.path).chmod(ONLY_OWNER)
    return sockets
