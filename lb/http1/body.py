"""Where a body ends, by its framing (RFC 9112, section 6). Chunked bodies are in :mod:`lb.http1.chunks`.

The bodies of HTTP/2 have no framing of their own: the stream tells where they end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Protocol

from lb.http1.field import Field, read_field
from lb.http1.grammar import MalformedError

__all__ = ["LengthBody", "MessageBody", "StreamBody", "UntilCloseBody", "read_trailers"]


class MessageBody(Protocol):
    """Follows the bytes of a body that pass. It holds none of them."""

    @property
    def in_chunks(self) -> bool:
        """Its bytes are those of chunks, with their framing."""

    @property
    def trailers(self) -> Sequence[Field]:
        """The fields behind the body, once it is done."""

    @property
    def left(self) -> int:
        """Bytes that may pass without a look at them."""

    @property
    def done(self) -> bool:
        """The body has ended."""

    def moved(self, count: int) -> None:
        """``count`` bytes, at most ``left``, have passed elsewhere."""

    def walk(self, data: bytes | memoryview) -> int:
        """Return how many of these bytes belong to the body. Raises MalformedError.

        That is all of them unless the body ends within.
        """


class LengthBody:
    """A body with a Content-Length."""

    __slots__ = ("left",)
    in_chunks = False
    trailers = ()

    def __init__(self, length: int) -> None:
        self.left = length

    @property
    def done(self) -> bool:
        return not self.left

    def moved(self, count: int) -> None:
        self.left -= count

    def walk(self, data: bytes | memoryview) -> int:
        count = min(self.left, len(data))
        self.left -= count
        return count


class UntilCloseBody:
    """A response's body that ends with the connection."""

    __slots__ = ("done",)
    in_chunks = False
    trailers = ()
    left = sys.maxsize

    def __init__(self) -> None:
        self.done = False

    def moved(self, count: int) -> None: ...

    def walk(self, data: bytes | memoryview) -> int:
        return len(data)


class StreamBody:
    """A body on a stream of HTTP/2, which says when it is done. ``max_size`` limits its bytes; 0 = no limit."""

    __slots__ = ("done", "left", "trailers")
    in_chunks = False

    def __init__(self, max_size: int = 0) -> None:
        self.left = max_size or sys.maxsize
        self.done = False
        self.trailers: Sequence[Field] = ()

    def moved(self, count: int) -> None:
        self.left -= count

    def walk(self, data: bytes | memoryview) -> int:
        if len(data) > self.left:
            raise MalformedError("the body is too large", 413)
        self.left -= len(data)
        return len(data)


def read_trailers(fields: Iterable[tuple[bytes, bytes]]) -> Sequence[Field]:
    """Return trailers of HTTP/2. Raises MalformedError if one of them must stand in the head."""
    trailers = [read_field(b"%s: %s" % field) for field in fields]
    if not all(field.may_trail for field in trailers):
        raise MalformedError("a trailer must stand in the head")
    return trailers
