"""A steady load of short sessions, each with the time it began, so that a test can tell whom a failure may hit."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from tests.balancer import PATIENCE, ask


class Load:
    """Sessions one after another from each of many clients: ``session(port)``, whose answer must be ``expected``."""

    def __init__(self, port, expected, clients=1, *, session=ask):
        self.port = port
        self.clients = clients
        self.done = 0
        self.failures = []
        """(when the session began, what was wrong)"""
        self.seen = set()
        """The answers."""
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
        """Wait for so many more."""
        goal = self.done + count
        with trio.fail_after(2 * PATIENCE):
            while self.done < goal:
                await self._progress.wait()

    async def until_seen(self, answer):
        """Wait until a session gets this answer, from now on."""
        self.seen.discard(answer)
        with trio.fail_after(PATIENCE):
            while answer not in self.seen:
                await self._progress.wait()

    def failed_since(self, moment):
        """What was wrong with sessions that began after this moment."""
        return [why for began, why in self.failures if began > moment]


@asynccontextmanager
async def load(port, servers, *, clients):
    """``clients`` of them at once, for the length of the block; every answer must be the name of one of ``servers``."""
    running = Load(port, {f"{server.name}\n".encode() for server in servers}, clients)
    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(running.client)
        yield running
        nursery.cancel_scope.cancel()
