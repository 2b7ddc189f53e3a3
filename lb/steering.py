"""What a balancer that runs obeys: signals, and its operators."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import trio

from lb.admin.admin import Admin
from lb.config import ConfigError, load
from lb.discovery.servers_file import with_servers_files
from lb.events import ConfigRejected, Event
from lb.log import Log
from lb.model import Config, ProcessSpec
from lb.observers import Observers
from lb.plan import FIXED, plan
from lb.rejection import why_rejected
from lb.server import Balancer
from lb.service.given_sockets import GivenSockets
from lb.service.notify import Notifier
from lb.service.upgrade import Upgrades
from lb.workers.messages import SIGNALS

__all__ = ["SIGNALS", "Steering", "worker_count"]


def worker_count(spec: ProcessSpec) -> int:
    """How many processes shall carry traffic; "auto" is one for each CPU that this process may use."""
    if spec.workers != "auto":
        return spec.workers
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


class Steering:
    """Obeys the signals, and what the admin endpoint asks for; that follows the configuration from here, too.

    Reloads and upgrades wait for each other; a stop waits for nobody.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        balancer: Balancer,
        log: Log,
        say: Observers,
        notifier: Notifier,
        path: Path,
        given: GivenSockets,
    ) -> None:
        self.admin = Admin(balancer, say, self, nursery)
        self._nursery = nursery
        self._balancer = balancer
        self._log = log
        self._say = say
        self._notifier = notifier
        self._changing = trio.Lock()
        self._upgrades = Upgrades(balancer, self.admin, given, say, notifier, self._changing)
        self._path = path

    async def run(self, signals: AsyncIterator[int]) -> None:
        """Stop gracefully the first time that it is asked for, now the second time."""
        told_to_stop = False
        async for number in signals:
            match number:
                case signal.SIGHUP:
                    self._nursery.start_soon(self.reload)
                case signal.SIGUSR2:
                    self._nursery.start_soon(self._upgrades.run)
                case _ if told_to_stop:
                    self._balancer.stop_now()
                case _:
                    told_to_stop = True
                    self._upgrades.abandon()
                    self._nursery.start_soon(self._stop, signal.Signals(number).name)

    async def _stop(self, name: str) -> None:
        if self._upgrades.successor is None:
            self._notifier.stopping(self._balancer.open_connections)
        await self._balancer.stop(name)

    async def reload(self) -> tuple[str, ...]:
        """Read the file again, and change to it wholly or not at all. Returns why not; nothing if it has worked."""
        async with self._changing:  # from the reading on, or what was read first might be applied last
            if self._upgrades.successor is not None:
                self._upgrades.successor.pass_on(signal.SIGHUP)
                return ()
            if self._balancer.stopping:
                return ("the balancer stops",)
            self._notifier.reloading()
            errors = await self._change()
            if not self._balancer.stopping:
                self._notifier.ready(f"serving; the last reload was rejected: {errors[0]}" if errors else "serving")
            return errors

    async def preview(self) -> tuple[str, ...]:
        """What a reload would change, one readable line each. Raises ConfigError if it would be rejected."""
        return await trio.to_thread.run_sync(_preview, self._path, self._balancer.written)

    async def _change(self) -> tuple[str, ...]:
        """Returns why not; nothing if it was done."""
        try:
            config = await trio.to_thread.run_sync(load, self._path)  # traffic need not wait: 15 ms for 1,000 servers
            _check_process(self._balancer.config.process, config.process, self._path)
            await self._change_to(config)
        except ConfigError as error:
            events: list[Event] = [ConfigRejected(error.errors)]
        except Exception as exception:  # noqa: BLE001 - all that a reload may raise is told, and nothing has changed
            events = list(why_rejected("reload", exception))
        else:
            self._log.configure(config.log)
            return ()
        for event in events:
            self._say(event)
        return tuple(error for event in events if isinstance(event, ConfigRejected) for error in event.errors)

    async def _change_to(self, config: Config) -> None:
        with ExitStack() as undo:
            opened = self.admin.open(config.admin)
            for sock in opened:
                undo.enter_context(sock)
            await self._balancer.reload(config)
            undo.pop_all()
        self.admin.follow(config.admin, opened)


def _preview(path: Path, old: Config) -> tuple[str, ...]:
    new = load(path)
    _check_process(old.process, new.process, path)
    return plan(with_servers_files(old), with_servers_files(new)).lines()


def _check_process(old: ProcessSpec, new: ProcessSpec, path: Path) -> None:
    """Raises ConfigError."""
    errors = []
    for key, remedy in FIXED.items():
        before, after = ((worker_count(it) if key == "workers" else getattr(it, key) or "none") for it in (old, new))
        if before != after:
            errors.append(f"{path}: process.{key}: a reload cannot change it ({before} -> {after}); {remedy}")
    if errors:
        raise ConfigError(errors)
