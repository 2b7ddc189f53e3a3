"""Writes to a place of a file."""

from __future__ import annotations

import os

__all__ = ["write_at"]


def write_at(fd: int, data: bytes | bytearray | memoryview, at: int) -> None:
    """Write all bytes from offset ``at`` on. Raises OSError."""
    rest = memoryview(data)
    while rest:
        count = os.pwrite(fd, rest, at)
        rest, at = rest[count:], at + count
