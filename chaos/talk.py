"""What a session says and hears: all of it follows from its number, so that both ends can check every byte."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

__all__ = ["PING", "PONG", "Checked", "Talk"]

PING, PONG = b"ping", b"pong\n"
"""What the balancer's checks say, and hear from a server that is well."""


class Talk(NamedTuple):
    """So many rounds of so many bytes up and, once those have arrived, so many down."""

    number: int
    rounds: int
    up: int
    down: int

    @property
    def header(self) -> bytes:
        """The client's first line."""
        return "{} {} {} {}\n".format(*self).encode()

    @classmethod
    def of(cls, line: bytes) -> Talk:
        """Read a header. Raises ValueError."""
        return cls(*map(int, line.split()))

    @property
    def upload(self) -> bytes:
        """All that the client says after its header."""
        return self._bytes("up", self.rounds * self.up)

    @property
    def download(self) -> bytes:
        """All that it hears."""
        return self._bytes("down", self.rounds * self.down)

    def _bytes(self, direction: str, count: int) -> bytes:
        """SHAKE-128: no two places of any two sessions look alike, so nothing is lost, doubled or swapped unseen."""
        return hashlib.shake_128(f"{self.number} {direction}".encode()).digest(count)


class Checked:
    """A stream of bytes as it arrives, against what it has to be."""

    def __init__(self, expected: bytes) -> None:
        self.count = 0
        """Bytes that have arrived."""
        self._expected = expected

    @property
    def complete(self) -> bool:
        return self.count == len(self._expected)

    def take(self, chunk: bytes | bytearray) -> str:
        """The next bytes. Returns what is wrong with them; empty if they are right."""
        start, self.count = self.count, self.count + len(chunk)
        expected = self._expected[start : self.count]
        if chunk == expected:
            return ""
        if len(chunk) > len(expected) and chunk.startswith(expected):
            return f"{len(chunk) - len(expected)} bytes more than the {len(self._expected)} there should be"
        place = next(place for place, (is_, should) in enumerate(zip(chunk, expected, strict=False)) if is_ != should)
        return f"byte {start + place} is {chunk[place]:#04x}, not {expected[place]:#04x}"
