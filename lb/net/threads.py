"""Threads for calls that block, counted by purpose: one whose calls hang delays no other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, cast

import trio

__all__ = ["Threads"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Threads:
    """At most ``most`` threads at a time, for one purpose. A call may take ``timeout`` seconds from its thread's begin.

    A call that blocks in the kernel cannot be interrupted. It can be abandoned: nobody waits for it any more, at a stop
    neither. An abandoned thread counts until it ends.
    """

    def __init__(self, most: int, timeout: float = math.inf) -> None:
        self._most = most
        self._timeout = timeout
        self._limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("limiter")

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a function in a thread, as soon as one is free, and return its result. A cancelled call is abandoned.

        Raises TimeoutError, and what the function raises.
        """
        slot = _Slot(self._of_this_run(), self._timeout)
        with slot.scope:
            limiter = cast("trio.CapacityLimiter", slot)
            return await trio.to_thread.run_sync(function, *args, limiter=limiter, abandon_on_cancel=True)
        raise TimeoutError(f"no answer in {self._timeout:g} s")

    def _of_this_run(self) -> trio.CapacityLimiter:
        try:
            return self._limiter.get()
        except LookupError:
            limiter = trio.CapacityLimiter(self._most)
            self._limiter.set(limiter)
            return limiter


class _Slot:
    """A slot of a limiter, with a deadline from the moment that it is free. trio takes anything with these methods."""

    def __init__(self, limiter: trio.CapacityLimiter, timeout: float) -> None:
        self.scope = trio.CancelScope()
        self._limiter = limiter
        self._timeout = timeout

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._limiter.acquire_on_behalf_of(borrower)
        self.scope.deadline = trio.current_time() + self._timeout

    def release_on_behalf_of(self, borrower: object) -> None:
        self._limiter.release_on_behalf_of(borrower)
