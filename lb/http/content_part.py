"""A part of a content of the cache, as a part of a response's body. The content may still be coming."""

from __future__ import annotations

from lb.cache.content import Content
from lb.relay.epoll_stream import EpollStream

__all__ = ["ContentPart"]


class ContentPart:
    """``length`` bytes from ``offset``; None: all to the end. Whoever has it releases it once.

    Implements :class:`lb.cache.content.ContentReader` and :class:`lb.http.file_flow.ComingPart`.
    """

    __slots__ = ("_lost", "_stream", "content", "length", "position")

    def __init__(self, content: Content, offset: int = 0, length: int | None = None) -> None:
        self.content = content
        if length is None and content.length is not None:
            length = content.length - offset
        self.length = length
        self.position = offset
        self._stream: EpollStream | None = None
        self._lost = False
        content.enter(self)

    @property
    def failed(self) -> bool:
        """The rest will never come."""
        return self._lost or self.content.failed

    def ready(self, sent: int) -> int:
        """Return how many bytes can be sent now, after the ``sent`` first ones."""
        ready = max(0, self.content.size - self.position) if not self._lost else 0
        return ready if self.length is None else min(ready, self.length - sent)

    def is_sent(self, sent: int) -> bool:
        """Return True if these are all bytes."""
        if self.length is None:
            return self.content.complete and self.position == self.content.size
        return sent == self.length

    def wait(self, stream: EpollStream) -> None:
        """Give the stream a turn when there are more bytes, or an end."""
        self._stream = stream
        self.content.wait(self)

    def content_came(self) -> None:
        if self._stream is not None and not self._stream.closed:
            self._stream.continue_later()

    def left_behind(self) -> None:
        self._lost = True
        self.content_came()

    def move(self, count: int) -> None:
        """So many more bytes were sent."""
        self.position += count
        self.content.moved()

    def release(self) -> None:
        self.content.leave(self)
