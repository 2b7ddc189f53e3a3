"""A running stream on its way to another server, to which it is connected again whenever that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import trio

from lb.events import Event, StreamPushed, StreamPushFailed
from lb.media.player import PlayedItem, Player
from lb.media.rtmp_client import RelayError, pause_after, rtmp_client
from lb.media.rtmp_dialer import RtmpDialer
from lb.model.rtmp_address import RtmpAddress
from lb.model.stream_status import PushStatus

__all__ = ["Push", "PushedStream"]

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before the next connect: after the first failure, the second, and so on; half of it up to all."""
_LONG_LIFE = 30.0
"""Seconds after which a connection that ends counts as the first failure."""
_LAST_FRAMES = 5.0
"""Seconds that a target has for what is queued when the stream ends."""


class PushedStream(Protocol):
    """A stream that has a publisher."""

    name: str

    def greet(self, player: Player) -> None:
        """Send this one what it needs before frames."""


class Push:
    """One target of one stream, while it has one publisher."""

    def __init__(
        self, target: RtmpAddress, stream: PushedStream, dialer: RtmpDialer, emit: Callable[[Event], None]
    ) -> None:
        self._target = target
        self._stream = stream
        self._dialer = dialer
        self._emit = emit
        self._stopped = trio.Event()
        self._player: Player | None = None
        """While the target is connected."""
        self._state: Literal["connecting", "live", "failed"] = "connecting"
        self._error = ""

    @property
    def status(self) -> PushStatus:
        return PushStatus(self._target.app_url, self._state, self._error if self._state == "failed" else "")

    def send(self, item: PlayedItem) -> None:
        """Send what comes of the stream, if the target is connected."""
        if self._player is not None:
            self._player.send(item)

    def stop(self) -> None:
        """The stream has ended, or is no longer to be sent there."""
        self._stopped.set()
        if self._player is not None:
            self._player.end("the stream has ended")

    async def run(self) -> None:
        """Send the stream until :meth:`stop`, and for a moment after it what is queued."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_sending)
            await self._stopped.wait()
            nursery.cancel_scope.deadline = trio.current_time() + (_LAST_FRAMES if self._player is not None else 0.0)

    async def _keep_sending(self) -> None:
        failures = 0
        while True:
            began = trio.current_time()
            try:
                await self._send()
            except RelayError as error:
                self._failed(str(error))
            if self._stopped.is_set():
                return
            failures = 1 if trio.current_time() - began > _LONG_LIFE else failures + 1
            await trio.sleep(pause_after(failures, _PAUSES))

    async def _send(self) -> None:
        """Send the stream over one connection until it ends. Raises RelayError."""
        async with rtmp_client(self._dialer, self._target, "publish") as client:
            await client.start()
            player = self._player = Player(client.session)
            self._stream.greet(player)
            self._works()
            try:
                await _until_first_ends(client.until_ended, lambda: player.run(client.stream))
            finally:
                self._player = None
            client.session.leave()
            await client.flush()

    def _works(self) -> None:
        self._state = "live"
        self._emit(StreamPushed(self._stream.name, self._target.app_url))

    def _failed(self, error: str) -> None:
        if self._state != "failed":
            self._emit(StreamPushFailed(self._stream.name, self._target.app_url, error))
        self._state, self._error = "failed", error


async def _until_first_ends(*steps: Callable[[], Awaitable[None]]) -> None:
    """Do these at the same time until one has ended. Raises its RelayError, OSError or BrokenResourceError."""
    errors: list[Exception] = []
    async with trio.open_nursery() as nursery:

        async def do(step: Callable[[], Awaitable[None]]) -> None:
            try:
                await step()
            except (RelayError, OSError, trio.BrokenResourceError) as error:
                errors.append(error)
            nursery.cancel_scope.cancel()

        for step in steps:
            nursery.start_soon(do, step)
    if errors:
        raise errors[0]
