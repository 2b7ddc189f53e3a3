"""A worker's log lines: collected as elsewhere, and sent to the supervisor, which writes for all."""

from __future__ import annotations

from collections.abc import Callable

from lb.log import LineQueue
from lb.workers.channel import Channel, encode
from lb.workers.messages import Lines

__all__ = ["LineSender"]


class LineSender:
    """Implements :class:`lb.log.LineOutput` over a channel. While that is stuck, lines wait here, up to a limit."""

    def __init__(self, channel: Channel, dropped: Callable[[int], None]) -> None:
        self._channel = channel
        self._dropped = dropped
        self._lines = LineQueue()
        self.write = self._lines.put

    async def run(self) -> None:
        while True:
            await self._lines.gather()
            self.flush()
            await self._channel.all_sent()
            self._lines.say_lost(self._dropped)

    def flush(self) -> None:
        count = len(self._lines)
        if count:
            self._channel.send(encode(Lines(self._lines.take().removesuffix("\n"), count)))
