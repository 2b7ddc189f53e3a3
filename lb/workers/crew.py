"""Keeps a number of workers running: starts them, watches them, and starts another where one is gone."""

from __future__ import annotations

from typing import Protocol

import attrs
import trio

from lb.errors import describe_error
from lb.workers.board import Board
from lb.workers.process import WorkerProcess

__all__ = ["Crew", "Master"]

TICK = 1.0
"""Seconds between looks at the workers' signs of life; they give one as often."""
SILENCE = 5.0
"""Seconds without one after which a worker hangs."""
START_SILENCE = 30.0
"""The same for one that has not given any yet."""
SHORT_LIFE = 5.0
"""Seconds; after a shorter one the next worker has to wait."""
PAUSES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""How long: after the first short life, the second, and so on."""


class Master(Protocol):
    """Whom the crew works for."""

    async def enlist(self, worker: WorkerProcess) -> None:
        """A new worker: bring it into service."""

    def received(self, message: object) -> None:
        """What a worker has to say."""

    def silent(self) -> None:
        """A worker was due with a sign of life; it may hang."""

    def buried(self, worker: WorkerProcess) -> None:
        """A worker has ended; nothing of it is left."""

    def not_started(self, index: int, reason: str) -> None:
        """Not even a process could be made."""


@attrs.define
class Pulse:
    """What was last seen of a worker's signs of life, and since when."""

    beats: int
    since: float
    patience: float


class Crew:
    """``count`` workers, numbered from 0."""

    def __init__(self, count: int, board: Board, master: Master) -> None:
        self.running: dict[int, WorkerProcess] = {}
        self.replacing = True
        """Who is gone gets a successor."""
        self._count = count
        self._board = board
        self._master = master
        self._changed = trio.Event()
        self._pulses: dict[int, Pulse] = {}

    async def run(self) -> None:
        """Until there is none, and no more are to come."""
        async with trio.open_nursery() as nursery:
            watching = await nursery.start(self._watch)
            async with trio.open_nursery() as keepers:
                for index in range(self._count):
                    keepers.start_soon(self._keep, index)
            watching.cancel()

    async def none_running(self) -> None:
        """Return when all have ended."""
        while self.running:
            await self._changed.wait()

    async def _keep(self, index: int) -> None:
        short_lives = 0
        while self.replacing:
            born = trio.current_time()
            try:
                worker = WorkerProcess(index)
            except OSError as error:
                self._master.not_started(index, describe_error(error))
            else:
                await self._employ(worker)
            if trio.current_time() - born > SHORT_LIFE:
                short_lives = 0
            pause = PAUSES[min(short_lives, len(PAUSES) - 1)]
            short_lives += 1
            await trio.sleep(pause)

    async def _employ(self, worker: WorkerProcess) -> None:
        """The whole life of one worker."""
        self.running[worker.index] = worker
        self._pulses[worker.index] = Pulse(self._board.beats(worker.index), trio.current_time(), START_SILENCE)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._master.enlist, worker)
                await worker.run(self._master.received)
                nursery.cancel_scope.cancel()
        finally:
            del self.running[worker.index]
            self._changed.set()
            self._changed = trio.Event()
        self._master.buried(worker)

    async def _watch(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Kill who hangs. A pause of our own, say a suspended machine, is nobody's silence."""
        with trio.CancelScope() as scope:
            task_status.started(scope)
            while True:
                before = trio.current_time()
                await trio.sleep(TICK)
                now = trio.current_time()
                for index, worker in self.running.items():
                    beats = self._board.beats(index)
                    pulse = self._pulses[index]
                    if pulse.beats != beats:
                        self._pulses[index] = Pulse(beats, now, SILENCE)
                    elif now - before > 2 * TICK:
                        pulse.since += now - before
                    elif now - pulse.since >= pulse.patience:
                        worker.kill(f"did not answer for {pulse.patience:g} s")
                    else:
                        self._master.silent()
