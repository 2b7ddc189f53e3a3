"""The probe of a rehearsal, used instead of the configured one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import trio

from healthcheck.probe import Probe, ProbeFailed, Target
from lb.tools.rehearse.servers import VirtualServer

__all__ = ["VirtualProbe"]


class VirtualProbe(Probe):
    """Connects and, unless ``only_connects``, waits for a reply. ``find`` returns the server of a target.

    Calls ``passed(pool)`` for each check that passes.
    """

    def __init__(
        self, find: Callable[[Target], VirtualServer], passed: Callable[[str], None], *, only_connects: bool
    ) -> None:
        self._find = find
        self._passed = passed
        self._only_connects = only_connects

    async def check(self, target: Target) -> str:
        detail = await self._ask(self._find(target))
        self._passed(target.pool)
        return detail

    async def _ask(self, server: VirtualServer) -> str:
        await trio.sleep(server.connect_time())
        error = server.refusal()
        if error is not None:
            raise error
        if server.condition == "unreachable":
            await trio.sleep_forever()
        if self._only_connects:
            return "connected"
        await trio.sleep(server.answer_time())
        if server.condition == "dead":
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if server.stuck:
            await trio.sleep_forever()
        if server.condition == "failing":
            raise ProbeFailed("the check failed")
        return "answered"
