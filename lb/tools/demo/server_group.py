"""The servers of a demo, which run from its start to its end, and may be killed and restarted meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Literal, TypeAlias

import trio

from lb.tools.demo.process import ServerProcess

__all__ = ["ServerGroup", "Tone"]

Tone: TypeAlias = Literal["good", "bad", "plain"]


class ServerGroup:
    """``report`` tells what happens to the servers. ``delay`` is in seconds: how slow their answers are."""

    def __init__(self, names: Sequence[str], report: Callable[[str, Tone], None], delay: float = 0.0) -> None:
        self.servers = {name: ServerProcess(name, delay) for name in names}
        self._report = report

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the servers during the block; it begins when all listen."""
        with ExitStack() as ports:
            for server in self.servers.values():
                ports.enter_context(server.keep_port())
            async with trio.open_nursery() as self._processes:
                for server in self.servers.values():
                    await self._processes.start(self._run, server)
                yield
                self._processes.cancel_scope.cancel()

    def kill(self, name: str) -> None:
        """Kill a server that is alive, as ``kill -9`` does."""
        server = self.servers[name]
        if server.alive:
            self._report(f"kill -9 {server.pid} ({name})", "plain")
            server.kill()

    async def revive(self, name: str) -> None:
        """Restart a server that is dead."""
        server = self.servers[name]
        if server.alive:
            return
        try:
            await self._processes.start(self._run, server)
        except OSError as error:
            self._report(f"{name} cannot be restarted on {server.address}: {error.strerror}", "bad")
        else:
            self._report(f"{name} is restarted, pid {server.pid}", "plain")

    async def _run(self, server: ServerProcess, *, task_status: trio.TaskStatus[None]) -> None:
        ending = await server.run(task_status=task_status)
        self._report(f"{server.name} is dead: {ending}", "bad")
