"""``lb run``: the balancer as a process, with its signals, its log and its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import trio

from lb.admin.sockets import ADMIN, open_admin
from lb.config import ConfigError, load
from lb.events import ServerStarted
from lb.log import Log
from lb.model import Config
from lb.observers import Observers
from lb.server import Balancer, StartError
from lb.service.given_sockets import GivenError, GivenSockets
from lb.service.handover import HandoverError
from lb.service.heritage import Heritage
from lb.service.notify import Notifier
from lb.service.predecessor import Predecessor
from lb.service.privileges import PrivilegesError, give_up
from lb.sockets import open_sockets
from lb.splicing.descriptors import raise_limit
from lb.stalls import keep_garbage_collection_short, keep_threads_short
from lb.steering import SIGNALS, Steering, worker_count

__all__ = ["run"]


def run(path: Path) -> int:
    """Serve what the file says until a signal; returns the exit code."""
    try:
        predecessor = Predecessor.of_environment()
        given = predecessor.given if predecessor else GivenSockets.of_environment()
    except (HandoverError, GivenError) as error:
        return _failed(None, [f"lb: {error}"])
    try:
        config = load(path)
    except ConfigError as error:
        return _failed(predecessor, error.errors, code=2)
    raise_limit()
    keep_threads_short()
    try:
        heritage = _listen(config, predecessor, given)
    except (OSError, PrivilegesError) as error:
        return _failed(predecessor, [f"lb: {(isinstance(error, OSError) and error.strerror) or error}"])
    failures: list[StartError] = []
    try:
        trio.run(_serve, path, config, heritage, predecessor)
    except* StartError as group:
        failures = _leaves(group)
    return _failed(predecessor, [f"lb: {failure}" for failure in failures]) if failures else 0


def _failed(predecessor: Predecessor | None, reasons: Sequence[str], code: int = 1) -> int:
    """Say why there is nothing to serve, where it will be read: the process that goes on has a log."""
    if predecessor is not None:
        predecessor.failed("; ".join(reason.removeprefix("lb: ") for reason in reasons))
    else:
        print("\n".join(reasons), file=sys.stderr)
    return code


def _listen(config: Config, predecessor: Predecessor | None, given: GivenSockets) -> Heritage:
    """Open all sockets, and give up the rights that took. Before anything else runs, so nothing runs with them.

    Raises OSError and PrivilegesError.
    """
    inherited = predecessor.take(config) if predecessor else {}
    opened = {
        (name, address): open_sockets(address, spec.backlog, given)
        for name, spec in config.listeners.items()
        for address in spec.bind
        if (name, address) not in inherited
    }
    if config.admin is not None and (ADMIN, config.admin.bind) not in inherited:
        opened[ADMIN, config.admin.bind] = open_admin(config.admin.bind)
    files = [address.path for _, address in opened if address.is_unix and not given.has_file(address)]
    give_up(config.process, files)
    opened |= inherited
    admin = opened.pop((ADMIN, config.admin.bind)) if config.admin is not None else []
    return Heritage(opened, given, admin, predecessor.knowledge) if predecessor else Heritage(opened, given, admin)


def _leaves(group: BaseExceptionGroup[StartError]) -> list[StartError]:
    leaves: list[StartError] = []
    for exception in group.exceptions:
        leaves += _leaves(exception) if isinstance(exception, BaseExceptionGroup) else [exception]
    return leaves


async def _serve(path: Path, config: Config, heritage: Heritage, predecessor: Predecessor | None) -> None:
    log = Log(config.log)
    say = Observers(log)
    notifier = Notifier(say)
    workers = worker_count(config.process)
    balancer = Balancer(say, dedicated=True, workers=workers, write=log.write, heritage=heritage)
    if predecessor is not None:
        predecessor.open_talk()
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as outlives_the_balancer:
            outlives_the_balancer.start_soon(log.run)
            outlives_the_balancer.start_soon(notifier.run)
            async with trio.open_nursery() as nursery:
                await nursery.start(_balance, balancer, config, nursery)
                steering = Steering(nursery, balancer, log, say, notifier, path, heritage.given)
                steering.admin.follow(config.admin, heritage.admin)
                keep_garbage_collection_short()
                say(ServerStarted(os.getpid(), version("trio-lb"), str(path)))
                outlives_the_balancer.start_soon(steering.run, signals)
                if predecessor is not None:
                    await predecessor.make_way()
                    balancer.look_again()
                notifier.ready()
            await notifier.all_said()
            outlives_the_balancer.cancel_scope.cancel()


async def _balance(
    balancer: Balancer, config: Config, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None]
) -> None:
    """Run until stopped; then nobody waits for a reload under way."""
    await balancer.run(config, task_status=task_status)
    nursery.cancel_scope.cancel()
