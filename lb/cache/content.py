"""The bytes of a response in the cache: complete, or still coming while readers read along.

Few bytes stay in memory. More of them go to a file, which readers send from. Where the file has no room, the rest
passes through a window in memory that is as long as the slowest reader needs, within a limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["IN_MEMORY", "BodyWriter", "Content", "ContentFile", "ContentReader"]

IN_MEMORY = 64 * 1024
"""Bytes of a body that stay in memory; a longer one needs a file."""
WINDOW = 256 * 1024
"""Bytes that may wait for the slowest reader where there is no file. Then the server waits."""


class ContentFile(Protocol):
    """A file that holds the bytes of a content, from ``body_at`` on."""

    @property
    def fd(self) -> int: ...

    @property
    def body_at(self) -> int:
        """Where the content begins in the file, in bytes."""

    def is_removed(self) -> bool:
        """Return True if the file has no name any more: its room is needed for others."""

    def is_intact(self) -> bool:
        """Return False if the file has lost bytes, or was written anew, since it was opened."""

    def warm(self, offset: int, length: int, done: Callable[[OSError | None], None]) -> None:
        """Read these bytes in a thread, so that they are in the page cache, and call ``done`` in the loop's thread."""

    def is_warmed(self, offset: int, length: int) -> bool:
        """Return True if these bytes were warmed a moment ago. For file systems that cannot tell what is in memory."""

    def acquire(self) -> None:
        """Begin to use it."""

    def release(self) -> None:
        """End the use of it."""


class BodyWriter(Protocol):
    """Writes a body as it comes. It ends with ``commit`` or ``abort``, once."""

    @property
    def file(self) -> ContentFile:
        """What is written. Who acquires it may read it, also after the end."""

    @property
    def is_slow(self) -> bool:
        """The disk does not keep up: the loop must not wait for a write."""

    def took(self, seconds: float) -> None:
        """Note how long a write has taken."""

    def write_later(self, at: int, data: bytes, done: Callable[[OSError | None], None]) -> None:
        """Write bytes of the body at their place in a thread. There is room for them, and no other write meanwhile."""

    def reserve(self, count: int) -> bool:
        """Make room for so many more bytes. Return False if there is none yet."""

    def wait_for_room(self, count: int, done: Callable[[bool], None]) -> None:
        """As ``reserve``, but wait until others have made room. ``done(False)``: there is none."""

    def commit(self, length: int, done: Callable[[bool], None]) -> None:
        """Keep the body, of so many bytes. ``done(False)``: it could not be kept."""

    def abort(self, error: OSError | None = None) -> None:
        """Keep nothing. ``error``: what a write has raised."""


class ContentReader(Protocol):
    """Reads a content from a place of its own."""

    @property
    def position(self) -> int:
        """What it needs next; it needs nothing before."""

    def content_came(self) -> None:
        """More bytes have come, or the end. Called once after each :meth:`Content.wait`. Must be quick."""

    def left_behind(self) -> None:
        """It was too slow, and the bytes that it needs next are gone: it must not read any more."""


