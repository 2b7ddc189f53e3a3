"""Operations of a running balancer: signals, and requests of the admin endpoint."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import attrs
import trio

from lb.admin.admin import Admin
from lb.announce.announcer import Announcer
from lb.announce.standing import AnnounceError
from lb.cluster.cluster import Cluster
from lb.config.load import ConfigError, load
from lb.control.balancer import Balancer, why_rejected
from lb.control.plan import FIXED, plan
from lb.discovery.sources import with_servers_files
from lb.events import ConfigChanged, ConfigRejected, Event
from lb.events.base import Observers
from lb.log.log import Log
from lb.model import Config, ProcessSpec
from lb.model.reuse import reused
from lb.net.activation import GivenSockets
from lb.net.cpus import available_cpus
from lb.net.files import Reading, note_reads
from lb.net.threads import Threads
from lb.service.config_watch import ConfigWatch, FileMarks, LoadedFile, differing
from lb.service.notify import Notifier
from lb.service.upgrade import Upgrades

__all__ = ["Operations", "worker_count"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
LOAD_TIMEOUT = 10.0
"""Seconds until reading the configuration is called off. A guess: many times what 10,000 servers take."""
MAX_LOADS = 4
"""Concurrent reads of the configuration, with those that were called off and hang."""


@attrs.define
class _Reload:
    """A reload that one or more requests wait for."""

    done: trio.Event = attrs.field(factory=trio.Event)
    errors: tuple[str, ...] = ()


def worker_count(spec: ProcessSpec) -> int:
    """Return the number of processes that carry traffic; "auto" is one per CPU that this process may use."""
    return available_cpus() if spec.workers == "auto" else spec.workers


class Operations:
    """Handles signals and requests of the admin endpoint, and applies ``admin`` and ``cluster`` of the configuration.

    Reloads and upgrades wait for each other. A stop never waits.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        balancer: Balancer,
        announcer: Announcer,
        cluster: Cluster,
        log: Log,
        sink: Observers,
        notifier: Notifier,
        file: LoadedFile,
        given: GivenSockets,
    ) -> None:
        self.admin = Admin(balancer, announcer, cluster, sink, self, nursery)
        self._nursery = nursery
        self._balancer = balancer
        self._announcer = announcer
        self._cluster = cluster
        self._log = log
        self._sink = sink
        self._notifier = notifier
        self._changing = trio.Lock()
        self._waiting: _Reload | None = None
        self._threads = Threads(MAX_LOADS)
        self._upgrades = Upgrades(balancer, self.admin, announcer, cluster, given, sink, notifier, self._changing)
        self._path = file.path
        self._marks = file.marks
        self._always_watch = file.always_watch
        self._watch = ConfigWatch(nursery, lambda: self._marks, self._reload_changed)
        self._turn_watch()

    def _turn_watch(self) -> None:
        self._watch.turn(on=self._always_watch or self._balancer.written.process.watch)

    async def run(self, signals: AsyncIterator[int]) -> None:
        """Handle signals: the first stop signal stops gracefully, the second one at once."""
        stop_requested = False
        async for number in signals:
            match number:
                case signal.SIGHUP:
                    self._nursery.start_soon(self.reload)
                case signal.SIGUSR2:
                    self._nursery.start_soon(self._upgrades.run)
                case _ if stop_requested:
                    self._balancer.stop_now()
                case _:
                    stop_requested = True
                    self._upgrades.cancel()
                    self._nursery.start_soon(self._stop, signal.Signals(number).name)

    async def _stop(self, name: str) -> None:
        await self._announcer.leave()  # first of all: routers send elsewhere while this process still serves
        if self._upgrades.successor is None:
            self._notifier.stopping(self._balancer.open_connections)
        await self._balancer.stop(name)

    async def reload(self) -> tuple[str, ...]:
        """Reload the file, completely or not at all. Returns the errors; empty on success.

        A request that finds another one waiting shares its reload: the file is read after both.
        """
        if self._waiting is None:
            self._waiting = _Reload()
            self._nursery.start_soon(self._reload)
        waiting = self._waiting
        await waiting.done.wait()
        return waiting.errors

    async def _reload(self) -> None:
        async with self._changing:  # includes reading the file, or an older version might be applied last
            reload, self._waiting = self._waiting, None
            assert reload is not None  # noqa: S101 - set by whoever starts this task
            reload.errors = await self._reload_now()
            reload.done.set()

    async def _reload_changed(self, found: FileMarks) -> None:
        """Reload as files changed, unless another reload has read them meanwhile, or this process is to end."""
        async with self._changing:
            files = differing(self._marks, found)
            if files and self._upgrades.successor is None and not self._balancer.stop_begun:
                self._sink(ConfigChanged(files))
                await self._reload_now()

    async def _reload_now(self) -> tuple[str, ...]:
        if self._upgrades.successor is not None:
            self._upgrades.successor.pass_on(signal.SIGHUP)
            return ()
        if self._balancer.stop_begun:
            return ("the balancer is stopping",)
        self._notifier.reloading()
        errors = await self._change()
        if not self._balancer.stop_begun:
            self._notifier.ready(f"serving; the last reload was rejected: {errors[0]}" if errors else "serving")
        return errors

    async def preview(self) -> tuple[str, ...]:
        """Return the changes of a reload, one line each. Raises ConfigError if it would be rejected."""
        with note_reads(self._path) as now:
            return await self._read(now, _preview, self._path, self._balancer.written)

    async def _read(self, now: Reading, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a function that reads the configuration, in a thread: 15 ms for 1,000 servers.

        Raises ConfigError if it takes too long.
        """
        try:
            with trio.fail_after(LOAD_TIMEOUT):
                return await self._threads.run(function, *args)
        except trio.TooSlowError:
            raise ConfigError([f"{self._path}: {now.path} was not read in {LOAD_TIMEOUT:g} s; called off"]) from None

    async def _read_config(self) -> Config:
        """Read the configuration, and note what the files hold. Raises ConfigError."""
        with note_reads(self._path) as now:
            try:
                config = await self._read(now, self._load)
            finally:  # called off at a file that does not answer, the others count as they were
                self._marks = {**now.marks} if now.path in now.marks else {**self._marks, **now.marks}
        _check_process(self._balancer.config.process, config.process, self._path)
        return config

    async def _change(self) -> tuple[str, ...]:
        """Reload the configuration. Returns the errors; empty on success."""
        try:
            await self._change_to(await self._read_config())
        except ConfigError as error:
            events: list[Event] = [ConfigRejected(error.errors)]
        except AnnounceError as error:
            events = [ConfigRejected((str(error),))]
        except Exception as exception:  # noqa: BLE001 - report any error of a reload; nothing has changed
            events = list(why_rejected("reload", exception))
        else:
            self._log.configure(self._balancer.written.log)
            events = []
        self._turn_watch()
        for event in events:
            self._sink(event)
        return tuple(error for event in events if isinstance(event, ConfigRejected) for error in event.errors)

    def _load(self) -> Config:
        return reused(load(self._path, beside_traffic=True), self._balancer.written)

    async def _change_to(self, config: Config) -> None:
        with ExitStack() as undo:
            opened = await self.admin.open(config.admin)
            for sock in opened:
                undo.enter_context(sock)
            await self._announcer.check(config.announce)
            await self._balancer.reload(config)
            undo.pop_all()
        self.admin.follow(config.admin, opened)
        await self._announcer.follow(config.announce)
        await self._cluster.follow(config.cluster)


def _preview(path: Path, old: Config) -> tuple[str, ...]:
    new = load(path, beside_traffic=True)
    _check_process(old.process, new.process, path)
    return plan(with_servers_files(old), with_servers_files(new)).lines()


def _check_process(old: ProcessSpec, new: ProcessSpec, path: Path) -> None:
    """Raise ConfigError if a key has changed that a reload cannot change."""
    errors = []
    for key, remedy in FIXED.items():
        if getattr(old, key) == getattr(new, key):  # also where "auto" would be another number now
            continue
        before, after = ((worker_count(s) if key == "workers" else getattr(s, key) or "none") for s in (old, new))
        if before != after:
            errors.append(f"{path}: process.{key}: a reload cannot change it ({before} -> {after}); {remedy}")
    if errors:
        raise ConfigError(errors)
