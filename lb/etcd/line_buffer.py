"""Lines of a stream that are not read yet."""

from __future__ import annotations

import trio

__all__ = ["LineBuffer"]


class LineBuffer:
    """Takes bytes as they come, and gives out whole lines to one task. It holds at most ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._content = bytearray()
        self._seen = 0  # bytes at the beginning that hold no end of a line
        self._more = trio.Event()

    def put(self, chunk: bytes) -> bool:
        """Take bytes. False if there are too many."""
        self._content += chunk
        self._more.set()
        return len(self._content) <= self._most

    async def next(self) -> bytes:
        """Wait for a line and return it, without its end."""
        while (end := self._content.find(b"\n", self._seen)) < 0:
            self._seen = len(self._content)
            self._more = trio.Event()
            await self._more.wait()
        line = bytes(self._content[:end])
        del self._content[: end + 1]
        self._seen = 0
        return line
