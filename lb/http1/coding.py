"""Bodies in another framing: chunked for clients that learn of the end so, plain for those of HTTP/1.0."""

from __future__ import annotations

from lb.http1.chunks import ChunkWalker

__all__ = ["ChunkedCoding", "PlainCoding", "chunk"]


def chunk(data: bytes) -> bytes:
    """Return a chunk of these bytes. There is none of no bytes: that would be the end."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


class ChunkedCoding:
    """Encodes a plain body as chunked."""

    paused = False

    def feed(self, data: bytes) -> bytes:
        return chunk(data)

    def finish(self) -> bytes:
        return b"0\r\n\r\n"


class PlainCoding:
    """Decodes a chunked body. Its trailers are dropped."""

    paused = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._walker = ChunkWalker(1 << 30, self._pieces.append)
        """The body was checked before it is decoded."""

    def feed(self, data: bytes) -> bytes:
        self._walker.walk(data)
        decoded = b"".join(self._pieces)
        self._pieces.clear()
        return decoded

    def finish(self) -> bytes:
        return b""
