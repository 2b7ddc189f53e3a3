"""``lb run``: the balancer as a process, with its signals, its log and its exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import trio

from lb.carrier import CarrierError
from lb.config import ConfigError, load
from lb.descriptors import raise_limit
from lb.events import ConfigRejected, Fault, ServerStarted
from lb.log import Log
from lb.model import Config, ProcessSpec
from lb.server import Balancer, StartError
from lb.stalls import keep_garbage_collection_short, keep_threads_short

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
    workers = worker_count(config.process)
    balancer = Balancer(log, dedicated=True, workers=workers, write=log.write)
    with trio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as outlives_the_balancer:
            outlives_the_balancer.start_soon(log.run)
            async with trio.open_nursery() as nursery:
                await nursery.start(_balance, balancer, config, nursery)
                keep_garbage_collection_short()
                log(ServerStarted(os.getpid(), version("trio-lb"), str(path)))
                outlives_the_balancer.start_soon(_obey, signals, nursery, balancer, log, path)
            outlives_the_balancer.cancel_scope.cancel()


async def _balance(
    balancer: Balancer, config: Config, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None]
) -> None:
    """Run until stopped; then nobody waits for a reload under way."""
    await balancer.run(config, task_status=task_status)
    nursery.cancel_scope.cancel()


async def _obey(signals: AsyncIterator[int], nursery: trio.Nursery, balancer: Balancer, log: Log, path: Path) -> None:
    """Until told to stop: the first time gracefully, the second time now."""
    stopping = False
    one_at_a_time = trio.Lock()
    async for number in signals:
        if stopping:
            if number != signal.SIGHUP:
                balancer.stop_now()
        elif number == signal.SIGHUP:
            nursery.start_soon(_reload, balancer, log, path, one_at_a_time)
        else:
            stopping = True
            nursery.start_soon(balancer.stop, signal.Signals(number).name)


async def _reload(balancer: Balancer, log: Log, path: Path, one_at_a_time: trio.Lock) -> None:
    """Read the file again, and change to it wholly or not at all."""
    try:
        async with one_at_a_time:  # from the reading on, or what was read first might be applied last
            config = await trio.to_thread.run_sync(load, path)  # traffic need not wait: 15 ms for 1,000 servers
            _check_workers(balancer.config.process, config.process, path)
            await balancer.reload(config)
    except ConfigError as error:
        log(ConfigRejected(error.errors))
    except OSError as error:
        log(ConfigRejected((error.strerror or str(error),)))
    except CarrierError as error:
        log(ConfigRejected((str(error),)))
    except Exception as exception:  # noqa: BLE001 - a strategy that cannot take the new list; the old one stays
        log(Fault("reload", exception))
        log(ConfigRejected((f"{type(exception).__name__}: {exception}",)))
    else:
        log.configure(config.log)


def _check_workers(old: ProcessSpec, new: ProcessSpec, path: Path) -> None:
    """Raises ConfigError."""
    before, after = worker_count(old), worker_count(new)
    if before != after:
        raise ConfigError([f"{path}: process.workers: a reload cannot change it ({before} -> {after}); restart"])
