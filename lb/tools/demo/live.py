"""The live view of the demo on a terminal, with keys."""

from __future__ import annotations

import sys
from collections import deque
from itertools import pairwise

import trio
from rich.align import Align
from rich.console import Console, Group
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from lb.console.screen import STATE_STYLES, curve, key_line, panel
from lb.console.terminal import keys, single_keys
from lb.tools.demo.base_scene import DemoEvent
from lb.tools.demo.kinds import DemoKind
from lb.tools.demo.scene import DemoScene

__all__ = ["LiveView"]

FRAME_SECONDS = 0.2
"""Seconds between two frames."""
RATE_FRAMES = 5
"""Frames over which rates are measured."""
LOAD_HISTORY = 300
"""Maximum points of the session curve."""
TONE_STYLES = {"good": "green", "bad": "red", "plain": "default"}


class LiveView:
    """Shows servers, sessions and events. Keys kill and restart servers and reload the configuration."""

    def __init__(self) -> None:
        self._console = Console()
        self._events: deque[DemoEvent] = deque(maxlen=100)
        self._totals: deque[dict[str, int]] = deque(maxlen=RATE_FRAMES + 1)
        """Connections per server, one entry per frame."""
        self._sessions: deque[int] = deque(maxlen=LOAD_HISTORY)
        """Finished sessions, one entry per frame."""
        self._shows_config = False

    def add_event(self, event: DemoEvent) -> None:
        self._events.append(event)

    async def run(self, scene: DemoScene) -> None:
        """Draw and handle keys until cancelled. Restores the terminal."""
        with single_keys(sys.stdin.fileno()), Live(console=self._console, screen=True, auto_refresh=False) as screen:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_keys, scene)
                while True:
                    self._measure(scene)
                    screen.update(self._picture(scene), refresh=True)
                    await trio.sleep(FRAME_SECONDS)

    async def _read_keys(self, scene: DemoScene) -> None:
        async for key in keys(sys.stdin.fileno()):
            await self._handle_key(key, scene)
        scene.over.set()

    async def _handle_key(self, key: str, scene: DemoScene) -> None:
        match key:
            case "q":
                scene.over.set()
            case "r":
                await scene.reload()
            case "c":
                self._shows_config = not self._shows_config
            case _ if key in _server_keys(scene.kind):
                name = scene.kind.servers[int(key) - 1]
                if scene.servers[name].alive:
                    scene.kill(name)
                else:
                    await scene.revive(name)

    def _measure(self, scene: DemoScene) -> None:
        self._totals.append({name: backend.total for name, backend in scene.backends.items()})
        ledger = scene.ledger
        self._sessions.append(ledger.ok + ledger.failed + ledger.cut)

    # Drawing

    def _picture(self, scene: DemoScene) -> Layout:
        if self._shows_config:
            middle = [Layout(_config(scene))]
        else:
            middle = [
                Layout(self._servers(scene), size=len(scene.servers) + 3),
                Layout(self._load(scene), size=4),
                Layout(self._log(scene)),
            ]
        picture = Layout()
        picture.split_column(Layout(_headline(scene), size=1), *middle, Layout(_help(scene.kind), size=1))
        return picture

    def _servers(self, scene: DemoScene) -> Panel:
        table = Table(box=None, expand=True, header_style="dim")
        table.add_column("server", no_wrap=True)
        table.add_column("port", no_wrap=True)
        table.add_column("pid", no_wrap=True)
        table.add_column("weight", justify="right")
        table.add_column("state", no_wrap=True)
        table.add_column("open", justify="right")
        table.add_column("new/s", justify="right")
        table.add_column("why", ratio=1, no_wrap=True)
        for key, (name, backend) in enumerate(scene.backends.items(), start=1):
            server = scene.servers[name]
            style = STATE_STYLES[backend.state]
            table.add_row(
                Text.assemble((f" {key} ", "reverse"), "  ", (name, "bold")),
                str(server.port),
                str(server.pid) if server.alive else Text("dead", style="red"),
                str(backend.weight),
                Text(f"● {backend.state}", style=style),
                str(backend.active),
                f"{self._rate(name):.0f}",
                Text(backend.health.reason, style=style),
            )
        return panel(table, "servers")

    def _rate(self, name: str) -> float:
        """Return the new connections of a server per second."""
        frames = len(self._totals) - 1
        return (self._totals[-1][name] - self._totals[0][name]) / (frames * FRAME_SECONDS) if frames else 0.0

    def _load(self, scene: DemoScene) -> Panel:
        ledger = scene.ledger
        counts = Text.assemble(
            (f" {ledger.ok:,} ok", "bold green"),
            "    ",
            (f"{ledger.failed:,} failed", "bold red" if ledger.failed else "bold green"),
        )
        if ledger.counted == "sessions":
            counts.append(f"    {ledger.cut:,} cut by a kill", style="yellow" if ledger.cut else "dim")
        counts.append(ledger.cache_text.replace(", ", "    "), style="cyan")
        if ledger.failures:
            [(reason, _)] = ledger.failures.most_common(1)
            counts.append(f"    {reason}", style="red")
        counts.no_wrap, counts.overflow = True, "ellipsis"
        finished = [after - before for before, after in pairwise(self._sessions)][-(self._console.width - 6) :]
        ended = Text(f" {curve(finished)}", style="green", no_wrap=True)
        return panel(Group(counts, ended), ledger.counted)

    def _log(self, scene: DemoScene) -> Panel:
        lines = Text("\n", no_wrap=True, overflow="ellipsis").join(
            Text.assemble((f"{each.at:6.1f} s  ", "dim"), (each.text, TONE_STYLES[each.tone]))
            for each in reversed(self._events)
        )
        return panel(lines or _hint(scene), "events, newest first")


def _headline(scene: DemoScene) -> Align:
    text = Text.assemble(
        ("trio-lb", "bold"),
        "  on ",
        (f"http://{scene.address}/", "cyan"),
        "  dashboard ",
        (f"http://{scene.admin}/", "cyan"),
        f"  {scene.elapsed:.0f} s",
    )
    return Align.center(text)


def _hint(scene: DemoScene) -> Text:
    text = Text.assemble(
        " Press ", (" 1 ", "reverse"), f" to kill a server: {scene.kind.on_kill.format(scene.kind.counted[:-1])}.\n",
        " Press ", (" 1 ", "reverse"), " again to restart it: it is restored and gets its share of the load.\n",
    )  # fmt: skip
    for url, shows in scene.urls:
        text.append(f" {url}", "cyan").append(f"  {shows}\n")
    return text


def _config(scene: DemoScene) -> Panel:
    return panel(Syntax(scene.config, "toml", theme="ansi_dark", background_color="default"), "demo.toml")


def _server_keys(kind: DemoKind) -> list[str]:
    return [str(number) for number in range(1, len(kind.servers) + 1)]


def _help(kind: DemoKind) -> Align:
    keys = " ".join(_server_keys(kind))
    return key_line({keys: "kill -9 / restart", "r": f"reload {kind.heavier} weight", "c": "config", "q": "quit"})
