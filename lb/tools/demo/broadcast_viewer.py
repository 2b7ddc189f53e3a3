"""The viewer of the live demo: a player of HLS without a picture, which counts what it gets, misses and waits for."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable

import attrs
import trio

from lb.net.errors import describe_error
from lb.tools.demo.broadcast_playlist import (
    ListedSegment,
    Playback,
    last_seconds,
    listed_segments,
    media_playlists,
)
from lb.tools.demo.loopback import connect

__all__ = ["BroadcastViewer", "ViewerFigures"]

_TIMEOUT = 10.0
"""Seconds to wait for a response."""
POLL_SECONDS = 0.5
_RESPONSE = re.compile(rb"HTTP/1\.1 (\d+) .*\r\n(?:.+\r\n)*?Content-Length: (\d+)\r\n(?:.+\r\n)*\r\n", re.IGNORECASE)
STALE_SECONDS = 30.0
"""So long a cache may list what was lost with a process: ``stale-if-error`` of playlists."""
_OK, _NOT_FOUND, _NOT_READY = 200, 404, 503


class RequestFailedError(Exception):
    """A request had no answer, or not the right one. The message is for people."""


@attrs.define
class ViewerFigures:
    """What a viewer has got."""

    requests: int = 0
    """Those that had the right answer."""
    segments: int = 0
    """Of all tracks."""
    newest: int = -1
    """The number of the newest segment."""
    cut: int = 0
    """Segments that were lost with the process that had them."""
    failures: Counter[str] = attrs.field(factory=Counter)
    playback: Playback = attrs.field(factory=Playback)

    @property
    def failed(self) -> int:
        return self.failures.total()


class BroadcastViewer:
    """Watches one stream. ``died_since(time)`` tells whether a process of the stream has died since then."""

    def __init__(self, port: int, path: str, died_since: Callable[[float], bool]) -> None:
        self.figures = ViewerFigures()
        self._port = port
        self._path = path
        self._died_since = died_since
        self._changed = trio.Event()
        self._seen: dict[str, int] = {}
        """The number of the newest segment, by playlist."""

    async def run(self) -> None:
        """Watch until cancelled."""
        playlists = await self._begin()
        while True:
            for playlist in playlists:
                await self._look(playlist)
            self.figures.playback.look(trio.current_time())
            self._changed.set()
            self._changed = trio.Event()
            await trio.sleep(POLL_SECONDS)

    async def begin_again(self) -> None:
        """Become a viewer who has just come. Wait until it shows pictures."""
        self.figures.playback.restart()
        self._seen.clear()
        while not self.figures.playback.began:
            await self._changed.wait()

    async def until_newer(self, number: int) -> None:
        """Wait for a segment with a greater number."""
        while self.figures.newest <= number:
            await self._changed.wait()

    async def _begin(self) -> list[str]:
        """Wait for the stream to begin."""
        while True:
            try:
                status, body = await self._get("master.m3u8")
            except RequestFailedError as error:
                self.figures.failures[str(error)] += 1
            else:
                if status == _OK:
                    self.figures.requests += 1
                    return media_playlists(body.decode())
                if status not in (_NOT_FOUND, _NOT_READY):
                    self.figures.failures[f"master.m3u8: status {status}"] += 1
            await trio.sleep(POLL_SECONDS)

    async def _look(self, playlist: str) -> None:
        """Fetch a playlist, and its segments that are new."""
        try:
            segments = listed_segments((await self._fetch(playlist)).decode())
        except RequestFailedError as error:
            self.figures.failures[str(error)] += 1
            return
        seen = self._seen.get(playlist)
        for segment in last_seconds(segments) if seen is None else segments:
            if seen is None or segment.number > seen:
                self._seen[playlist] = segment.number
                await self._take(playlist, segment)

    async def _take(self, playlist: str, segment: ListedSegment) -> None:
        figures = self.figures
        try:
            await self._fetch(segment.uri)
        except RequestFailedError as error:
            if self._died_since(trio.current_time() - STALE_SECONDS):
                figures.cut += 1
            else:
                figures.failures[str(error)] += 1
            return
        figures.segments += 1
        figures.newest = max(figures.newest, segment.number)
        if playlist.startswith("v"):
            figures.playback.fetched(segment, trio.current_time())

    async def _fetch(self, name: str) -> bytes:
        status, body = await self._get(name)
        if status != _OK:
            raise RequestFailedError(f"{name}: status {status}")
        self.figures.requests += 1
        return body

    async def _get(self, name: str) -> tuple[int, bytes]:
        """Return the status and the body."""
        request = f"GET {self._path}{name} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nConnection: close\r\n\r\n"
        try:
            with trio.fail_after(_TIMEOUT):
                async with await connect(self._port) as stream:
                    await stream.send_all(request.encode())
                    received = b"".join([chunk async for chunk in stream])
        except trio.TooSlowError as error:
            raise RequestFailedError(f"{name}: no response in {_TIMEOUT:g} s") from error
        except OSError as error:
            raise RequestFailedError(f"cannot connect: {describe_error(error)}") from error
        except trio.BrokenResourceError as error:
            raise RequestFailedError(f"{name}: the connection was reset") from error
        head = _RESPONSE.match(received)
        if head is None or len(received) != head.end() + int(head[2]):
            raise RequestFailedError(f"{name}: the response is cut short")
        return int(head[1]), received[head.end() :]

    def latency(self) -> float | None:
        """Return how old the picture is that is shown, in seconds; None if none is."""
        return self.figures.playback.latency(trio.current_time(), time.time())