class Content:
    """A body. ``length`` is that of all of it in bytes, if it is known."""

    __slots__ = (
        "_readers",
        "_waiting",
        "complete",
        "data",
        "data_at",
        "dropped",
        "failed",
        "file",
        "length",
        "more_wanted",
        "passes",
        "size",
        "unread",
    )

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.size = 0
        """Bytes that have come."""
        self.data = bytearray()
        """The bytes in memory, from ``data_at`` on."""
        self.data_at = 0
        self.file: ContentFile | None = None
        """What has the bytes before ``data_at``."""
        self.passes = False
        """It is not stored: bytes that all readers have are forgotten, and nobody else may begin to read."""
        self.complete = self.failed = False
        self.dropped = False
        """The cache needs it no more: its file is released with the last reader."""
        self.more_wanted: Callable[[], None] | None = None
        """Called when a full window has room again."""
        self.unread: Callable[[], None] | None = None
        """Called when the last reader has left."""
        self._readers: dict[ContentReader, None] = {}
        self._waiting: dict[ContentReader, None] = {}

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Return a content that is complete."""
        content = cls(len(data))
        content.data += data
        content.size, content.complete = len(data), True
        return content

    @classmethod
    def in_whole_file(cls, file: ContentFile, length: int) -> Content:
        """Return a content that is complete in a file. It takes over the use of the file."""
        content = cls(length)
        content.file = file
        content.size = content.data_at = length
        content.complete = True
        return content

    # Readers

    def enter(self, reader: ContentReader) -> None:
        """Begin to read."""
        self._readers[reader] = None

    def leave(self, reader: ContentReader) -> None:
        """End reading."""
        if reader in self._readers:
            del self._readers[reader]
            self._waiting.pop(reader, None)
            self.moved()
            if not self._readers:
                self._release_file()
                if self.unread is not None:
                    self.unread()

    @property
    def slowest(self) -> ContentReader | None:
        return min(self._readers, key=lambda reader: reader.position, default=None)

    def has_faster(self, reader: ContentReader) -> bool:
        """Return True if there are readers that are further on than this one."""
        return any(other.position > reader.position for other in self._readers)

    def leave_behind(self, reader: ContentReader) -> None:
        """Go on without a reader."""
        reader.left_behind()
        self.leave(reader)

    def wait(self, reader: ContentReader) -> None:
        """Let the reader know of more bytes, or of the end."""
        self._waiting[reader] = None

    def read(self, offset: int, most: int) -> bytes:
        """Return bytes in memory, at most so many. ``offset`` is at least ``data_at``."""
        start = offset - self.data_at
        return bytes(self.data[start : start + most])

    def moved(self) -> None:
        """A reader has moved on: forget what all have, where that is the way."""
        was_full = self.is_full
        self._forget_read()
        if was_full and not self.is_full and self.more_wanted is not None:
            self.more_wanted()

    def _forget_read(self) -> None:
        """Forget the bytes that nobody needs any more. A reader may wait for some that are still to come."""
        if not self.passes:
            return
        first = min((reader.position for reader in self._readers), default=self.size)
        count = min(first, self.size) - self.data_at
        if count > 0:
            del self.data[:count]
            self.data_at += count

    # The writer

    @property
    def is_full(self) -> bool:
        """The writer waits until the slowest reader has moved on."""
        return self.passes and len(self.data) >= WINDOW

    @property
    def is_in_memory(self) -> bool:
        """All bytes are in ``data``. Of one in a file, they are not, also once the file is released."""
        return len(self.data) == self.size

    @property
    def is_in_whole_file(self) -> bool:
        """It is complete, and no byte is in memory."""
        return self.complete and self.file is not None and self.data_at == self.size

    @property
    def has_readers(self) -> bool:
        return bool(self._readers)

    def keep(self, data: bytes | memoryview) -> None:
        """Bytes have come, and stay in memory."""
        self.data += data
        self.came(len(data))
        self._forget_read()

    def came(self, count: int) -> None:
        """Bytes have come; those that are not in memory are in the file."""
        self.size += count
        self._tell()

    def in_file(self, count: int) -> None:
        """So many of the bytes that were in memory are in the file now."""
        self.data_at += count
        del self.data[:count]

    def pass_on(self) -> None:
        """It will not be stored: what comes goes to its readers only."""
        self.passes = True
        self.moved()

    def end(self) -> None:
        """All bytes have come."""
        self.length = self.size
        self.complete = True
        self._tell()

    def fail(self) -> None:
        """The rest will never come."""
        self.failed = True
        self._tell()

    @property
    def is_removed(self) -> bool:
        """Its file was removed from the disk."""
        return self.file is not None and self.file.is_removed()

    def drop(self) -> None:
        """The cache needs it no more."""
        self.dropped = True
        self._release_file()

    def _release_file(self) -> None:
        if self.dropped and not self._readers and self.file is not None:
            self.file.release()
            self.file = None

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for reader in waiting:
            reader.content_came()
