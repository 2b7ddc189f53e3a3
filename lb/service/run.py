"""``lb run``: the balancer as a process, with signals, log and exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import attrs
import trio

from lb import __version__
from lb.announce.announcer import Announcer
from lb.announce.standing import AnnounceError
from lb.cluster.cluster import Cluster
from lb.cluster.node_state import NodeNameError
from lb.config.load import ConfigError, load
from lb.config.toml_file import STDIN
from lb.control.balancer import Balancer, StartError
from lb.control.bindings import ADMIN
from lb.control.inherited import Inherited
from lb.events import ServerStarted, ServerStopped, ServerStopping, Sink
from lb.events.base import Observers
from lb.log.log import Log
from lb.model import Config
from lb.net.activation import GivenError, GivenSockets
from lb.net.capabilities import drop_net_admin, lower_net_admin
from lb.net.cooperate import keep_garbage_collection_short, keep_threads_short
from lb.net.descriptors import raise_limit
from lb.net.files import note_reads
from lb.net.own_name import NODE_VARIABLE
from lb.net.privileged_files import use_opener
from lb.net.signals import SIGNALS, STOP_SIGNALS, hold_signals, signals_unblocked
from lb.net.sockets import NONE_GIVEN, open_sockets, remove_file
from lb.service.config_watch import LoadedFile
from lb.service.file_opener import start_file_opener
from lb.service.handover import HandoverError
from lb.service.notify import Notifier
from lb.service.operations import Operations, worker_count
from lb.service.predecessor import Predecessor
from lb.service.privileges import PrivilegesError, changes_user, give_up

__all__ = ["run"]


def run(path: Path, *, watch: bool = False) -> int:
    """Serve a configuration file until a stop signal. Returns the exit code. ``watch``: whatever the file says."""
    hold_signals()
    try:
        predecessor = Predecessor.of_environment()
        given = predecessor.given if predecessor else GivenSockets.of_environment()
    except (HandoverError, GivenError) as error:
        return _failed(None, [f"lb: {error}"])
    try:
        with note_reads(path) as read:
            config = load(path)
    except ConfigError as error:
        return _failed(predecessor, error.errors, code=2)
    if path == STDIN and (watch or config.process.watch):
        return _failed(predecessor, ["lb: standard input cannot be watched; run with the name of a file"], code=2)
    raise_limit()
    keep_threads_short()
    with closing(Announcer(config.announce)) as announcer, ExitStack() as made:
        try:
            if changes_user(config.process):
                use_opener(start_file_opener(path))
            inherited = _listen(config, predecessor, given, made)
            announces = config.announce is not None or predecessor is not None  # whose addresses may have to go
            (lower_net_admin if announces else drop_net_admin)()
            announcer.begin(beside_predecessor=predecessor is not None)
        except (OSError, PrivilegesError, AnnounceError) as error:
            return _failed(predecessor, [f"lb: {(isinstance(error, OSError) and error.strerror) or error}"])
        return _run(LoadedFile(path, read.marks, watch), config, inherited, predecessor, announcer, made)


def _run(
    file: LoadedFile,
    config: Config,
    inherited: Inherited,
    predecessor: Predecessor | None,
    announcer: Announcer,
    made: ExitStack,
) -> int:
    """Serve with open sockets. ``made`` undoes what this start has made; it is emptied once the start has succeeded."""
    if worker_count(config.process) > 1:
        from lb.workers.fork_server import begin  # noqa: PLC0415 - not needed in one process

        begin()
    failures: list[StartError] = []
    try:
        trio.run(_serve, file, config, inherited, predecessor, announcer, made)
    except* StartError as group:
        failures = _leaves(group)
    return _failed(predecessor, [f"lb: {failure}" for failure in failures]) if failures else 0


def _failed(predecessor: Predecessor | None, reasons: Sequence[str], code: int = 1) -> int:
    """Report a failed start: to the predecessor, which logs it, or to stderr."""
    if predecessor is not None:
        predecessor.failed("; ".join(reason.removeprefix("lb: ") for reason in reasons))
    else:
        print("\n".join(reasons), file=sys.stderr)
    return code


def _listen(config: Config, predecessor: Predecessor | None, given: GivenSockets, made: ExitStack) -> Inherited:
    """Open all sockets, then drop privileges, before anything else runs. ``made`` removes the files of unix sockets.

    Raises OSError and PrivilegesError.
    """
    inherited = predecessor.take(config) if predecessor else {}
    opened = {}
    files: list[str] = []
    wanted = {(name, address): spec.sockets for name, spec in config.listeners.items() for address in spec.bind}
    if config.admin is not None:
        wanted[ADMIN, config.admin.bind] = config.admin.sockets
    for (name, address), spec in wanted.items():
        if (name, address) in inherited:
            continue
        ours = NONE_GIVEN if name == ADMIN else given
        opened[name, address] = open_sockets(address, spec, ours)
        if address.has_file and not ours.has_file(address):
            made.callback(remove_file, address)
            files += [] if spec.owner else [address.path]
    give_up(config.process, files, keep_net_admin=config.announce is not None)
    opened |= inherited
    admin = opened.pop((ADMIN, config.admin.bind)) if config.admin is not None else []
    if predecessor is None:
        return Inherited(opened, given, admin)
    inherited_state = Inherited(opened, given, admin, runtime_state=predecessor.runtime_state)
    return attrs.evolve(inherited_state, secret=predecessor.secret) if predecessor.secret else inherited_state


def _leaves(group: BaseExceptionGroup[StartError]) -> list[StartError]:
    leaves: list[StartError] = []
    for exception in group.exceptions:
        leaves += _leaves(exception) if isinstance(exception, BaseExceptionGroup) else [exception]
    return leaves


async def _serve(
    file: LoadedFile,
    config: Config,
    inherited: Inherited,
    predecessor: Predecessor | None,
    announcer: Announcer,
    made: ExitStack,
) -> None:
    log = Log(config.log)
    sink = Observers(log)
    notifier = Notifier(sink)
    workers = worker_count(config.process)
    balancer = Balancer(sink, dedicated=True, workers=workers, write=log.write, inherited=inherited, node=_node(config))
    announcer.watch(balancer, sink)
    if predecessor is not None:
        predecessor.open_channel()
    with trio.open_signal_receiver(*SIGNALS) as signals, signals_unblocked():
        async with trio.open_nursery() as outer:
            outer.start_soon(log.run)
            outer.start_soon(notifier.run)
            async with trio.open_nursery() as nursery:
                cluster = Cluster(balancer, sink, nursery)
                early = await _start(balancer, cluster, config, nursery, signals, sink)
                made.pop_all()
                parts = balancer, announcer, cluster, log, sink, notifier, file, inherited.given
                operations = Operations(nursery, *parts)
                operations.admin.follow(config.admin, inherited.admin)
                keep_garbage_collection_short()
                sink(ServerStarted(os.getpid(), __version__, str(file.path)))
                for number in early:
                    signal.raise_signal(number)
                outer.start_soon(operations.run, signals)
                if predecessor is not None:
                    await announcer.take_over(await predecessor.take_over())
                    balancer.recheck_backlog()
                cluster.serve(config.cluster, predecessor.known.cluster if predecessor is not None else None)
                nursery.start_soon(announcer.run)
                notifier.ready()
            await notifier.all_sent()
            outer.cancel_scope.cancel()


def _node(config: Config) -> str:
    """Return the name of this balancer among others; empty if it says nothing of any."""
    return config.cluster.node if config.cluster is not None else os.environ.get(NODE_VARIABLE, "")


async def _start(
    balancer: Balancer, cluster: Cluster, config: Config, nursery: trio.Nursery, signals: AsyncIterator[int], sink: Sink
) -> list[int]:
    """Start the balancer. Returns the signals that came meanwhile, to be handled now. SIGTERM and SIGINT cancel it."""
    early: list[int] = []

    async def watch() -> None:
        async for number in signals:
            if number in STOP_SIGNALS:
                sink(ServerStopping(signal.Signals(number).name, 0))
                sink(ServerStopped())
                nursery.cancel_scope.cancel()
            early.append(number)

    async with trio.open_nursery() as starting:
        starting.start_soon(watch)
        await nursery.start(_balance, balancer, cluster, config, nursery)
        starting.cancel_scope.cancel()
    return early


async def _balance(
    balancer: Balancer, cluster: Cluster, config: Config, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None]
) -> None:
    """Run the balancer until stopped, as a node of its cluster; then cancel a reload in progress.

    A successor joins once its predecessor has left.
    """
    if not balancer.predecessor_serves:
        try:
            await cluster.begin(config.cluster)
        except NodeNameError as error:
            raise StartError(str(error)) from error
    await balancer.run(config, task_status=task_status)
    await cluster.end()
    nursery.cancel_scope.cancel()
