"""``lb demo``: which view, which script, which exit code."""
# ruff: noqa: T201 - prints by design

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import trio

from lb.demo.plain import PlainView
from lb.demo.stage import NAMES, Happening, Stage
from lb.operate.terminal import is_terminal

__all__ = ["demo"]

VICTIM = NAMES[0]
LONG_ENOUGH = 4.0
"""Seconds of a demo in which ejection and return must be seen: checks need well under one for either."""


class View(Protocol):
    """What the audience sees."""

    def tell(self, happening: Happening) -> None:
        """Something has happened."""

    async def run(self, stage: Stage) -> None:
        """Show the stage until cancelled."""


def demo(seconds: float | None) -> int:
    """Run the demo for so long, or until told to stop; returns the exit code.

    0 fine; 1 if a session failed or the balancer did not do its job; 2 bad usage; 130 after Ctrl-C.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        print(f"--seconds must be more than 0 and finite, not {seconds:g}", file=sys.stderr)
        return 2
    try:
        return trio.run(_demo, seconds)
    except* BrokenPipeError:  # nobody reads what we print, as in `lb demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


async def _demo(seconds: float | None) -> int:
    view = _view()
    stage = Stage(view.tell)
    stopped_by: list[int] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(stage.run)
            async with trio.open_nursery() as until_over:
                until_over.start_soon(view.run, stage)
                until_over.start_soon(_obey, signals, stage, stopped_by.append)
                if seconds is not None:
                    until_over.start_soon(_play, stage, seconds)
                await stage.over.wait()
                until_over.cancel_scope.cancel()
    played = seconds is not None and seconds >= LONG_ENOUGH and stage.elapsed >= seconds
    problems = stage.ledger.problems(VICTIM if played else None)
    print(stage.ledger, *problems, sep="\n", flush=True)
    if signal.SIGINT in stopped_by:
        return 128 + signal.SIGINT
    return 1 if problems else 0


def _view() -> View:
    if is_terminal():
        from lb.demo.live import LiveView  # noqa: PLC0415 - rich is needed nowhere else

        return LiveView()
    return PlainView()


async def _obey(signals: AsyncIterator[int], stage: Stage, stopped_by: Callable[[int], None]) -> None:
    async for number in signals:
        if number == signal.SIGUSR1:
            for name in stage.servers:
                await stage.revive(name)
        else:
            stopped_by(number)
            stage.over.set()


async def _play(stage: Stage, seconds: float) -> None:
    """Kill and revive a server on the way, and end."""
    start = trio.current_time()
    await trio.sleep_until(start + seconds / 4)
    stage.kill(VICTIM)
    await trio.sleep_until(start + seconds / 2)
    await stage.revive(VICTIM)
    await trio.sleep_until(start + seconds)
    stage.over.set()
