"""A stored object, open: its body is sent from its file."""

from __future__ import annotations

import os
from collections.abc import Callable

from lb.net.file_calls import FileCalls
from lb.net.used_file import UsedFile

__all__ = ["ObjectFile"]


class ObjectFile(UsedFile):
    """An object with one user at first: see ``acquire`` and ``release``."""

    __slots__ = ("_closed", "body", "body_at", "digest", "head", "key", "length", "tags")

    def __init__(
        self,
        calls: FileCalls,
        fd: int,
        *,
        digest: bytes,
        key: bytes,
        tags: tuple[bytes, ...],
        head: bytes,
        body_at: int,
        length: int,
        body: bytes | None = None,
        closed: Callable[[ObjectFile], None],
    ) -> None:
        super().__init__(calls, fd)
        self._closed = closed
        """Called once nobody uses it any more."""
        self.digest = digest
        self.key = key
        self.tags = tags
        self.head = head
        self.body_at = body_at
        """The offset of the body in the file."""
        self.body = body
        """The body, if it is short."""
        self.length = length
        """Bytes of the body; of an object that is being written, those for which room is reserved."""

    def release(self) -> None:
        super().release()
        if not self._uses:
            self._closed(self)

    def is_removed(self) -> bool:
        """Return True if the object is no longer on disk, or another one is in its place: its room is needed."""
        return not os.fstat(self.fd).st_nlink

    def is_intact(self) -> bool:
        """Return False if the file was cut short. The body is never written anew."""
        return os.fstat(self.fd).st_size >= self.body_at + self.length
