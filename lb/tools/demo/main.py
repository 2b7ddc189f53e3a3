"""``lb demo``: choice of the view, the scripted kill, the exit code."""
# ruff: noqa: T201 - prints by design

from __future__ import annotations

import math
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import trio

from lb.console.terminal import is_terminal
from lb.net.signals import signals_unblocked
from lb.tools.demo.kinds import DEMOS, DemoKind
from lb.tools.demo.plain import PlainView
from lb.tools.demo.scene import DemoEvent, DemoScene

__all__ = ["demo"]

LONG_ENOUGH = 4.0
"""Minimum seconds of a demo that must show ejection and restore. Checks need well under one second for either."""


class DemoView(Protocol):
    """A view of the demo."""

    def add_event(self, event: DemoEvent) -> None:
        """Show an event."""

    async def run(self, scene: DemoScene) -> None:
        """Show the demo until cancelled."""


def demo(name: str, seconds: float | None) -> int:
    """Run a demo of ``DEMOS`` for this time, or until it is stopped; return the exit code.

    0 success; 1 if a session or request failed, or a server was not ejected or restored; 2 bad usage; 130 after Ctrl-C.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        print(f"lb: --seconds must be more than 0 and finite, not {seconds:g}", file=sys.stderr)
        return 2
    return trio.run(_demo, DEMOS[name], seconds)


async def _demo(kind: DemoKind, seconds: float | None) -> int:
    view = _view()
    scene = DemoScene(kind, view.add_event)
    stopped_by: list[int] = []
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) as signals,
        signals_unblocked(),
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(scene.run)
            async with trio.open_nursery() as until_over:
                until_over.start_soon(view.run, scene)
                until_over.start_soon(_handle_signals, signals, scene, stopped_by.append)
                if seconds is not None:
                    until_over.start_soon(_run_script, scene, seconds)
                await scene.over.wait()
                until_over.cancel_scope.cancel()
    scripted = seconds is not None and seconds >= LONG_ENOUGH and scene.elapsed >= seconds
    problems = scene.ledger.problems(kind.servers[0] if scripted else None)
    print(scene.ledger, *problems, sep="\n", flush=True)
    if signal.SIGINT in stopped_by:
        return 128 + signal.SIGINT
    return 1 if problems else 0


def _view() -> DemoView:
    if is_terminal():
        from lb.tools.demo.live import LiveView  # noqa: PLC0415 - imports rich, which the plain view does not need

        return LiveView()
    return PlainView()


async def _handle_signals(signals: AsyncIterator[int], scene: DemoScene, stopped_by: Callable[[int], None]) -> None:
    async for number in signals:
        if number == signal.SIGUSR1:
            for name in scene.servers:
                await scene.revive(name)
        else:
            stopped_by(number)
            scene.over.set()


async def _run_script(scene: DemoScene, seconds: float) -> None:
    """Kill a server after a quarter of the time, restart it after half of it, stop at the end."""
    start = trio.current_time()
    await trio.sleep_until(start + seconds / 4)
    victim = scene.kind.servers[0]
    scene.kill(victim)
    await trio.sleep_until(start + seconds / 2)
    await scene.revive(victim)
    await trio.sleep_until(start + seconds)
    scene.over.set()
