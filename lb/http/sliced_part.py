"""A range of a response that is stored in slices: each slice is looked up, or fetched, when its turn has come."""

from __future__ import annotations

from typing import Protocol

from lb.cache.content import Content
from lb.cache.entry import CacheEntry
from lb.http.content_part import ContentPart
from lb.relay.epoll_stream import EpollStream

__all__ = ["SliceSource", "SlicedPart"]


class SliceSource(Protocol):
    """Finds the slices of one response."""

    def find(self, offset: int, part: SlicedPart) -> None:
        """Pass the slice at this offset to ``part.found``, now or later, or call ``part.fail``."""

    def leave(self, part: SlicedPart) -> None:
        """The part waits for no slice any more."""


class SlicedPart:
    """``length`` bytes from ``offset``; ``first`` is the slice that holds the first of them, if it is known.

    Implements :class:`lb.http.file_flow.ComingPart`.
    """

    __slots__ = ("_end", "_inner", "_offset", "_size", "_source", "_stream", "_waits", "failed", "length")

    def __init__(self, source: SliceSource, size: int, offset: int, length: int, first: CacheEntry | None) -> None:
        self.length: int | None = length
        self.failed = False
        """A slice could not be had, or is of another state of the response."""
        self._source = source
        self._size = size
        self._offset = offset
        """Of the next byte, in the whole body."""
        self._end = offset + length
        self._inner: ContentPart | None = None
        self._waits = False
        self._stream: EpollStream | None = None
        if first is not None:
            self.found(first)

    @property
    def content(self) -> Content:
        """What has the next bytes, once some are ready."""
        assert self._inner is not None  # noqa: S101 - some bytes are ready
        return self._inner.content

    @property
    def position(self) -> int:
        """Of the next byte in ``content``."""
        assert self._inner is not None  # noqa: S101 - some bytes are ready
        return self._inner.position

    def ready(self, sent: int) -> int:  # noqa: ARG002 - it knows its own place
        """Return how many bytes can be sent now."""
        inner = self._inner
        if inner is None:
            if not self._waits and not self.failed:
                self._waits = True
                self._source.find(self._offset - self._offset % self._size, self)
            inner = self._inner
        if inner is None:
            return 0
        if inner.failed:
            self.failed = True
        return inner.ready(self._sent_of(inner))

    def _sent_of(self, inner: ContentPart) -> int:
        """Return how many bytes of the part of the current slice were sent."""
        begin = self._end_of_slice() - (inner.length or 0)
        return self._offset - begin

    def _end_of_slice(self) -> int:
        return min(self._offset - self._offset % self._size + self._size, self._end)

    def found(self, entry: CacheEntry) -> None:
        """A slice is there, or comes."""
        self._waits = False
        start = self._offset if entry.part is None else self._offset - entry.part.offset
        content = entry.body if isinstance(entry.body, Content) else Content.of(entry.body)
        self._inner = ContentPart(content, start, self._end_of_slice() - self._offset)
        self._wake()

    def fail(self) -> None:
        """The slice cannot be had."""
        self._waits = False
        self.failed = True
        self._wake()

    def _wake(self) -> None:
        if self._stream is not None and not self._stream.closed:
            self._stream.continue_later()

    def is_sent(self, sent: int) -> bool:
        """Return True if these are all bytes."""
        return sent == self.length

    def wait(self, stream: EpollStream) -> None:
        """Give the stream a turn when there are more bytes, or none will come."""
        self._stream = stream
        if self._inner is not None:
            self._inner.wait(stream)

    def move(self, count: int) -> None:
        """So many more bytes were sent."""
        inner = self._inner
        assert inner is not None  # noqa: S101 - they were its bytes
        ends = self._offset + count == self._end_of_slice()
        inner.move(count)
        self._offset += count
        if ends:
            inner.release()
            self._inner = None

    def release(self) -> None:
        if self._inner is not None:
            self._inner.release()
            self._inner = None
        if self._waits:
            self._source.leave(self)
