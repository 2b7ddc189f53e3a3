"""Where a body ends, by its framing (RFC 9112, section 6). Chunked bodies are in :mod:`lb.http1.chunks`."""

from __future__ import annotations

import sys
from typing import Protocol

__all__ = ["LengthBody", "MessageBody", "UntilCloseBody"]


class MessageBody(Protocol):
    """Follows the bytes of a body that pass. It holds none of them."""

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
    left = sys.maxsize

    def __init__(self) -> None:
        self.done = False

    def moved(self, count: int) -> None: ...

    def walk(self, data: bytes | memoryview) -> int:
        return len(data)
