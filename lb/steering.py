"""What each signal does to a balancer that runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from lb.carrier import CarrierError
from lb.config import ConfigError, load
from lb.events import ConfigRejected, Fault
from lb.log import Log
from lb.messages import SIGNALS
from lb.model import ProcessSpec
from lb.notify import Notifier
from lb.plan import FIXED
from lb.server import Balancer
from lb.upgrade import Upgrades

__all__ = ["SIGNALS", "Steering", "worker_count"]


def worker_count(spec: ProcessSpec) -> int:
    """How many processes shall carry traffic; "auto" is one for each CPU that this process may use."""
    if spec.workers != "auto":
        return spec.workers
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


class Steering:
    """Obeys the signals. Reloads and upgrades wait for each other; a stop waits for nobody."""

    def __init__(
        self,
        nursery: trio.Nursery,
        balancer: Balancer,
        log: Log,
        notifier: Notifier,
        upgrades: Upgrades,
        changing: trio.Lock,
        path: Path,
    ) -> None:
        self._nursery = nursery
        self._balancer = balancer
        self._log = log
        self._notifier = notifier
        self._upgrades = upgrades
        self._changing = changing
        self._path = path

    async def run(self, signals: AsyncIterator[int]) -> None:
        """Stop gracefully the first time that it is asked for, now the second time."""
        told_to_stop = False
        async for number in signals:
            match number:
                case signal.SIGHUP:
                    self._nursery.start_soon(self._reload)
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

    async def _reload(self) -> None:
        """Read the file again, and change to it wholly or not at all."""
        async with self._changing:  # from the reading on, or what was read first might be applied last
            if self._upgrades.successor is not None:
                self._upgrades.successor.pass_on(signal.SIGHUP)
            elif not self._balancer.stopping:
                self._notifier.reloading()
                error = await self._change()
                if self._balancer.stopping:
                    return
                self._notifier.ready(f"serving; the last reload was rejected: {error}" if error else "serving")

    async def _change(self) -> str:
        """Returns why not; empty if it was done."""
        try:
            config = await trio.to_thread.run_sync(load, self._path)  # traffic need not wait: 15 ms for 1,000 servers
            _check_process(self._balancer.config.process, config.process, self._path)
            await self._balancer.reload(config)
        except ConfigError as error:
            return self._rejected(*error.errors)
        except OSError as error:
            return self._rejected(error.strerror or str(error))
        except CarrierError as error:
            return self._rejected(str(error))
        except Exception as exception:  # noqa: BLE001 - a strategy that cannot take the new list; the old one stays
            self._log(Fault("reload", exception))
            return self._rejected(f"{type(exception).__name__}: {exception}")
        self._log.configure(config.log)
        return ""

    def _rejected(self, *errors: str) -> str:
        self._log(ConfigRejected(errors))
        return errors[0]


def _check_process(old: ProcessSpec, new: ProcessSpec, path: Path) -> None:
    """Raises ConfigError."""
    errors = []
    for key, remedy in FIXED.items():
        before, after = ((worker_count(it) if key == "workers" else getattr(it, key) or "none") for it in (old, new))
        if before != after:
            errors.append(f"{path}: process.{key}: a reload cannot change it ({before} -> {after}); {remedy}")
    if errors:
        raise ConfigError(errors)
