"""How far the numbers of live streams are: the balancer knows it of all, a process of those before it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from lb.media.messages import NumbersUsed

__all__ = ["MOST_STREAMS", "KnownNumbers"]

MOST_STREAMS = 10_000
"""Streams of all applications that a process has, also of publishers that have left."""


class KnownNumbers:
    """Those of as many streams as a process has; of more, the ones that were noted last."""

    def __init__(self) -> None:
        self._by_stream: OrderedDict[str, NumbersUsed] = OrderedDict()
        """The stream that was noted last is at the end."""

    def note(self, used: NumbersUsed) -> None:
        self._by_stream[used.stream] = used
        self._by_stream.move_to_end(used.stream)
        if len(self._by_stream) > MOST_STREAMS:
            self._by_stream.popitem(last=False)

    def forget(self, stream: str) -> None:
        self._by_stream.pop(stream, None)

    def of(self, stream: str) -> NumbersUsed | None:
        return self._by_stream.get(stream)

    def __iter__(self) -> Iterator[NumbersUsed]:
        return iter(self._by_stream.values())
