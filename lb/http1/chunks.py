"""Chunked bodies (RFC 9112, section 7): find where chunks and the body end in bytes that pass through."""

from __future__ import annotations

from collections.abc import Callable

from lb.http1.field import PROTECTED, read_field
from lb.http1.grammar import MAX_DIGITS, VALUE_BYTES, MalformedError

__all__ = ["ChunkWalker"]

_HEX_DIGITS = b"0123456789abcdefABCDEF"
_MAX_EXTENSIONS = 4096
"""Bytes of all chunk extensions of a body together."""


class ChunkWalker:
    """Follows one chunked body. It holds no data, only a line that has not ended yet.

    ``max_trailer`` limits the bytes of all trailer lines. ``payload`` receives the data of the chunks, without their
    framing, if it is given. Implements :class:`lb.http1.body.MessageBody`.
    """

    exact = False

    def __init__(self, max_trailer: int, payload: Callable[[bytes], object] | None = None) -> None:
        self.left = 0
        """Bytes of the current chunk's data that have not passed: they may be moved without a look at them."""
        self.done = False
        """The body has ended."""
        self._payload = payload
        self._read_line = self._read_size
        self._line = b""
        self._extensions = _MAX_EXTENSIONS
        self._trailer = max_trailer
        self._max_trailer = max_trailer

    def moved(self, count: int) -> None:
        """``count`` bytes of the current chunk, at most ``left``, have passed elsewhere."""
        self.left -= count

    def walk(self, data: bytes) -> int:
        """Return how many of these bytes belong to the body. Raises MalformedError.

        That is all of them unless the body ends within.
        """
        at, end = 0, len(data)
        while at < end and not self.done:
            if self.left:
                step = min(self.left, end - at)
                self.left -= step
                if self._payload is not None:
                    self._payload(data[at : at + step])
                at += step
            else:
                at = self._take_line(data, at)
        return at

    def _take_line(self, data: bytes, at: int) -> int:
        """Read the line that starts or continues at ``at``. Return where the bytes after it begin."""
        newline = data.find(b"\n", at)
        stop = len(data) if newline < 0 else newline + 1
        line = self._line + data[at:stop]
        if len(line) > self._longest_line():
            raise MalformedError("a line of a chunked body is too long", self._status())
        if newline < 0:
            if b"\r" in line[:-1]:
                raise MalformedError("a line has a bare carriage return")
            self._line = line
            return stop
        self._line = b""
        if not line.endswith(b"\r\n"):
            raise MalformedError("a line ends without a carriage return")
        self._read_line(line[:-2])
        return stop

    def _longest_line(self) -> int:
        if self._read_line == self._read_trailer:
            return self._trailer + 2
        return MAX_DIGITS + self._extensions + 2

    def _status(self) -> int:
        return 431 if self._read_line == self._read_trailer else 400

    def _read_size(self, line: bytes) -> None:
        digits, semicolon, extension = line.partition(b";")
        if not 0 < len(digits) <= MAX_DIGITS or digits.translate(None, _HEX_DIGITS):
            raise MalformedError("a chunk's size is not a hexadecimal number")
        if extension.translate(None, VALUE_BYTES):
            raise MalformedError("a chunk extension has a control character")
        self._extensions -= len(semicolon) + len(extension)
        if self._extensions < 0:
            raise MalformedError("too many chunk extensions")
        self.left = int(digits, 16)
        self._read_line = self._read_end_of_data if self.left else self._read_trailer

    def _read_end_of_data(self, line: bytes) -> None:
        if line:
            raise MalformedError("a chunk is longer than its size")
        self._read_line = self._read_size

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailer -= len(line) + 2
        if self._trailer < 0:
            raise MalformedError("the trailers are too long", 431)
        if read_field(line).name in PROTECTED:
            raise MalformedError("a trailer says how a message is framed")
