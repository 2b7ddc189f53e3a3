"""Relays whose client's bytes gather before they are moved: live streams, in which some hundredths do not count.

A low-water mark keeps the kernel from waking the loop for each packet (SO_RCVLOWAT, socket(7)); all such sides move
what has come at the moments of :mod:`lb.net.gathering`. An end or a reset is still reported at once.
"""

from __future__ import annotations

from lb.net.gathering import gather
from lb.relay.epoll_loop import EpollLoop
from lb.relay.epoll_relay import EpollRelay, Side

__all__ = ["GatheringReads"]

_BEGINNING = 64 * 1024
"""Bytes that are moved as they come: those of handshakes and commands, whose answers the client waits for."""
_MOST_GATHERED = 64 * 1024
"""Bytes that wake the loop before the moment: half of its buffer."""


class GatheringReads:
    """The sides of one loop that gather. Implements :class:`lb.relay.epoll_loop.Handler`, for their moments."""

    def __init__(self, loop: EpollLoop) -> None:
        self._loop = loop
        self._beginning: list[Side] = []
        self._sides: list[Side] = []
        self._running = False

    def add(self, relay: EpollRelay) -> None:
        """Let what the client of a relay sends gather from its second part on."""
        self._beginning.append(relay.client)
        if not self._running:
            self._running = True
            self._loop.spawn(self._run)

    async def _run(self) -> None:
        """Wake the sides at each moment, as long as there are any."""
        while self._beginning or self._sides:
            await gather()
            self._loop.later(self)
        self._running = False

    def edge(self, mask: int) -> None:
        """Never called: no descriptor belongs to it."""

    def again(self) -> None:
        self._sides = [side for side in self._sides if not side.closed]
        for side in self._sides:
            side.streak = 0  # it gathers already
            side.readable = True
            side.continue_later()
        self._begin()

    def _begin(self) -> None:
        waiting = [side for side in self._beginning if not side.closed]
        self._beginning = [side for side in waiting if side.moved < _BEGINNING]
        for side in waiting:
            if side.moved >= _BEGINNING:
                side.wake_at(_MOST_GATHERED)
                self._sides.append(side)

    def failed(self, exception: Exception) -> None:
        """A bug, reported by the loop: the next moment tries again."""
