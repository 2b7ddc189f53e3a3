"""The addresses of a host name for tasks that need them now: looked up when needed, and kept for a while."""

from __future__ import annotations

import math

import trio

from lb.model.address import Address, SocketAddress
from lb.net.resolver import look_up, static_targets
from lb.net.shared_calls import SharedCalls

__all__ = ["CachedName"]

FOUND_FOR = 10.0
"""Seconds that addresses are used before the name is looked up again."""
LOOK_UP_PAUSE = 1.0
"""Seconds without a look-up after one without an answer. Else each of many tasks would begin one in turn."""


class CachedName:
    """An address whose host is looked up at most once at a time, whoever asks. An IP address needs no look-up."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._targets = static_targets(address)
        self._until = math.inf if self._targets else -math.inf
        """When the next look-up may begin."""
        self._look_ups: SharedCalls[Address, None] = SharedCalls()

    async def targets(self) -> tuple[SocketAddress, ...]:
        """Return the socket addresses; those of before, if there is no answer. Raises OSError if there are none."""
        if trio.current_time() >= self._until:
            await self._look_ups.run(self._address, self._look_up)
        if not self._targets:
            raise OSError(f"cannot look up {self._address.host}")
        return self._targets

    async def _look_up(self) -> None:
        if trio.current_time() < self._until:  # a task that did so was cancelled just before
            return
        kept_for = LOOK_UP_PAUSE
        try:
            self._targets = await look_up(self._address)
            kept_for = FOUND_FOR
        except OSError:
            if not self._targets:
                raise
        finally:
            self._until = trio.current_time() + kept_for
