"""A media process: ``python -m lb.media.process live|vod CHANNEL SOCKET…``, started by the balancer.

``live`` gets the listening sockets of RTMP and of HTTP, ``vod`` that of HTTP, as descriptors.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

import trio

from lb.events import Event, Fault
from lb.http1.request_head import RequestHead
from lb.media.http_answers import http_answer
from lb.media.http_server import HttpResponse, serve_http
from lb.media.messages import (
    AskMedia,
    ConfigureMedia,
    EndMedia,
    MediaAlive,
    MediaAnswer,
    MediaNews,
    NumbersUsed,
    PingMedia,
    StopMedia,
)
from lb.media.timeline import SteadyClock
from lb.model import MediaSpec
from lb.model.stream_status import MediaSnapshot
from lb.net.channel import Channel, encode
from lb.net.cooperate import keep_threads_short
from lb.net.processes import name_process

__all__ = ["main"]

_FINISHING = 3.0
"""Seconds that the end of recordings may take: the balancer kills who takes longer than 5."""


def main(arguments: Sequence[str]) -> int:
    """Serve until the balancer is gone. Return the exit code."""
    kind, channel, *sockets = arguments
    name_process(f"lb media {kind}")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the balancer
    keep_threads_short()  # one opens a film of two hours for 0.2 s
    listening = [socket.socket(fileno=int(fd)) for fd in sockets]
    process = _LiveProcess if kind == "live" else _VodProcess
    trio.run(process(Channel(socket.socket(fileno=int(channel)))).run, listening)
    return 0


class _Process:
    """What both kinds have in common."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def run(self, listening: Sequence[socket.socket]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._channel.run)
            first = await self._channel.receive()
            if first is not None:
                assert isinstance(first[0], ConfigureMedia)  # noqa: S101 - it comes first
                self.recall(first[0].used)
                self.configure(first[0].spec)
                nursery.start_soon(self.serve, listening)
                while (message := await self._channel.receive()) is not None and not isinstance(message[0], EndMedia):
                    self._act(message[0])
                with trio.move_on_after(_FINISHING):
                    await self.finish()
                await self._channel.all_sent()
            nursery.cancel_scope.cancel()

    def _act(self, message: object) -> None:
        if isinstance(message, ConfigureMedia):
            self.configure(message.spec)
        elif isinstance(message, StopMedia):
            self.stop()
        elif isinstance(message, AskMedia):
            self._channel.send(encode(MediaAnswer(self.snapshot())))
        elif isinstance(message, PingMedia):
            self._channel.send(encode(MediaAlive()))

    def emit(self, event: Event) -> None:
        self._channel.send(encode(MediaNews(event)))

    def failed(self, exception: Exception) -> None:
        """A bug in a connection, a response or a task."""
        traceback.print_exception(exception)
        self.emit(Fault("media", RuntimeError(f"{type(exception).__name__}: {exception}")))

    def recall(self, used: Sequence[NumbersUsed]) -> None:
        """Learn of the streams of the processes before, ahead of the first configuration."""

    def configure(self, spec: MediaSpec) -> None:
        raise NotImplementedError

    async def serve(self, listening: Sequence[socket.socket]) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Send publishers and players away."""

    async def finish(self) -> None:
        """Write what has to be written before the end."""

    def snapshot(self) -> MediaSnapshot:
        raise NotImplementedError


class _LiveProcess(_Process):
    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        from lb.media.live_apps import LiveApps  # noqa: PLC0415 - it imports av

        clock = SteadyClock(time.time(), time.monotonic())
        self._apps = LiveApps(self.emit, self._tell, self.failed, lambda: clock.at(time.monotonic()))

    def _tell(self, used: NumbersUsed) -> None:
        self._channel.send(encode(used))

    def recall(self, used: Sequence[NumbersUsed]) -> None:
        self._apps.recall(used)

    def configure(self, spec: MediaSpec) -> None:
        self._apps.configure(spec)

    async def serve(self, listening: Sequence[socket.socket]) -> None:
        from lb.media.rtmp_server import serve_rtmp  # noqa: PLC0415 - of this kind alone

        rtmp, http = listening
        async with trio.open_nursery() as nursery:
            await nursery.start(self._apps.run)
            nursery.start_soon(serve_rtmp, rtmp, self._apps, self.failed)
            nursery.start_soon(serve_http, http, self._respond, self.failed)

    async def _respond(self, head: RequestHead) -> HttpResponse:
        path, _, query = head.target.decode("latin-1").partition("?")
        response = await self._apps.resource(unquote(path), dict(parse_qsl(query)))
        return http_answer(head, response, time.time())

    def stop(self) -> None:
        self._apps.stop()

    async def finish(self) -> None:
        await self._apps.finish()

    def snapshot(self) -> MediaSnapshot:
        return self._apps.snapshot()


class _VodProcess(_Process):
    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        from lb.media.vod_apps import VodApps  # noqa: PLC0415 - it imports av

        self._apps = VodApps(self.emit)

    def configure(self, spec: MediaSpec) -> None:
        self._apps.configure(spec)

    async def serve(self, listening: Sequence[socket.socket]) -> None:
        await serve_http(listening[0], self._respond, self.failed)

    async def _respond(self, head: RequestHead) -> HttpResponse:
        path = os.fsdecode(unquote_to_bytes(head.target.partition(b"?")[0]))  # a file's name may be any bytes
        return http_answer(head, await self._apps.resource(path), time.time())

    def snapshot(self) -> MediaSnapshot:
        return self._apps.snapshot()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
