"""The demo on a terminal: a picture that is redrawn, and keys."""

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

from lb.demo.stage import HEAVIER, NAMES, Happening, Stage
from lb.operate.screen import STATE_STYLES, curve, key_line, panel
from lb.operate.terminal import keys, single_keys

__all__ = ["LiveView"]

FRAME = 0.2
"""Seconds between two pictures."""
WINDOW = 5
"""Frames over which a rate is measured."""
HISTORY = 300
"""Frames that the curve of the load can show."""
TONE_STYLES = {"good": "green", "bad": "red", "plain": "default"}


class LiveView:
    """Shows servers, sessions and what happens; kills, revives and reloads at the press of a key."""

    def __init__(self) -> None:
        self._console = Console()
        self._happenings: deque[Happening] = deque(maxlen=100)
        self._totals: deque[dict[str, int]] = deque(maxlen=WINDOW + 1)
        """Connections per server, a frame each."""
        self._sessions: deque[int] = deque(maxlen=HISTORY)
        """Sessions that were over, a frame each."""
        self._shows_config = False

    def tell(self, happening: Happening) -> None:
        self._happenings.append(happening)

    async def run(self, stage: Stage) -> None:
        """Show, and obey keys, until cancelled; leaves the terminal as it was."""
        with single_keys(sys.stdin.fileno()), Live(console=self._console, screen=True, auto_refresh=False) as screen:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey_keys, stage)
                while True:
                    self._measure(stage)
                    screen.update(self._picture(stage), refresh=True)
                    await trio.sleep(FRAME)

    async def _obey_keys(self, stage: Stage) -> None:
        async for key in keys(sys.stdin.fileno()):
            await self._obey(key, stage)
        stage.over.set()

    async def _obey(self, key: str, stage: Stage) -> None:
        match key:
            case "q":
                stage.over.set()
            case "r":
                await stage.reload()
            case "c":
                self._shows_config = not self._shows_config
            case "1" | "2" | "3":
                name = NAMES[int(key) - 1]
                if stage.servers[name].alive:
                    stage.kill(name)
                else:
                    await stage.revive(name)

    def _measure(self, stage: Stage) -> None:
        self._totals.append({name: backend.total for name, backend in stage.backends.items()})
        ledger = stage.ledger
        self._sessions.append(ledger.ok + ledger.failed + ledger.cut)

    # The picture

    def _picture(self, stage: Stage) -> Layout:
        if self._shows_config:
            middle = [Layout(_config(stage))]
        else:
            middle = [
                Layout(self._servers(stage), size=len(NAMES) + 3),
                Layout(self._load(stage), size=4),
                Layout(self._log()),
            ]
        picture = Layout()
        picture.split_column(Layout(_headline(stage), size=1), *middle, Layout(_help(), size=1))
        return picture

    def _servers(self, stage: Stage) -> Panel:
        table = Table(box=None, expand=True, header_style="dim")
        table.add_column("server", no_wrap=True)
        table.add_column("port", no_wrap=True)
        table.add_column("pid", no_wrap=True)
        table.add_column("weight", justify="right")
        table.add_column("state", no_wrap=True)
        table.add_column("open", justify="right")
        table.add_column("new/s", justify="right")
        table.add_column("why", ratio=1, no_wrap=True)
        for key, (name, backend) in enumerate(stage.backends.items(), start=1):
            server = stage.servers[name]
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
        return panel(table, f"servers ({stage.balancer.pools['demo'].spec.strategy})")

    def _rate(self, name: str) -> float:
        """New connections to a server, per second."""
        frames = len(self._totals) - 1
        return (self._totals[-1][name] - self._totals[0][name]) / (frames * FRAME) if frames else 0.0

    def _load(self, stage: Stage) -> Panel:
        ledger = stage.ledger
        counts = Text.assemble(
            (f" {ledger.ok:,} ok", "bold green"),
            "    ",
            (f"{ledger.failed:,} failed", "bold red" if ledger.failed else "bold green"),
            "    ",
            (f"{ledger.cut:,} cut by the kill", "yellow" if ledger.cut else "dim"),
        )
        if ledger.failures:
            [(reason, _)] = ledger.failures.most_common(1)
            counts.append(f"    {reason}", style="red")
        counts.no_wrap, counts.overflow = True, "ellipsis"
        finished = [after - before for before, after in pairwise(self._sessions)][-(self._console.width - 6) :]
        ended = Text(f" {curve(finished)}", style="green", no_wrap=True)
        return panel(Group(counts, ended), "sessions")

    def _log(self) -> Panel:
        lines = Text("\n", no_wrap=True, overflow="ellipsis").join(
            Text.assemble((f"{each.at:6.1f} s  ", "dim"), (each.text, TONE_STYLES[each.tone]))
            for each in reversed(self._happenings)
        )
        return panel(lines or _hint(), "what happened, the latest first")


def _headline(stage: Stage) -> Align:
    text = Text.assemble(
        ("trio-lb", "bold"),
        "  on ",
        (stage.address, "cyan"),
        "  dashboard ",
        (f"http://{stage.admin}/", "cyan"),
        f"  {stage.elapsed:.0f} s",
    )
    return Align.center(text)


def _hint() -> Text:
    return Text.assemble(
        " Press ", (" 1 ", "reverse"), " to kill a server: it is ejected, and no session fails.\n",
        " Press ", (" 1 ", "reverse"), " again to start it: it comes back, and gets its share.",
    )  # fmt: skip


def _config(stage: Stage) -> Panel:
    return panel(Syntax(stage.config, "toml", theme="ansi_dark", background_color="default"), "demo.toml")


def _help() -> Align:
    return key_line({"1 2 3": "kill -9 / revive", "r": f"reload {HEAVIER}'s weight", "c": "config", "q": "quit"})
