"""The bytes of a connection until a head is complete. One that comes in many pieces is not searched anew each time."""

from __future__ import annotations

from lb.http1.grammar import MalformedError

__all__ = ["HeadBuffer"]

_EMPTY_LINE = b"\r\n"


class HeadBuffer:
    """Collects the bytes of heads. It holds what has come, at most ``longest`` bytes of a head that is not complete."""

    __slots__ = ("_data", "_longest", "_scanned")

    def __init__(self, longest: int) -> None:
        self._data = bytearray()
        self._scanned = 0
        """Bytes in which no head ends and no line ends badly."""
        self._longest = longest

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        self._data += data

    def take_head(self) -> bytes | None:
        """Remove and return the first head, with its empty line; None if more bytes are needed.

        One empty line before it is ignored (RFC 9112, section 2.2). Raises MalformedError as soon as a line ends
        without a carriage return, or the head is too long.
        """
        data = self._data
        if not self._scanned and data.startswith(_EMPTY_LINE):
            del data[:2]
        end = data.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0:
            self._check(data)
            return None
        end += 4
        if end > self._longest:
            self._too_long(data)
        head = bytes(data[:end])
        del data[:end]
        self._scanned = 0
        return head

    def _check(self, data: bytearray) -> None:
        """Check what is there of an incomplete head. The last byte may be half of a line's end."""
        at = max(0, self._scanned - 1)
        part = bytes(data[at:])
        if part.count(b"\n") - part.startswith(b"\n") * (at > 0) != part.count(b"\r\n"):
            raise MalformedError("a line ends without a carriage return")
        if len(data) > self._longest:
            self._too_long(data)
        self._scanned = len(data)

    def _too_long(self, data: bytearray) -> None:
        line = data.find(b"\r\n", 0, self._longest)
        raise MalformedError("the head is too long", 414 if line < 0 else 431)

    def take_all(self) -> bytes:
        """Remove and return all bytes: they belong to a body."""
        data = bytes(self._data)
        self._data.clear()
        self._scanned = 0
        return data
