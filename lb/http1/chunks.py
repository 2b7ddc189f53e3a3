"""Chunked bodies (RFC 9112, section 7): find where chunks and the body end in bytes that pass through."""

from __future__ import annotations

import re
from collections.abc import Callable

from lb.http1.field import Field, read_field
from lb.http1.grammar import MAX_DIGITS, MAX_FIELDS, VALUE_BYTES, MalformedError

__all__ = ["ChunkWalker"]

_HEX_DIGITS = b"0123456789abcdefABCDEF"
_MAX_EXTENSIONS = 4096
"""Bytes of all chunk extensions of a body together."""
_SIZE, _END_OF_DATA, _TRAILER = range(3)
"""What the next line is: a chunk's size, the empty rest after its data, or a trailer."""
_USUAL_LINES = (
    re.compile(rb"([0-9A-Fa-f]{1,%d})\r\n" % MAX_DIGITS),
    re.compile(rb"\r\n([0-9A-Fa-f]{1,%d})\r\n" % MAX_DIGITS),
    re.compile(rb"\r\n"),
)
"""What stands before the first chunk and between two, without an extension, and at the end, without trailers."""


class ChunkWalker:
    """Follows one chunked body. It holds no data, only a line that has not ended yet, and the trailers.

    ``max_trailer`` limits the bytes of all trailer lines, ``max_size`` those of the data (0 = no limit): of more, no
    chunk begins. ``payload`` receives the data of the chunks, without their framing, if it is given. Implements
    :class:`lb.http1.body.MessageBody`.
    """

    __slots__ = (
        "_awaited",
        "_extensions",
        "_line",
        "_max_size",
        "_payload",
        "_trailer",
        "done",
        "left",
        "size",
        "trailers",
    )
    in_chunks = True

    def __init__(
        self, max_trailer: int, payload: Callable[[bytes], object] | None = None, *, max_size: int = 0
    ) -> None:
        self._payload = payload
        self._max_size = max_size
        self.left = 0
        """Bytes of the current chunk's data that have not passed: they may be moved without a look at them."""
        self.done = False
        """The body has ended."""
        self.size = 0
        """Bytes of data of all chunks so far, of the current one too."""
        self.trailers: list[Field] = []
        self._awaited = _SIZE
        self._line = bytearray()
        self._extensions = _MAX_EXTENSIONS
        self._trailer = max_trailer

    def moved(self, count: int) -> None:
        """``count`` bytes of the current chunk, at most ``left``, have passed elsewhere."""
        self.left -= count

    def walk(self, data: bytes | memoryview) -> int:
        """Return how many of these bytes belong to the body. Raises MalformedError.

        That is all of them unless the body ends within.
        """
        at, end = 0, len(data)
        while at < end and not self.done:
            if self.left:
                step = min(self.left, end - at)
                if self._payload is not None:
                    self._payload(bytes(data[at : at + step]))
                self.left -= step
                at += step
            else:
                at = self._take_usual(data, at) or self._take_line(data, at)
        return at

    def _take_usual(self, data: bytes | memoryview, at: int) -> int:
        """Read what stands before a chunk or at the end at once, if it is all there. Return where it ends, else 0."""
        awaited = self._awaited
        match = _USUAL_LINES[awaited].match(data, at) if not self._line else None
        if match is None:
            return 0
        if awaited == _TRAILER:
            self.done = True
        else:
            self._begin_chunk(int(match[1], 16))
        return match.end()

    def _begin_chunk(self, size: int) -> None:
        self.left = size
        self.size += size
        if 0 < self._max_size < self.size:
            raise MalformedError("the body is too large", 413)
        self._awaited = _END_OF_DATA if size else _TRAILER

    def _take_line(self, data: bytes | memoryview, at: int) -> int:
        """Read the line that starts or continues at ``at``. Return where the bytes after it begin."""
        longest = self._longest_line() - len(self._line)
        piece = bytes(data[at : at + longest + 1])
        newline = piece.find(b"\n")
        if newline >= 0:
            piece = piece[: newline + 1]
        if len(piece) > longest:
            raise MalformedError("a line of a chunked body is too long", 431 if self._awaited == _TRAILER else 400)
        stop = at + len(piece)
        if newline < 0:
            self._keep_piece(piece)
            return stop
        line = bytes(self._line) + piece
        self._line.clear()
        if not line.endswith(b"\r\n"):
            raise MalformedError("a line ends without a carriage return")
        self._read_line(line[:-2])
        return stop

    def _longest_line(self) -> int:
        return (self._trailer if self._awaited == _TRAILER else MAX_DIGITS + self._extensions) + 2

    def _keep_piece(self, piece: bytes) -> None:
        """Keep the piece of a line that has not ended, unless it is clear already that the line is not valid."""
        known = len(self._line)
        if self._line[-1:] == b"\r" or b"\r" in piece[:-1]:
            raise MalformedError("a line has a bare carriage return")
        self._line += piece
        if self._awaited == _END_OF_DATA and self._line != b"\r":
            raise MalformedError("a chunk is longer than its size")
        if self._awaited == _SIZE and known <= MAX_DIGITS:
            _check_digits(bytes(self._line).partition(b";")[0].removesuffix(b"\r"))

    def _read_line(self, line: bytes) -> None:
        if self._awaited == _SIZE:
            self._read_size(line)
        elif self._awaited == _TRAILER:
            self._read_trailer(line)
        elif line:
            raise MalformedError("a chunk is longer than its size")
        else:
            self._awaited = _SIZE

    def _read_size(self, line: bytes) -> None:
        digits, semicolon, extension = line.partition(b";")
        _check_digits(digits)
        if extension.translate(None, VALUE_BYTES):
            raise MalformedError("a chunk extension has a control character")
        self._extensions -= len(semicolon) + len(extension)
        if self._extensions < 0:
            raise MalformedError("too many chunk extensions")
        self._begin_chunk(int(digits, 16))

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailer -= len(line) + 2
        if self._trailer < 0 or len(self.trailers) == MAX_FIELDS:
            raise MalformedError("the trailers are too long", 431)
        field = read_field(line)
        if not field.may_trail:
            raise MalformedError("a trailer must stand in the head")
        self.trailers.append(field)


def _check_digits(digits: bytes) -> None:
    if not 0 < len(digits) <= MAX_DIGITS or digits.translate(None, _HEX_DIGITS):
        raise MalformedError("a chunk's size is not a hexadecimal number")
