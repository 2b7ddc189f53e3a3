"""A steady load of short sessions. Failures have the session's start time, so tests can tell which are allowed."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from tests.support.balancer import PATIENCE, ask


class Load:
    """Clients that run ``session(port)`` one after another. Each answer must be in ``expected``."""

    def __init__(self, port, expected, clients=1, *, session=ask):
        self.port = port
        self.clients = clients
        self.done = 0
        self.failures = []
        """(start time of the session, error)"""
        self.seen = set()
        """All answers so far."""
        self._expected = expected
        self._session = session
        self._progress = trio.Event()

    async def client(self):
        while True:
            began = trio.current_time()
            try:
                answer = await self._session(self.port)
            except (OSError, trio.BrokenResourceError) as error:
                self.failures.append((began, f"{error!r} from {error.__cause__!r}"))
            else:
                self.seen.add(answer)
                if answer not in self._expected:
                    self.failures.append((began, f"answer {answer!r}"))
            self.done += 1
            self._progress.set()
            self._progress = trio.Event()

    async def sessions(self, count):
        """Wait for ``count`` more sessions."""
        goal = self.done + count
        with trio.fail_after(2 * PATIENCE):
            while self.done < goal:
                await self._progress.wait()

    async def until_seen(self, answer):
        """Wait until a session gets this answer again."""
        self.seen.discard(answer)
        with trio.fail_after(PATIENCE):
            while answer not in self.seen:
                await self._progress.wait()

    def failed_since(self, moment):
        """Return the errors of sessions that began after this moment."""
        return [why for began, why in self.failures if began > moment]


@asynccontextmanager
async def load(port, servers, *, clients):
    """Run ``clients`` clients during the block. Each answer must be the name of one of ``servers``."""
    running = Load(port, {f"{server.name}\n".encode() for server in servers}, clients)
    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(running.client)
        yield running
        nursery.cancel_scope.cancel()
