"""A connection to another server of RTMP, that a stream is pushed to or pulled from."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import trio

from lb.media.player import send_in_time
from lb.media.rtmp.client_session import ClientEvent, RtmpClientSession, StreamDenied, StreamFinished, StreamStarted
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.handshake import NOISE_BYTES
from lb.media.rtmp_dialer import RtmpDialer
from lb.model.address import Client
from lb.model.rtmp_address import RtmpAddress
from lb.net.client_stream import error_behind
from lb.net.errors import describe_error
from lb.net.gathering import gather

__all__ = ["RelayError", "RtmpClient", "pause_after", "rtmp_client"]

_READ = 64 * 1024
_LONGEST_TEXT = 100
_CLOSE_TIMEOUT = 1.0
"""Seconds for the end of TLS: a peer that takes nothing takes that neither."""


class RelayError(Exception):
    """There is no stream to or from the other server. The text is for people and has no key in it.

    ``denied``: the server is there, and does not let this one in.
    """

    def __init__(self, text: str, *, denied: bool = False) -> None:
        super().__init__(text)
        self.denied = denied


class RtmpClient:
    """The connection. ``session`` sends what :meth:`flush` then puts on its way."""

    def __init__(self, stream: trio.abc.Stream, peer: Client, session: RtmpClientSession) -> None:
        self.stream = stream
        self.peer = peer
        self.session = session
        self.is_silent = False
        """The other server has sent nothing of the stream for too long."""
        self._has_more = False
        """The last read was a full one: there is probably more to read at once."""

    async def start(self) -> list[ClientEvent]:
        """Wait until the other server lets this one in. Return what has come then. Raises :class:`RelayError`."""
        events: list[ClientEvent] = []
        while not events:
            await self.flush()
            events = await self.receive()
        first, *others = events
        if isinstance(first, StreamStarted):
            await self.flush()
            return others
        raise _ended(first)

    async def receive(self) -> list[ClientEvent]:
        """Return what has come with the next bytes; the end of the stream is the last. Raises OSError and the like."""
        session = self.session
        with trio.move_on_at(session.deadline):
            data = await self.stream.receive_some(_READ)
            if not data:
                raise RelayError("the connection was closed")
            self._has_more = len(data) == _READ
            return session.receive(bytes(data), trio.current_time())
        self.is_silent = True
        return session.expired(trio.current_time())

    async def receive_gathered(self) -> list[ClientEvent]:
        """Like :meth:`receive`, but let bytes gather before."""
        if not self._has_more:
            await gather()
        return await self.receive()

    async def flush(self) -> None:
        """Send what is outgoing."""
        await send_in_time(self.stream, self.session.outgoing())

    async def until_ended(self) -> None:
        """Read what the other server says to a publisher, mostly nothing. Raises RelayError when it ends the stream.

        What there is to say to that, such as pongs, goes with the next frame.
        """
        while True:
            for event in await self.receive():
                if isinstance(event, StreamFinished | StreamDenied | ProtocolError):
                    raise _ended(event)


def _ended(event: ClientEvent) -> RelayError:
    if isinstance(event, StreamDenied | StreamFinished):
        return RelayError(event.text, denied=isinstance(event, StreamDenied))
    return RelayError(str(event))


@asynccontextmanager
async def rtmp_client(
    dialer: RtmpDialer, address: RtmpAddress, purpose: Literal["publish", "play"]
) -> AsyncIterator[RtmpClient]:
    """Connect to a server. Raises :class:`RelayError` in place of all errors of the network, also from the block."""
    try:
        stream, peer = await dialer.connect(address)
        session = RtmpClientSession(address, purpose, os.urandom(NOISE_BYTES), trio.current_time())
        try:
            yield RtmpClient(stream, peer, session)
        finally:
            with trio.move_on_after(_CLOSE_TIMEOUT):
                await stream.aclose()
    except OSError as error:
        raise RelayError(describe_error(error)) from error
    except trio.BrokenResourceError as error:
        raise RelayError(describe_error(error_behind(error))) from error
    except RelayError as error:
        raise RelayError(_without_key(str(error), address.name), denied=error.denied) from error


def pause_after(failures: int, pauses: Sequence[float]) -> float:
    """Return the seconds before the next attempt after so many failures in a row, at least one.

    It is half of its pause up to all: those of many streams do not meet.
    """
    return pauses[min(failures, len(pauses)) - 1] * random.uniform(0.5, 1.0)  # noqa: S311 - spreads attempts


def _without_key(text: str, name: str) -> str:
    """Return what a server says, short and on a line, without what it was told."""
    bare, _, arguments = name.partition("?")
    for part in (name, arguments, *(each.partition("=")[2] for each in arguments.split("&")), bare):
        text = text.replace(part, "…") if part else text
    line = "".join(each if each.isprintable() else " " for each in text)
    return line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]}…"
