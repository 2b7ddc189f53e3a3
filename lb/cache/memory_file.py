"""A file in memory, for what is too long for one object: readers send from it as from a file on disk."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["MemoryFile"]


class MemoryFile:
    """Implements :class:`lb.cache.content.ContentFile`. Raises OSError if there is no room for it."""

    body_at = 0

    def __init__(self) -> None:
        self.fd = os.memfd_create("lb-cache", os.MFD_CLOEXEC)

    def is_intact(self) -> bool:
        return True

    def warm(self, offset: int, length: int, done: Callable[[OSError | None], None]) -> None:  # noqa: ARG002
        """It may have been swapped out; the kernel reads it when it is sent."""
        done(None)

    def is_warmed(self, offset: int, length: int) -> bool:  # noqa: ARG002 - all is in memory
        return True

    def release(self) -> None:
        os.close(self.fd)
