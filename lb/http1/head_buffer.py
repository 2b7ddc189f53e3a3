"""The bytes of a connection until a head is complete. What was searched once is not searched again."""

from __future__ import annotations

from lb.http1.grammar import TOKEN_BYTES, MalformedError

__all__ = ["HEAD_END", "HeadBuffer"]

HEAD_END = b"\r\n\r\n"
"""The end of a head's last line, and the empty line behind it."""


class HeadBuffer:
    """Collects the bytes of heads. It holds what has come, at most ``longest`` bytes of a head that is not complete."""

    __slots__ = ("_data", "_longest", "_scanned", "_skipped")

    def __init__(self, longest: int) -> None:
        self._data = bytearray()
        self._longest = longest
        self._scanned = 0
        """Bytes in which no head ends and no line ends badly."""
        self._skipped = False
        """The empty line that may stand before a head has come."""

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        self._data += data

    def take_head(self) -> bytes | None:
        """Remove and return the first head, with its empty line; None if more bytes are needed.

        One empty line before it is ignored (RFC 9112, section 2.2). Raises MalformedError as soon as a line does not
        end with CRLF, the first byte is not that of a head, or the head is too long: with status 414 if the first line
        alone is, else 431.
        """
        data = self._data
        if not self._scanned and not self._begins():
            return None
        end = data.find(HEAD_END, max(0, self._scanned - 3))
        size = end + len(HEAD_END) if end >= 0 else len(data)
        if size > self._longest:
            line = data.find(b"\r\n", 0, self._longest)
            raise MalformedError("the head is too long", 414 if line < 0 else 431)
        if end < 0:
            self._check_line_ends()
            self._scanned = size
            return None
        head = bytes(data[:size])
        del data[:size]
        self._scanned, self._skipped = 0, False
        return head

    def take_all(self) -> bytes:
        """Remove and return all bytes: they belong to a body."""
        data = bytes(self._data)
        self._data.clear()
        self._scanned, self._skipped = 0, False
        return data

    def _begins(self) -> bool:
        """Skip one empty line before the head. Return True if the head has begun."""
        data = self._data
        if not self._skipped:
            if data == b"\r":
                return False
            if data.startswith(b"\r\n"):
                del data[:2]
                self._skipped = True
        if data and data[0] not in TOKEN_BYTES:
            raise MalformedError("the first line does not begin with a token")
        return bool(data)

    def _check_line_ends(self) -> None:
        """Judge the line ends in what was not looked at before, but for a carriage return at its very end."""
        data, start = self._data, self._scanned
        pairs = data.count(b"\r\n", max(0, start - 1))
        if data.count(b"\n", start) != pairs or data.count(b"\r", max(0, start - 1), len(data) - 1) != pairs:
            raise MalformedError("a line does not end with CRLF")
