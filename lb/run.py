"""``lb run``: the balancer as a process, with its signals, its log and its exit code."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from lb.config import ConfigError, load
from lb.descriptors import raise_limit
from lb.events import ConfigRejected, Event, ServerStarted
from lb.log import Log
from lb.model import Config, ProcessSpec
from lb.observers import Observers
from lb.plan import plan
from lb.rejection import why_rejected
from lb.server import Balancer, StartError
from lb.servers_file import with_servers_files
from lb.stalls import keep_garbage_collection_short, keep_threads_short

if TYPE_CHECKING:
    from lb.admin.admin import Admin

__all__ = ["run"]


def run(path: Path) -> int:
    """Serve what the file says until a signal; returns the exit code."""
    try:
        config = load(path)
    except ConfigError as error:
        print("\n".join(error.errors), file=sys.stderr)
        return 2
    raise_limit()
    keep_threads_short()
    failures: list[StartError] = []
    try:
        trio.run(_serve, path, config)
    except* StartError as group:
        failures = _leaves(group)
    for failure in failures:
        print(f"lb: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _leaves(group: BaseExceptionGroup[StartError]) -> list[StartError]:
    leaves: list[StartError] = []
    for exception in group.exceptions:
        leaves += _leaves(exception) if isinstance(exception, BaseExceptionGroup) else [exception]
    return leaves


def worker_count(spec: ProcessSpec) -> int:
    """How many processes shall carry traffic; "auto" is one for each CPU that this process may use."""
    if spec.workers != "auto":
        return spec.workers
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


async def _serve(path: Path, config: Config) -> None:
    log = Log(config.log)
    say = Observers(log)
    balancer = Balancer(say, dedicated=True, workers=worker_count(config.process), write=log.write)
    with trio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as outlives_the_balancer:
            outlives_the_balancer.start_soon(log.run)
            async with trio.open_nursery() as nursery:
                command = Command(path, balancer, log, say, nursery)
                try:
                    opened = command.open_admin(config)
                except OSError as error:
                    raise StartError(error.strerror or str(error)) from error
                await nursery.start(_balance, balancer, config, nursery)
                command.follow_admin(config, opened)
                keep_garbage_collection_short()
                say(ServerStarted(os.getpid(), version("trio-lb"), str(path)))
                outlives_the_balancer.start_soon(command.obey, signals)
            outlives_the_balancer.cancel_scope.cancel()


async def _balance(
    balancer: Balancer, config: Config, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None]
) -> None:
    """Run until stopped; then nobody waits for a reload under way."""
    await balancer.run(config, task_status=task_status)
    nursery.cancel_scope.cancel()


class Command:
    """A balancer that runs by a file, obeys signals, and has an admin endpoint if the file says so."""

    def __init__(self, path: Path, balancer: Balancer, log: Log, say: Observers, nursery: trio.Nursery) -> None:
        self._path = path
        self._balancer = balancer
        self._log = log
        self._say = say
        self._nursery = nursery
        self._admin: Admin | None = None
        self._one_at_a_time = trio.Lock()

    async def obey(self, signals: AsyncIterator[int]) -> None:
        """Until told to stop: the first time gracefully, the second time now."""
        stopping = False
        async for number in signals:
            if stopping:
                if number != signal.SIGHUP:
                    self._balancer.stop_now()
            elif number == signal.SIGHUP:
                self._nursery.start_soon(self.reload)
            else:
                stopping = True
                self._nursery.start_soon(self._balancer.stop, signal.Signals(number).name)

    async def reload(self) -> tuple[str, ...]:
        """Read the file again, and change to it wholly or not at all. Returns why not; nothing if it has worked."""
        events: list[Event] = []
        try:
            async with self._one_at_a_time:  # from the reading on, or what was read first might be applied last
                config = await trio.to_thread.run_sync(load, self._path)  # 15 ms for 1,000 servers, beside the traffic
                _check_workers(self._balancer.config.process, config.process, self._path)
                await self._change_to(config)
        except ConfigError as error:
            events = [ConfigRejected(error.errors)]
        except Exception as exception:  # noqa: BLE001 - all that a reload may raise is told, and nothing has changed
            events = list(why_rejected("reload", exception))
        else:
            self._log.configure(config.log)
        for event in events:
            self._say(event)
        return tuple(error for event in events if isinstance(event, ConfigRejected) for error in event.errors)

    async def preview(self) -> tuple[str, ...]:
        """What a reload would change, one readable line each. Raises ConfigError if it would be rejected."""
        return await trio.to_thread.run_sync(_preview, self._path, self._balancer.written)

    async def _change_to(self, config: Config) -> None:
        with ExitStack() as undo:
            opened = self.open_admin(config)
            for sock in opened:
                undo.enter_context(sock)
            await self._balancer.reload(config)
            undo.pop_all()
        self.follow_admin(config, opened)

    def open_admin(self, config: Config) -> list[socket.socket]:
        """What the admin endpoint of this configuration needs and has not got. Raises OSError, see :class:`Admin`."""
        if self._admin is None:
            if config.admin is None:
                return []
            from lb.admin.admin import Admin  # noqa: PLC0415 - 0.1 s of libraries that most starts need not load

            self._admin = Admin(self._balancer, self._say, self, self._nursery)
            self._say.add(self._admin.feed)
        return self._admin.open(config.admin)

    def follow_admin(self, config: Config, opened: list[socket.socket]) -> None:
        """The configuration is in use: so shall be its admin endpoint."""
        if self._admin is not None:
            self._admin.follow(config.admin, opened)


def _check_workers(old: ProcessSpec, new: ProcessSpec, path: Path) -> None:
    """Raises ConfigError."""
    before, after = worker_count(old), worker_count(new)
    if before != after:
        raise ConfigError([f"{path}: process.workers: a reload cannot change it ({before} -> {after}); restart"])


def _preview(path: Path, old: Config) -> tuple[str, ...]:
    new = load(path)
    _check_workers(old.process, new.process, path)
    return plan(with_servers_files(old), with_servers_files(new)).lines()
