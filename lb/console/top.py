"""``lb top``: a live view of a running balancer, over its admin endpoint."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import trio
from rich.console import Console
from rich.live import Live

from lb.console.client import AdminClient, AdminError
from lb.console.endpoint import BAD_USAGE, OK, print_errors, with_client
from lb.console.terminal import is_terminal, keys, single_keys
from lb.console.text import Json
from lb.console.top_picture import picture
from lb.console.top_view import Order, TopView

__all__ = ["top"]

INTERVAL = 1.0
"""Seconds between two requests, if no event arrives earlier."""
REDRAW_PAUSE = 0.2
"""Minimum seconds between two requests, however many events arrive. Each response costs work."""
STALE_AFTER = 3.0
"""Seconds without a response after which the screen shows it."""

Result = TypeVar("Result")


def top(options: argparse.Namespace) -> int:
    """Run ``lb top`` and return the exit code: 0; 1 if the balancer is unreachable at the start; 2 for bad usage."""
    if not is_terminal():
        return print_errors(BAD_USAGE, "lb: top needs a terminal; without one, use lb ctl servers or lb ctl events")
    return with_client(options, _watch)


def _watch(client: AdminClient) -> int:
    view = TopView(str(client.address))
    view.update(client.status())
    trio.run(Top(client, view).run)
    return OK


class Top:
    """Polls the status, reads events and keys, draws."""

    def __init__(self, client: AdminClient, view: TopView) -> None:
        self._client = client
        self._view = view
        self._console = Console()
        self._screen = Live(console=self._console, screen=True, auto_refresh=False)
        self._poll_now = trio.Event()
        """Set to request the status before the interval has passed."""
        self._answered = trio.Event()
        """Set and replaced at each response."""

    async def run(self) -> None:
        """Run until a key or a signal ends it. Restores the terminal."""
        with (
            trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGWINCH) as signals,
            single_keys(sys.stdin.fileno()),
            self._screen,
        ):
            self._draw()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._poll)
                nursery.start_soon(self._read_events)
                nursery.start_soon(self._read_keys, nursery)
                nursery.start_soon(self._handle_signals, signals, nursery.cancel_scope)

    def _draw(self) -> None:
        width, height = self._console.size
        self._screen.update(picture(self._view, width, height), refresh=True)

    # Requests

    async def _poll(self) -> None:
        while True:
            if not self._view.paused:
                await self._poll_once()
                self._draw()
            await trio.sleep(REDRAW_PAUSE)
            with trio.move_on_after(INTERVAL - REDRAW_PAUSE):
                await self._poll_now.wait()
            self._poll_now = trio.Event()

    async def _poll_once(self) -> None:
        try:
            with trio.fail_after(STALE_AFTER):
                self._view.update(await _in_thread(self._client.status))
        except AdminError as error:
            self._view.mark_lost(str(error))
        except trio.TooSlowError:
            self._view.mark_lost(f"no response for {STALE_AFTER:g} s")
        else:
            self._answered.set()
            self._answered = trio.Event()

    async def _read_events(self) -> None:
        """Read the stored events, then new ones. Start again when the balancer is back after it stopped."""
        while True:
            self._view.clear_events()
            try:
                await _in_thread(self._read_stream)
            except AdminError:
                self._poll_now.set()  # the next request finds the reason
                await self._answered.wait()

    def _read_stream(self) -> None:
        for _, event in self._client.events(after=0):
            trio.from_thread.run_sync(self._add_event, event)

    def _add_event(self, event: Json) -> None:
        self._view.add_event(event)
        self._poll_now.set()

    # Keys and signals

    async def _read_keys(self, nursery: trio.Nursery) -> None:
        async for key in keys(sys.stdin.fileno()):
            if key == "q":
                break
            order = self._view.press(key)
            if order is not None:
                nursery.start_soon(self._do, order)
            if not self._view.paused:
                self._poll_now.set()
            self._draw()
        nursery.cancel_scope.cancel()

    async def _do(self, order: Order) -> None:
        try:
            answer = await _in_thread(
                lambda: self._client.post("pools", order.pool, "servers", order.server, order.action)
            )
        except AdminError as error:
            self._view.message = f"{order.pool}/{order.server}: {error}"
        else:
            told = f"; cluster: {answer['cluster']}" if "cluster" in answer else ""
            self._view.message = f"{order.pool}/{order.server}: {answer['state']}, weight {answer['weight']}{told}"
        self._poll_now.set()
        self._draw()

    async def _handle_signals(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            if number == signal.SIGWINCH:
                self._draw()
            else:
                scope.cancel()


async def _in_thread(request: Callable[[], Result]) -> Result:
    """Run a blocking request in a thread. A cancelled request is abandoned; its thread ends with the process."""
    return await trio.to_thread.run_sync(request, abandon_on_cancel=True)
