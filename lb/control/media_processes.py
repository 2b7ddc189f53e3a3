"""The media processes: one for live streams, one for films. Each is started when the configuration needs it.

Their listening sockets are this process's, so that one that has ended loses no address: who connects meanwhile waits.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Literal, TypeAlias

import attrs
import trio

from lb.events import MediaProcessRestarted, Sink
from lb.media.known_numbers import KnownNumbers
from lb.media.messages import (
    AskMedia,
    ConfigureMedia,
    EndMedia,
    MediaAnswer,
    MediaNews,
    NumbersUsed,
    PingMedia,
    StopMedia,
)
from lb.model import Config, MediaSpec
from lb.model.address import Address
from lb.model.media import LIVE_POOL, RTMP_POOL, VOD_POOL
from lb.model.media_figures import MediaFigures, MediaTotals
from lb.model.stream_status import MediaSnapshot
from lb.net.channel import Channel, encode
from lb.net.processes import exit_text, wait_for_exit

__all__ = ["MediaProcesses", "with_media_addresses"]

MediaKind: TypeAlias = Literal["live", "vod"]
_BACKLOG = 1024
_PAUSES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before the start after a short life: the first, the second, and so on."""
_SHORT_LIFE = 10.0
_ANSWER_TIMEOUT = 2.0
"""Seconds that a process has to tell what there is."""
_HANG_TIMEOUT = 30
"""Seconds without a word, though it was asked for one, after which a process is killed."""
_STOP_TIMEOUT = 5.0
"""Seconds that a process has to end."""
POOLS: Mapping[MediaKind, tuple[str, ...]] = {"live": (RTMP_POOL, LIVE_POOL), "vod": (VOD_POOL,)}
"""The internal pools of a process, in the order of the sockets that it is given."""


def media_addresses(secret: bytes) -> dict[str, Address]:
    """Return the addresses of the internal pools in this process. Who does not know the secret cannot guess them."""
    return {pool: _address(pool, secret) for pools in POOLS.values() for pool in pools}


def _address(pool: str, secret: bytes) -> Address:
    text = f"{pool}/{os.getpid()}"
    name = "@trio-lb-" + hashlib.blake2b(text.encode(), key=secret[:64], digest_size=16).hexdigest()
    return Address(f"unix:{name}", path=name)


def with_media_addresses(config: Config, secret: bytes) -> Config:
    """Return the configuration with the addresses of its internal pools."""
    if not config.media:
        return config
    addresses = media_addresses(secret)
    pools = {
        name: attrs.evolve(pool, servers=(attrs.evolve(pool.servers[0], address=addresses[name]),))
        if name in addresses
        else pool
        for name, pool in config.pools.items()
    }
    return attrs.evolve(config, pools=pools)


class MediaProcesses:
    """Starts, configures and restarts the processes, in this nursery."""

    def __init__(self, nursery: trio.Nursery, sink: Sink, secret: bytes) -> None:
        self._nursery = nursery
        self._sink = sink
        self._secret = secret
        self._processes: dict[MediaKind, _MediaProcess] = {}
        self._sockets: dict[MediaKind, list[socket.socket]] = {}
        """They stay open, also when no process is needed: one that ends still has them."""
        self._totals: dict[MediaKind, MediaTotals] = {}
        """They outlive a configuration without the process."""
        self._used = KnownNumbers()
        """What the next process for live streams has to know."""

    def prepare(self, spec: MediaSpec) -> None:
        """Listen for the processes that a configuration needs. Raises OSError."""
        for kind in _kinds(spec):
            if kind not in self._sockets:
                self._sockets[kind] = [_listen(_address(pool, self._secret)) for pool in POOLS[kind]]

    def live_numbers(self) -> dict[str, tuple[int, int]]:
        """Return how far the numbers of live streams are, and their discontinuities: for a successor."""
        return {each.stream: (each.number, each.breaks) for each in self._used}

    def apply(self, spec: MediaSpec, inherited: Mapping[str, tuple[int, int]]) -> None:
        """Tell the processes of a configuration that was prepared: start, change or stop them.

        ``inherited``: the :meth:`live_numbers` of a predecessor, which goes on for a moment.
        """
        for stream, (number, breaks) in inherited.items():
            self._used.note(NumbersUsed(stream, number + 1, breaks))
        kinds = _kinds(spec)
        for kind in [kind for kind in self._processes if kind not in kinds]:
            self._processes.pop(kind).end()
        for kind in kinds:
            if kind in self._processes:
                self._processes[kind].configure(spec)
            else:
                totals = self._totals.setdefault(kind, MediaTotals())
                process = _MediaProcess(kind, spec, self._sockets[kind], self._used, totals, self._sink)
                self._processes[kind] = process
                self._nursery.start_soon(process.run)

    def pids(self) -> dict[str, int]:
        """Return the ids of the processes that run, by kind."""
        return {kind: process.pid for kind, process in self._processes.items() if process.pid}

    async def ask(self) -> MediaSnapshot:
        """Return what the processes tell. Of one that does not answer in time, there are the counters of before."""
        answers: dict[MediaKind, MediaSnapshot | None] = {}

        async def ask(kind: MediaKind, process: _MediaProcess) -> None:
            answers[kind] = await process.ask()

        async with trio.open_nursery() as nursery:
            for kind, process in self._processes.items():
                nursery.start_soon(ask, kind, process)
        live = answers.get("live") or MediaSnapshot()
        figures = reduce(MediaFigures.plus, (totals.total for totals in self._totals.values()), MediaFigures())
        answered: dict[str, bool] = {kind: answers.get(kind) is not None for kind in self._processes}
        return MediaSnapshot(live.streams, live.publishers, figures, answered)

    def stop(self) -> None:
        """End publishers and players: no further ones come here."""
        for process in self._processes.values():
            process.stop()

    def close(self) -> None:
        """Close the sockets, when the processes have ended."""
        for sock in [sock for sockets in self._sockets.values() for sock in sockets]:
            sock.close()


