"""Bodies in another framing: chunked for clients that learn of the end so, plain for those of HTTP/1.0."""

from __future__ import annotations

from lb.http1.body import MessageBody
from lb.http1.chunks import ChunkWalker

__all__ = ["ChunkedCoding", "PlainCoding", "chunk", "coding_for"]


def chunk(data: bytes) -> bytes:
    """Return a chunk of these bytes. There is none of no bytes: that would be the end."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


class ChunkedCoding:
    """Encodes a plain body as chunked. The trailers are those that ``body`` has at its end."""

    paused = False

    def __init__(self, body: MessageBody | None = None) -> None:
        self._body = body

    def feed(self, data: bytes) -> bytes:
        return chunk(data)

    def finish(self) -> bytes:
        trailers = self._body.trailers if self._body is not None else ()
        return b"0\r\n%s\r\n" % b"".join([field.wire for field in trailers])


class PlainCoding:
    """Decodes a chunked body. Its trailers are left to who has walked it."""

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


def coding_for(body: MessageBody, *, in_chunks: bool) -> ChunkedCoding | PlainCoding | None:
    """Return what turns the bytes of a body into chunks for who wants these, or into plain bytes for who does not.

    None: they pass as they come.
    """
    if body.in_chunks == in_chunks:
        return None
    return ChunkedCoding(body) if in_chunks else PlainCoding()
