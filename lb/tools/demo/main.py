"""``lb demo``: choice of the view, the scripted kill, the exit code."""
# ruff: noqa: T201 - prints by design

from __future__ import annotations

import importlib.util
import math
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from lb.console.terminal import is_terminal
from lb.net.signals import signals_unblocked
from lb.tools.demo.base_scene import DemoEvent
from lb.tools.demo.kinds import DEMOS, DemoKind
from lb.tools.demo.plain import PlainView
from lb.tools.demo.process import ServerProcess
from lb.tools.demo.scene import DemoScene

if TYPE_CHECKING:
    from lb.tools.demo.broadcast_scene import BroadcastScene

__all__ = ["demo"]

LONG_ENOUGH = 4.0
"""Minimum seconds of a demo that must show ejection and restore. Checks need well under one second for either."""


LIVE_LONG_ENOUGH = 30.0
"""The same for a live stream: two kills, and after each the segments that a player begins with."""


class DemoView(Protocol):
    """A view of the demo."""

    def add_event(self, event: DemoEvent) -> None:
        """Show an event."""

    async def run(self, scene: DemoScene) -> None:
        """Show the demo until cancelled."""


class BroadcastView(Protocol):
    """A view of the live demo."""

    def add_event(self, event: DemoEvent) -> None:
        """Show an event."""

    async def run(self, scene: BroadcastScene) -> None:
        """Show the demo until cancelled."""


class Playable(Protocol):
    """A demo without its view."""

    over: trio.Event

    @property
    def servers(self) -> Mapping[str, ServerProcess]:
        """By name."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run until ``over`` is set."""

    async def revive(self, name: str) -> None:
        """Restart a server that is dead."""


def demo(name: str, seconds: float | None) -> int:
    """Run a demo of ``DEMOS``, ``forward`` or ``live`` for this time, or until it is stopped; return the exit code.

    0 success; 1 if a session, a request or a step failed, or a server was not ejected or restored; 2 bad usage; 130
    after Ctrl-C.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        print(f"lb: --seconds must be more than 0 and finite, not {seconds:g}", file=sys.stderr)
        return 2
    if name == "forward":
        return trio.run(_forward_demo, seconds)
    if name == "live":
        if importlib.util.find_spec("av") is None:
            print("lb: this demo needs PyAV: pip install 'trio-lb[media]'", file=sys.stderr)
            return 2
        return trio.run(_live_demo, seconds)
    return trio.run(_demo, DEMOS[name], seconds)


async def _demo(kind: DemoKind, seconds: float | None) -> int:
    view = _view()
    scene = DemoScene(kind, view.add_event)
    script = [] if seconds is None else [partial(_run_script, scene, seconds)]
    interrupted = await _play(scene, partial(view.run, scene), *script)
    scripted = seconds is not None and seconds >= LONG_ENOUGH and scene.elapsed >= seconds
    problems = scene.ledger.problems(kind.servers[0] if scripted else None)
    print(scene.ledger, *problems, sep="\n", flush=True)
    return _code(problems, interrupted=interrupted)


async def _forward_demo(seconds: float | None) -> int:
    from lb.tools.demo.forward_scene import ForwardScene  # noqa: PLC0415 - loads dnspython, which takes 60 ms
    from lb.tools.demo.forward_view import ForwardView  # noqa: PLC0415 - the same

    view = ForwardView()
    scene = ForwardScene(view.add_event)

    async def show() -> None:
        view.introduce(scene)
        await scene.show()

    async def end() -> None:
        await trio.sleep(math.inf if seconds is None else seconds)
        scene.over.set()

    interrupted = await _play(scene, show, end)
    print(f"steps: {scene.shown} shown, {len(scene.problems)} failed", *scene.problems, sep="\n", flush=True)
    return _code(scene.problems, interrupted=interrupted)


async def _live_demo(seconds: float | None) -> int:
    from lb.tools.demo.broadcast_scene import BroadcastScene  # noqa: PLC0415 - few demos are of this kind

    view = _broadcast_view()
    scene = BroadcastScene(view.add_event)

    async def script(seconds: float) -> None:
        with trio.move_on_after(seconds):
            await scene.show()
            await trio.sleep_forever()
        scene.over.set()

    tasks = [] if seconds is None else [partial(script, seconds)]
    interrupted = await _play(scene, partial(view.run, scene), *tasks)
    shown = seconds is not None and seconds >= LIVE_LONG_ENOUGH and scene.elapsed >= seconds
    problems = scene.problems(shown=shown)
    print(scene.summary(), *problems, sep="\n", flush=True)
    return _code(problems, interrupted=interrupted)


async def _play(scene: Playable, *tasks: Callable[[], Awaitable[object]]) -> bool:
    """Run a demo, with these tasks, until it is over. Return whether Ctrl-C has ended it."""
    stopped_by: list[int] = []
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) as signals,
        signals_unblocked(),
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(scene.run)
            async with trio.open_nursery() as until_over:
                until_over.start_soon(_handle_signals, signals, scene, stopped_by.append)
                for task in tasks:
                    until_over.start_soon(task)
                await scene.over.wait()
                until_over.cancel_scope.cancel()
    return signal.SIGINT in stopped_by


def _code(problems: Sequence[str], *, interrupted: bool) -> int:
    if interrupted:
        return 128 + signal.SIGINT
    return 1 if problems else 0


def _view() -> DemoView:
    if is_terminal():
        from lb.tools.demo.live import LiveView  # noqa: PLC0415 - imports rich, which the plain view does not need

        return LiveView()
    return PlainView()


def _broadcast_view() -> BroadcastView:
    if is_terminal():
        from lb.tools.demo.broadcast_screen import BroadcastLiveView  # noqa: PLC0415 - as above

        return BroadcastLiveView()
    from lb.tools.demo.broadcast_view import BroadcastPlainView  # noqa: PLC0415 - few demos are of this kind

    return BroadcastPlainView()


async def _handle_signals(signals: AsyncIterator[int], scene: Playable, stopped_by: Callable[[int], None]) -> None:
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
