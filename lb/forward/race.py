"""Happy eyeballs (RFC 8305, sections 4 and 5): connect to the addresses of a name, one after the other, without waiting
for a silent one. The first that connects wins.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Protocol

from lb.model.address import SocketAddress
from lb.net.deadlines import DeadlineQueue
from lb.net.outgoing import Outgoing
from lb.proxy.context import ConnectionContext
from lb.relay.splicer import Connecting

__all__ = ["Race", "RaceFailures", "RaceOwner", "take_turns"]

MOST_AT_ONCE = 8
"""Connects of one race at the same time. A guess: silent addresses are rare, and each has a descriptor."""

RaceFailures = tuple[tuple[SocketAddress, OSError], ...]
"""The addresses that failed and why, in the order of their failures."""


class RaceOwner(Protocol):
    """A client that needs a connection."""

    def won(self, server: socket.SocketType, target: SocketAddress) -> None:
        """The socket is connected. The owner must relay or close it."""

    def lost(self, failures: RaceFailures) -> None:
        """No address connects, or not in time: an error of those that were under way is ETIMEDOUT."""


class Race:
    """The connects of one client. ``targets`` are in the order of preference; ``outgoing`` prepares their sockets.

    ``delay_queue``: how long the next address waits for the one before. ``timeout_queue``: the time of all together.
    The owner has counted the descriptor of one connect; the race counts those that run beside it.
    """

    __slots__ = (
        "_attempts",
        "_context",
        "_delay_queue",
        "_delayed",
        "_failures",
        "_left",
        "_outgoing",
        "_owner",
        "_timeout_queue",
    )

    def __init__(
        self,
        context: ConnectionContext,
        targets: Sequence[SocketAddress],
        outgoing: Outgoing | None,
        owner: RaceOwner,
        delay_queue: DeadlineQueue,
        timeout_queue: DeadlineQueue,
    ) -> None:
        self._context = context
        self._left = take_turns(targets)[::-1] if len(targets) > 1 else list(targets)
        """The next one last."""
        self._outgoing = outgoing
        self._owner = owner
        self._delay_queue = delay_queue
        self._timeout_queue = timeout_queue
        self._delayed = False
        """It may be in the delay queue."""
        self._attempts: list[_RaceAttempt] = []
        """Connects in progress. Each but one has a descriptor of its own."""
        self._failures: RaceFailures = ()

    def start(self) -> None:
        """Begin. If all addresses fail at once, ``lost`` is called before this returns."""
        self._timeout_queue.enter(self, self._context.clock())
        self._try_next()

    def cancel(self) -> None:
        """End all connects, without a call to the owner."""
        self._end()

    def _try_next(self) -> None:
        """Connect to the next address that does not fail at once, if there is one and a descriptor for it."""
        left, attempts = self._left, self._attempts
        while left and (not attempts or self._may_try_beside()):
            target = left.pop()
            attempt = _RaceAttempt(self, target)
            try:
                attempt.connecting = self._context.splicer.connect(target, attempt, self._outgoing)
            except OSError as error:
                self._failures += ((target, error),)
                continue
            if attempts:
                self._context.descriptors.take(1)
            attempts.append(attempt)
            break
        if not attempts:
            self._lose()
        elif left:
            self._delayed = True
            self._delay_queue.touch(self, self._context.clock())

    def _may_try_beside(self) -> bool:
        return len(self._attempts) < MOST_AT_ONCE and self._context.descriptors.has(1)

    def connected(self, attempt: _RaceAttempt, server: socket.SocketType) -> None:
        """An address has connected: the others are given up."""
        self._end(winner=attempt)
        self._owner.won(server, attempt.target)

    def connect_failed(self, attempt: _RaceAttempt, error: OSError) -> None:
        """An address has failed: the next one need not wait."""
        if attempt in self._attempts:  # not after a bug in ``won``
            self._attempts.remove(attempt)
            del attempt.connecting  # break the reference cycle
            if self._attempts:
                self._context.descriptors.give(1)
        self._failures += ((attempt.target, error),)
        self._try_next()

    def expired(self, queue: DeadlineQueue) -> None:
        """The time of the last address alone, or that of all of them, is over."""
        if queue is self._delay_queue:
            self._try_next()
            return
        error = TimeoutError(errno.ETIMEDOUT, "timed out")
        self._failures += tuple((attempt.target, error) for attempt in self._attempts)
        self._lose()

    def _lose(self) -> None:
        self._end()
        self._owner.lost(self._failures)

    def _end(self, winner: _RaceAttempt | None = None) -> None:
        """Give up all connects but that of the winner."""
        self._timeout_queue.discard(self)
        if self._delayed:
            self._delay_queue.discard(self)
        self._left.clear()
        attempts, self._attempts = self._attempts, []
        if len(attempts) > 1:
            self._context.descriptors.give(len(attempts) - 1)
        for attempt in attempts:
            if attempt is not winner:
                attempt.connecting.cancel()
            del attempt.connecting  # break the reference cycle


class _RaceAttempt:
    """A connect to one address. Implements :class:`lb.relay.splicer.ConnectingOwner`."""

    __slots__ = ("_race", "connecting", "target")

    connecting: Connecting

    def __init__(self, race: Race, target: SocketAddress) -> None:
        self._race = race
        self.target = target

    def connected(self, server: socket.SocketType) -> None:
        self._race.connected(self, server)

    def connect_failed(self, error: OSError) -> None:
        self._race.connect_failed(self, error)


def take_turns(targets: Iterable[SocketAddress]) -> list[SocketAddress]:
    """Return the addresses, each once, with the families in turn, beginning with the first one's."""
    families: dict[int, list[SocketAddress]] = {}
    for target in dict.fromkeys(targets):
        families.setdefault(target[0], []).append(target)
    return [target for target in chain.from_iterable(zip_longest(*families.values())) if target is not None]
