"""Calls that several tasks want at the same time: one makes the call, the others wait for its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import attrs
import trio

__all__ = ["SharedCalls"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@attrs.define(eq=False)
class _Call(Generic[T]):
    ended: trio.Event = attrs.field(factory=trio.Event)
    results: list[T] = attrs.field(factory=list)
    """One result, or none if there was an error or the caller was cancelled."""
    error: OSError | None = None


class SharedCalls(Generic[K, T]):
    """The calls under way, by key. If the task that makes one is cancelled, another one that waits makes it again."""

    def __init__(self) -> None:
        self._calls: dict[K, _Call[T]] = {}

    def __contains__(self, key: K) -> bool:
        """Return whether a call with this key is under way."""
        return key in self._calls

    async def run(self, key: K, function: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the call under way with this key, or else of ``function()``.

        All who wait get its result, or its OSError. Other exceptions are the caller's own.
        """
        while (call := self._calls.get(key)) is not None:
            await call.ended.wait()
            if call.error is not None:
                raise call.error
            if call.results:
                return call.results[0]
        return await self._make(key, function)

    async def _make(self, key: K, function: Callable[[], Awaitable[T]]) -> T:
        call = self._calls[key] = _Call()
        try:
            result = await function()
        except OSError as error:
            call.error = error
            raise
        else:
            call.results.append(result)
            return result
        finally:
            del self._calls[key]
            call.ended.set()
