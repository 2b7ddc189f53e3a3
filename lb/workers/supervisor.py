"""Keep a number of workers running: start them, watch their heartbeats, replace those that end."""

from __future__ import annotations

from typing import NoReturn, Protocol

import trio

from lb.net.errors import describe_error
from lb.net.processes import cpu_seconds
from lb.workers.fork_server import ForkServer
from lb.workers.process import WorkerProcess
from lb.workers.pulse import Pulse
from lb.workers.shared_counters import SharedCounters

__all__ = ["Supervisor", "SupervisorOwner"]

TICK = 1.0
"""Seconds between checks of the workers' heartbeats; workers send them as often."""
HEARTBEAT_TIMEOUT = 5.0
"""Seconds of CPU time without a heartbeat, or seconds without CPU time, after which a worker counts as hanging."""
START_TIMEOUT = 30.0
"""The same before the first heartbeat."""
SHORT_LIFE = 5.0
"""Seconds; after a shorter run, the replacement is delayed."""
PAUSES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Delays in seconds: after the first short run, the second, and so on."""


class SupervisorOwner(Protocol):
    """Receives the callbacks of a supervisor."""

    async def worker_started(self, worker: WorkerProcess) -> None:
        """A worker has started: bring it into service."""

    def received(self, message: object) -> None:
        """A worker has sent a message."""

    def worker_silent(self) -> None:
        """A worker has missed a heartbeat; it may hang."""

    def worker_ended(self, worker: WorkerProcess) -> None:
        """A worker has ended, and its process is gone."""

    def start_failed(self, index: int, reason: str) -> None:
        """A worker process could not be created."""


class Supervisor:
    """``count`` workers, numbered from 0."""

    def __init__(self, count: int, counters: SharedCounters, master: SupervisorOwner) -> None:
        self.running: dict[int, WorkerProcess] = {}
        self.replacing = True
        """Whether ended workers are replaced."""
        self._count = count
        self._counters = counters
        self._master = master
        self._changed = trio.Event()
        self._pulses: dict[int, Pulse] = {}
        self._forks = ForkServer()

    async def run(self) -> None:
        """Run until no worker runs and none is to be started."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._forks.run)
            nursery.start_soon(self._watch)
            async with trio.open_nursery() as keepers:
                for index in range(self._count):
                    keepers.start_soon(self._keep, index)
            nursery.cancel_scope.cancel()

    async def none_running(self) -> None:
        """Wait until all workers have ended."""
        while self.running:
            await self._changed.wait()

    async def _keep(self, index: int) -> None:
        short_lives = 0
        while self.replacing:
            born = trio.current_time()
            try:
                worker = await WorkerProcess.start(index, self._forks)
            except OSError as error:
                self._master.start_failed(index, describe_error(error))
            else:
                await self._employ(worker)
            if trio.current_time() - born > SHORT_LIFE:
                short_lives = 0
            pause = PAUSES[min(short_lives, len(PAUSES) - 1)]
            short_lives += 1
            await trio.sleep(pause)

    async def _employ(self, worker: WorkerProcess) -> None:
        """Run one worker until its end."""
        self.running[worker.index] = worker
        beats = self._counters.heartbeats(worker.index)
        self._pulses[worker.index] = Pulse(
            beats, trio.current_time(), patience=START_TIMEOUT, timeout=HEARTBEAT_TIMEOUT
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._master.worker_started, worker)
                await worker.run(self._master.received)
                nursery.cancel_scope.cancel()
        finally:
            del self.running[worker.index]
            self._changed.set()
            self._changed = trio.Event()
        self._master.worker_ended(worker)

    async def _watch(self) -> NoReturn:
        """Kill hanging workers. A pause of the supervisor itself, such as a suspended machine, does not count."""
        while True:
            before = trio.current_time()
            await trio.sleep(TICK)
            now = trio.current_time()
            for index, worker in self.running.items():
                pulse = self._pulses[index]
                if pulse.look(self._counters.heartbeats(index), now, cpu_seconds(worker.pid)):
                    continue
                if now - before > 2 * TICK:
                    pulse.skip(now - before)
                elif reason := pulse.hangs(now):
                    worker.kill(reason)
                else:
                    self._master.worker_silent()