def _kinds(spec: MediaSpec) -> list[MediaKind]:
    return [*(["live"] if spec.live else []), *(["vod"] if spec.vod else [])]  # type: ignore[list-item]  # texts


class _MediaProcess:
    """One process, started again whenever it ends."""

    pid = 0
    """0: it does not run."""

    def __init__(
        self,
        kind: MediaKind,
        spec: MediaSpec,
        sockets: Sequence[socket.socket],
        used: KnownNumbers,
        totals: MediaTotals,
        sink: Sink,
    ) -> None:
        self._kind: MediaKind = kind
        self._spec = spec
        self._sockets = sockets
        self._used = used
        self._sink = sink
        self._channel: Channel | None = None
        self._totals = totals
        self._question: trio.Event | None = None
        """Set when it is answered, or nobody can answer it any more."""
        self._answer: MediaSnapshot | None = None
        """The last one of the process that runs."""
        self._messages = 0
        """Received from it."""
        self._scope = trio.CancelScope()
        """Of :meth:`run`."""

    def configure(self, spec: MediaSpec) -> None:
        self._spec = spec
        if self._channel is not None:
            self._channel.send(encode(ConfigureMedia(spec)))

    def end(self) -> None:
        """End it: no configuration needs it any more."""
        self.configure(MediaSpec())
        self._scope.cancel()

    def stop(self) -> None:
        if self._channel is not None:
            self._channel.send(encode(StopMedia()))

    async def ask(self) -> MediaSnapshot | None:
        """Return what the process tells; None if it does not in time. All who ask meanwhile wait for one answer."""
        if self._question is None:
            if self._channel is None:
                return None
            self._question = trio.Event()
            self._channel.send(encode(AskMedia()))
        question = self._question
        with trio.move_on_after(_ANSWER_TIMEOUT):
            await question.wait()
        return self._answer if question.is_set() else None

    def _answered(self, answer: MediaSnapshot | None) -> None:
        self._answer = answer
        if self._question is not None:
            self._question.set()
            self._question = None

    async def run(self) -> None:
        """Keep the process running, until cancelled: then it has time to end, and its last events are emitted."""
        with self._scope:
            await self._keep_alive()

    async def _keep_alive(self) -> None:
        short_lives = 0
        while True:
            began = trio.current_time()
            status = await self._live()
            if self._scope.cancel_called:
                return
            short_lives = short_lives + 1 if trio.current_time() - began < _SHORT_LIFE else 0
            self._sink(MediaProcessRestarted(self._kind, status))
            await trio.sleep(_PAUSES[min(short_lives, len(_PAUSES) - 1)])

    async def _live(self) -> str:
        """Run the process once. Return how it has ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = self._start(theirs)
            except OSError as error:
                ours.close()
                return error.strerror or str(error)
        self.pid = process.pid
        channel = self._channel = Channel(ours)
        channel.send(encode(ConfigureMedia(self._spec, tuple(self._used))))
        talk = trio.CancelScope(shield=True)
        hangs = False
        try:
            hangs = await self._talk(channel, talk, process)
        finally:
            self.pid = 0
            self._channel = None
            channel.close()
            self._totals.process_ended()
            self._answered(None)
            with trio.CancelScope(shield=True, deadline=talk.deadline):
                await wait_for_exit(process.pid)
            process.kill()
            returncode = process.wait()  # which takes no time after its end
        return f"it did not answer for {_HANG_TIMEOUT} s" if hangs else exit_text(returncode)

    async def _talk(self, channel: Channel, talk: trio.CancelScope, process: subprocess.Popen[bytes]) -> bool:
        """Send and receive until the process ends, for whose end ``talk`` then has a deadline.

        Return True if it was killed because it hung. If this is cancelled, the process is told to end, and what it says
        until it does is still heard.
        """
        hangs = False

        async def converse() -> None:
            with talk:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(channel.run)
                    await self._receive(channel)
                    nursery.cancel_scope.cancel()
            waiting.cancel_scope.cancel()

        async with trio.open_nursery() as waiting:
            waiting.start_soon(converse)
            try:
                await self._until_it_hangs(channel)
                hangs = True
                process.kill()
            finally:
                channel.send(encode(EndMedia()))
                talk.deadline = trio.current_time() + _STOP_TIMEOUT
        return hangs

    async def _until_it_hangs(self, channel: Channel) -> None:
        """Ping the process, and return once it has said nothing for too long."""
        silent = 0
        while silent < _HANG_TIMEOUT:
            before = self._messages
            if not silent:
                channel.send(encode(PingMedia()))
            await trio.sleep(1)  # a stall of this process counts as one
            silent = silent + 1 if self._messages == before else 0

    def _start(self, channel: socket.socket) -> subprocess.Popen[bytes]:
        fds = [channel.fileno(), *(sock.fileno() for sock in self._sockets)]
        command = [sys.executable, "-P", "-m", "lb.media.process", self._kind, *map(str, fds)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=fds)  # noqa: S603 - our own program

    async def _receive(self, channel: Channel) -> None:
        while (received := await channel.receive()) is not None:
            message = received[0]
            self._messages += 1
            if isinstance(message, MediaNews):
                self._sink(message.event)
            elif isinstance(message, NumbersUsed):
                self._used.note(message)
            elif isinstance(message, MediaAnswer):
                self._totals.look(message.snapshot.figures)
                self._answered(message.snapshot)


def _listen(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.bind("\0" + address.path[1:])
    sock.listen(_BACKLOG)
    return sock
