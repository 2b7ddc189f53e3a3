"""The live demo on a terminal: figures, events, and keys that kill."""

from __future__ import annotations

import os
import sys
from collections import deque

import trio
from rich.align import Align
from rich.console import Console
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from lb.console.screen import key_line, panel
from lb.console.terminal import keys, single_keys
from lb.tools.demo.base_scene import DemoEvent
from lb.tools.demo.broadcast_scene import APP, STREAM, BroadcastScene
from lb.tools.demo.broadcast_view import introduction
from lb.tools.demo.live import FRAME_SECONDS, TONE_STYLES

__all__ = ["BroadcastLiveView"]


class BroadcastLiveView:
    """Shows the stream, its viewer and events. Keys kill the publisher and the media process."""

    def __init__(self) -> None:
        self._console = Console()
        self._events: deque[DemoEvent] = deque(maxlen=100)
        self._shows = ""
        """``config`` or ``lines``: what is shown in place of the figures."""

    def add_event(self, event: DemoEvent) -> None:
        self._events.append(event)

    async def run(self, scene: BroadcastScene) -> None:
        """Draw and handle keys until cancelled. Restores the terminal."""
        with single_keys(sys.stdin.fileno()), Live(console=self._console, screen=True, auto_refresh=False) as screen:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_keys, scene)
                while True:
                    screen.update(self._picture(scene), refresh=True)
                    await trio.sleep(FRAME_SECONDS)

    async def _read_keys(self, scene: BroadcastScene) -> None:
        async for key in keys(sys.stdin.fileno()):
            match key:
                case "q":
                    scene.over.set()
                case "p":
                    scene.kill_source()
                case "m":
                    scene.kill_media()
                case "c" | "l":
                    shown = {"c": "config", "l": "lines"}[key]
                    self._shows = "" if self._shows == shown else shown
        scene.over.set()

    def _picture(self, scene: BroadcastScene) -> Layout:
        if self._shows == "config":
            middle = [Layout(panel(Syntax(scene.config, "toml", theme="ansi_dark"), "demo.toml"))]
        elif self._shows == "lines":
            middle = [Layout(panel(Text(introduction(scene)), "what to try, from another terminal"))]
        else:
            middle = [Layout(_processes(scene), size=5), Layout(_viewer(scene), size=5), Layout(self._log())]
        meanings = {"p": "kill -9 publisher", "m": "kill -9 media process", "c": "config", "l": "lines", "q": "quit"}
        picture = Layout()
        picture.split_column(Layout(_headline(scene), size=1), *middle, Layout(key_line(meanings), size=1))
        return picture

    def _log(self) -> Panel:
        lines = Text("\n", no_wrap=True, overflow="ellipsis").join(
            Text.assemble((f"{each.at:6.1f} s  ", "dim"), (each.text, TONE_STYLES[each.tone]))
            for each in reversed(self._events)
        )
        return panel(lines, "events, newest first")


def _headline(scene: BroadcastScene) -> Align:
    text = Text.assemble(
        ("trio-lb", "bold"),
        "  watch ",
        (scene.web_url, "cyan"),
        "  dashboard ",
        (f"http://{scene.admin}/", "cyan"),
        f"  {scene.elapsed:.0f} s",
    )
    return Align.center(text)


def _processes(scene: BroadcastScene) -> Panel:
    table = Table(box=None, expand=True, show_header=False)
    for width in (18, 10):
        table.add_column(width=width, no_wrap=True)
    table.add_column(ratio=1, no_wrap=True)
    rows = (
        ("publisher", scene.source.pid, f"a test card, to {scene.rtmp_url}/{STREAM}"),
        ("media process", scene.media_pid, "makes the segments"),
        ("balancer", os.getpid(), f"serves them, from its cache: {scene.web_url}{APP}/{STREAM}/master.m3u8"),
    )
    for name, pid, does in rows:
        table.add_row(Text(name, "bold"), str(pid) if pid else Text("dead", style="red"), does)
    return panel(table, "processes")


def _viewer(scene: BroadcastScene) -> Panel:
    figures, latency = scene.viewer.figures, scene.viewer.latency()
    buffered = figures.playback.buffered(trio.current_time())
    stalls = figures.playback.stalls
    table = Table.grid(padding=(0, 3))
    cells = (
        ("latency", "-" if latency is None else f"{latency:.1f} s"),
        ("buffered", f"{buffered:.1f} s"),
        ("segments", f"{figures.segments:,}"),
        ("viewers", str(scene.watching)),
        ("requests", f"{figures.requests:,} ok"),
        ("failed", Text(str(figures.failed), "bold red" if figures.failed else "bold green")),
        ("stalls", Text(str(stalls), "bold red" if stalls else "bold green")),
        ("cut", str(figures.cut)),
    )
    for row in (cells[:4], cells[4:]):
        table.add_row(*(Text.assemble((f"{name} ", "dim"), value) for name, value in row))
    bar = Text("█" * round(buffered * 4), "cyan", no_wrap=True, overflow="crop")
    content = Table.grid()
    content.add_row(table)
    content.add_row(bar)
    return panel(content, f"a viewer of {APP}/{STREAM}, a player without a picture")
