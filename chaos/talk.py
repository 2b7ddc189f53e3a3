"""The bytes of a session, derived from its number, so that both ends can check every byte."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

__all__ = ["PING", "PONG", "Checked", "Talk"]

PING, PONG = b"ping", b"pong\n"
"""Request of the balancer's health checks, and the reply of a healthy server."""


class Talk(NamedTuple):
    """The bytes of a session: rounds of ``up`` bytes and, when those have arrived, ``down`` bytes."""

    number: int
    rounds: int
    up: int
    down: int

    @property
    def header(self) -> bytes:
        """The first line of the client."""
        return "{} {} {} {}\n".format(*self).encode()

    @classmethod
    def of(cls, line: bytes) -> Talk:
        """Parse a header. Raises ValueError."""
        return cls(*map(int, line.split()))

    @property
    def upload(self) -> bytes:
        """All bytes of the client after its header."""
        return self._bytes("up", self.rounds * self.up)

    @property
    def download(self) -> bytes:
        """All bytes of the server."""
        return self._bytes("down", self.rounds * self.down)

    def _bytes(self, direction: str, count: int) -> bytes:
        """Return bytes of SHAKE-128. They differ by position and session, so lost or swapped bytes are detected."""
        return hashlib.shake_128(f"{self.number} {direction}".encode()).digest(count)


class Checked:
    """Checks a stream of bytes against the expected bytes as it arrives."""

    def __init__(self, expected: bytes) -> None:
        self.count = 0
        """Bytes received so far."""
        self._expected = expected

    @property
    def complete(self) -> bool:
        return self.count == len(self._expected)

    def take(self, chunk: bytes | bytearray) -> str:
        """Check the next bytes. Return the error; empty if they are correct."""
        start, self.count = self.count, self.count + len(chunk)
        expected = self._expected[start : self.count]
        if chunk == expected:
            return ""
        if len(chunk) > len(expected) and chunk.startswith(expected):
            return f"{len(chunk) - len(expected)} bytes more than the expected {len(self._expected)}"
        place = next(place for place, (is_, should) in enumerate(zip(chunk, expected, strict=False)) if is_ != should)
        return f"byte {start + place} is {chunk[place]:#04x}, not {expected[place]:#04x}"
