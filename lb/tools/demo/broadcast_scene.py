"""The live demo without its view: a balancer with a live application, a publisher of its own, and a viewer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import trio

from lb.admin.streams import viewers
from lb.config.load import parse
from lb.events import Event, Fault, MediaProcessRestarted, StreamPublished, StreamUnpublished
from lb.tools.demo.base_scene import BaseScene, DemoEvent
from lb.tools.demo.broadcast_source import BroadcastSource
from lb.tools.demo.broadcast_viewer import BroadcastViewer
from lb.tools.demo.process import ServerProcess

__all__ = ["APP", "KEY", "STREAM", "BroadcastScene"]

APP, STREAM, KEY = "live", "show", "demo"
PLAYER_PAGE = Path(__file__).parent / "page"
PLAYER = Path(__file__).parents[2] / "admin" / "page"
_CONFIG = f"""\
[admin]
bind = "127.0.0.1:0"

[listeners.rtmp]            # encoders publish here
mode = "rtmp"
bind = "127.0.0.1:0"        # port 0: the system chooses one

[listeners.web]             # viewers come here
mode = "http"
bind = "127.0.0.1:0"

[[listeners.web.routes]]
path = "/{APP}/"
media = "{APP}"
cache = {{ zone = "video" }}

[[listeners.web.routes]]    # a page with a player
files = "@page"

[[listeners.web.routes]]    # the player: that of the dashboard
path = "=/player.js"
files = "@player"

[caches.video]              # no path: in memory only

[media.live.{APP}]
segment = "1s"
window = 12                 # segments that are listed
part = "250ms"              # low latency, for players that can
publish = [{{ name = "*", key = "{KEY}" }}]
"""


VICTIMS = ("the publisher", "the media process")
_COUNTED_EVERY = 1.0
"""Seconds between two counts of viewers."""
_PLAYED_BEFORE_A_KILL = 1.0
"""Seconds that the viewer plays before the demo kills something."""


class BroadcastScene(BaseScene):
    """The running demo: from :meth:`run` until ``over`` is set. Passes its events to ``sink``."""

    servers: Mapping[str, ServerProcess] = {}
    """None: the publisher and the media process come back by themselves."""
    source: BroadcastSource
    viewer: BroadcastViewer

    def __init__(self, sink: Callable[[DemoEvent], None]) -> None:
        super().__init__(sink)
        self.came_back: list[str] = []
        """What was killed, and has come back."""
        self.watching = 0
        """Addresses that watch the stream, as the balancer counts them: a browser on this host is no further one."""
        self.faults: list[str] = []
        self.config = _CONFIG.replace("@player", str(PLAYER)).replace("@page", str(PLAYER_PAGE))
        self._media_died_at = -1.0
        self._parsed = parse(self.config, "demo.toml")
        self._published = trio.Event()

    @property
    def rtmp_url(self) -> str:
        """Where to publish, without the stream's name."""
        return f"rtmp://127.0.0.1:{self.listener_port('rtmp')}/{APP}"

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.listener_port('web')}/"

    @property
    def media_pid(self) -> int:
        """The process that makes segments; 0 while there is none."""
        return 0 if self.balancer.media is None else self.balancer.media.pids().get("live", 0)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until ``over`` is set. Started when the publisher starts."""
        async with self.balancing(self._parsed) as clients:
            self.source = BroadcastSource(f"{self.rtmp_url}/{STREAM}?key={KEY}", self.report)
            self.viewer = BroadcastViewer(self.listener_port("web"), f"/{APP}/{STREAM}/", self._died_since)
            await clients.start(self.source.run)
            clients.start_soon(self.viewer.run)
            clients.start_soon(self._count_viewers)
            task_status.started()
            await self.over.wait()

    async def _count_viewers(self) -> None:
        while True:
            await trio.sleep(_COUNTED_EVERY)
            media = self.balancer.media
            if media is not None:
                stats, snapshot = await self.balancer.data_plane.stats(), await media.ask()
                counts = viewers(self._parsed.media, stats, snapshot)
                self.watching = counts.get(f"{APP}/{STREAM}", 0)

    def _died_since(self, moment: float) -> bool:
        return max(self._media_died_at, self.source.died_at) >= moment

    # Actions

    def kill_source(self) -> None:
        """Kill the publisher, as ``kill -9`` does."""
        self.source.kill()

    def kill_media(self) -> None:
        """Kill the process that makes segments."""
        if pid := self.media_pid:
            self.report(f"kill -9 {pid} (the media process)", "plain")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def show(self) -> None:
        """Kill first the one, then the other, before the eyes of a viewer; note what has come back: new segments."""
        for name, kill in zip(VICTIMS, (self.kill_source, self.kill_media), strict=True):
            await self.viewer.begin_again()
            await trio.sleep(_PLAYED_BEFORE_A_KILL)
            self._published = trio.Event()
            kill()
            await self._published.wait()
            await self.viewer.until_newer(self.viewer.figures.newest + 1)
            self.came_back.append(name)
            self.report(f"{name} has come back: the viewer gets new segments", "good")

    async def revive(self, name: str) -> None:
        """Nothing waits for that: see ``servers``."""

    # Events

    def _observe(self, event: Event) -> None:
        match event:
            case StreamPublished(stream=stream, client=client, codecs=codecs):
                self.report(f"{stream} is published from {client}: {', '.join(codecs)}", "good")
                if stream == f"{APP}/{STREAM}":
                    self._published.set()
            case StreamUnpublished(stream=stream, reason=reason, seconds=seconds):
                self.report(f"{stream} has lost its publisher: {reason}, after {seconds:.1f} s", "bad")
            case MediaProcessRestarted(status=status):
                self._media_died_at = trio.current_time()
                self.report(f"the media process is dead: {status}. It is started again", "bad")
            case Fault(where=where, exception=exception):
                self.faults.append(f"internal error: {where}: {exception!r}")
                self.report(self.faults[-1], "bad")
            case _:
                super()._observe(event)

    def problems(self, *, shown: bool) -> list[str]:
        """Return why the demo has failed, a line each; empty if it has not. ``shown``: both kills must have shown."""
        figures = self.viewer.figures
        found = [f"failed: {count} x {reason}" for reason, count in figures.failures.most_common()]
        if figures.playback.stalls:
            found.append(f"the player has stalled {figures.playback.stalls} times")
        if not figures.segments:
            found.append("no segment was served")
        if shown:
            found += [f"{name} has not come back" for name in VICTIMS if name not in self.came_back]
        return found + self.faults

    def summary(self) -> str:
        """Return the counts in a line."""
        figures = self.viewer.figures
        return (
            f"requests: {figures.requests} ok, {figures.failed} failed, {figures.cut} cut by a kill; "
            f"segments: {figures.segments}; stalls: {figures.playback.stalls}"
        )
