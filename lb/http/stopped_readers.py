"""Where a body is not kept, its slowest reader holds up all: one that takes nothing for seconds is left behind."""

from __future__ import annotations

from lb.cache.content import Content, ContentReader
from lb.net.deadlines import DeadlineQueue, Deadlines
from lb.relay.epoll_loop import EpollLoop

__all__ = ["StoppedReaders"]

STOPPED = 3.0
"""Seconds without progress, at least, after which a reader counts as stopped."""


class StoppedReaders:
    """Watches the readers of one content. Implements :class:`lb.net.deadlines.Wait`."""

    def __init__(self, content: Content, deadlines: Deadlines, loop: EpollLoop) -> None:
        self._content = content
        self._loop = loop
        self._queue = deadlines.queue("cache", STOPPED)
        self._seen: tuple[ContentReader, int] | None = None
        """The slowest reader while the window was full, and its position."""
        self._queue.enter(self, loop.turn.now)

    def expired(self, queue: DeadlineQueue) -> None:
        self._loop.refresh()
        queue.enter(self, self._loop.turn.now)
        content = self._content
        slowest = content.slowest if content.is_full else None
        seen, self._seen = self._seen, None if slowest is None else (slowest, slowest.position)
        if slowest is not None and seen == self._seen and content.has_faster(slowest):
            content.leave_behind(slowest)

    def end(self) -> None:
        self._queue.discard(self)
