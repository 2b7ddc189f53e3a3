"""``lb top``: a running balancer on a terminal, looked at and steered over its admin endpoint."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import trio
from rich.console import Console
from rich.live import Live

from lb.operate.ctl_client import AdminClient, AdminError
from lb.operate.ctl_endpoint import BAD_USAGE, OK, asking, complain
from lb.operate.ctl_words import Json
from lb.operate.terminal import is_terminal, keys, single_keys
from lb.operate.top_picture import picture
from lb.operate.top_view import Order, TopView

__all__ = ["top"]

INTERVAL = 1.0
"""Seconds between two questions, if no event comes before."""
PAUSE = 0.2
"""Seconds that pass at least, however many events come: nobody reads faster, and each answer is work."""
PATIENCE = 3.0
"""Seconds without an answer until the screen says so."""

Result = TypeVar("Result")


def top(options: argparse.Namespace) -> int:
    """Show until told to stop; returns the exit code: 0; 1 if the balancer cannot be asked at first; 2 bad usage."""
    if not is_terminal():
        return complain(BAD_USAGE, "lb: lb top needs a terminal; lb ctl tells the same without one")
    return asking(options, _watch)


def _watch(client: AdminClient) -> int:
    view = TopView(str(client.address))
    view.learn(client.status())
    trio.run(Top(client, view).run)
    return OK


class Top:
    """Asks, listens, draws, and does what the keys say."""

    def __init__(self, client: AdminClient, view: TopView) -> None:
        self._client = client
        self._view = view
        self._console = Console()
        self._screen = Live(console=self._console, screen=True, auto_refresh=False)
        self._news = trio.Event()
        """Set when there is reason to ask before it is time."""
        self._answered = trio.Event()
        """Set, and replaced, at each answer."""

    async def run(self) -> None:
        """Until a key or a signal ends it; leaves the terminal as it was."""
        with (
            trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGWINCH) as signals,
            single_keys(sys.stdin.fileno()),
            self._screen,
        ):
            self._draw()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ask)
                nursery.start_soon(self._listen)
                nursery.start_soon(self._obey_keys, nursery)
                nursery.start_soon(self._obey_signals, signals, nursery.cancel_scope)

    def _draw(self) -> None:
        width, height = self._console.size
        self._screen.update(picture(self._view, width, height), refresh=True)

    # Asking

    async def _ask(self) -> None:
        while True:
            if not self._view.paused:
                await self._ask_once()
                self._draw()
            await trio.sleep(PAUSE)
            with trio.move_on_after(INTERVAL - PAUSE):
                await self._news.wait()
            self._news = trio.Event()

    async def _ask_once(self) -> None:
        try:
            with trio.fail_after(PATIENCE):
                self._view.learn(await _in_thread(self._client.status))
        except AdminError as error:
            self._view.lose(str(error))
        except trio.TooSlowError:
            self._view.lose(f"nothing for {PATIENCE:g} s")
        else:
            self._answered.set()
            self._answered = trio.Event()

    async def _listen(self) -> None:
        """Hear the events as they come, and those that are kept. Again, once a balancer that went away has returned."""
        while True:
            self._view.forget_events()
            try:
                await _in_thread(self._hear_all)
            except AdminError:
                self._news.set()  # why, the next question finds out
                await self._answered.wait()

    def _hear_all(self) -> None:
        for _, event in self._client.events(after=0):
            trio.from_thread.run_sync(self._hear, event)

    def _hear(self, event: Json) -> None:
        self._view.hear(event)
        self._news.set()

    # Obeying

    async def _obey_keys(self, nursery: trio.Nursery) -> None:
        async for key in keys(sys.stdin.fileno()):
            if key == "q":
                break
            order = self._view.press(key)
            if order is not None:
                nursery.start_soon(self._do, order)
            if not self._view.paused:
                self._news.set()
            self._draw()
        nursery.cancel_scope.cancel()

    async def _do(self, order: Order) -> None:
        try:
            answer = await _in_thread(
                lambda: self._client.post("pools", order.pool, "servers", order.server, order.action)
            )
        except AdminError as error:
            self._view.said = f"{order.pool}/{order.server}: {error}"
        else:
            self._view.said = f"{order.pool}/{order.server}: {answer['state']}, weight {answer['weight']}"
        self._news.set()
        self._draw()

    async def _obey_signals(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            if number == signal.SIGWINCH:
                self._draw()
            else:
                scope.cancel()


async def _in_thread(ask: Callable[[], Result]) -> Result:
    """One that waits for an answer when all is over waits in vain, and ends with the process."""
    return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
