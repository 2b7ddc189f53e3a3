"""The heads of TLS records in a stream of bytes (RFC 8446, 5.1). No I/O, and nothing is decrypted."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["MOST_RECORDS", "RecordHeads"]

RECORD_HEAD = 5
"""Bytes of a head: type, version, length of the rest."""
MOST_RECORDS = 16
"""Records in a piece. OpenSSL handles all records without stream bytes in one call, up to 0.1 ms each."""


class RecordHeads:
    """Splits arriving bytes where records end."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        """The first bytes of a head."""
        self._left = 0
        """Bytes of the current record that are still to come."""

    def is_one_record(self, received: bytes | memoryview) -> bool:
        """Return True if the bytes are one whole record. They count as read then."""
        return (
            not (self._left or self._head)
            and len(received) > RECORD_HEAD
            and (received[3] << 8 | received[4]) + RECORD_HEAD == len(received)
        )

    def split(self, received: memoryview, longest: int) -> Iterator[tuple[memoryview, int]]:
        """Yield the bytes in pieces of at most ``longest`` bytes, each with the number of records that end in it.

        These are MOST_RECORDS at most.
        """
        start = position = records = 0
        size = len(received)
        while position < size:
            stop = min(size, start + longest)
            position = self._advance(received, position, stop)
            records += not (self._left or self._head)
            if position == stop or records == MOST_RECORDS:
                yield received[start:position], records
                start, records = position, 0

    def _advance(self, received: memoryview, position: int, stop: int) -> int:
        """Read on to the end of the record, or to ``stop``. Return the position."""
        if not self._left:
            taken = received[position : min(stop, position + RECORD_HEAD - len(self._head))]
            self._head += bytes(taken)
            position += len(taken)
            if len(self._head) < RECORD_HEAD:
                return position
            self._left = self._head[3] << 8 | self._head[4]
            self._head = b""
        step = min(self._left, stop - position)
        self._left -= step
        return position + step
