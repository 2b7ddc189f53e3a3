"""A small RTMP client over :class:`lb.media.rtmp.client_session.RtmpClientSession`."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, suppress

import trio

from lb.media.rtmp.client_session import RtmpClientSession, StreamStarted
from lb.media.rtmp.handshake import NOISE_BYTES
from lb.media.rtmp.tracks import RtmpFrame, TrackConfig
from lb.model.rtmp_address import read_rtmp_address
from tests.support.balancer import PATIENCE, connect

__all__ = ["RtmpClient", "asking", "rtmp_client"]


class RtmpClient:
    """``events`` are all that have come."""

    def __init__(self, stream, session):
        self.session = session
        self.events = []
        self._stream = stream
        self._changed = trio.Event()
        self._has_ended = trio.Event()
        self.may_read = trio.Event()
        """Another event, for a while, makes a slow client."""
        self.may_read.set()

    @property
    def frames(self):
        return [event for event in self.events if isinstance(event, RtmpFrame)]

    @property
    def configs(self):
        return [event for event in self.events if isinstance(event, TrackConfig)]

    async def run(self):
        await self.flush()
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            async for data in self._stream:
                await self.may_read.wait()
                self.events += self.session.receive(data, trio.current_time())
                self._changed.set()
                self._changed = trio.Event()
                await self.flush()
        self._has_ended.set()
        await self._stream.aclose()

    async def ended(self):
        """Wait until the server has closed the connection."""
        with trio.fail_after(PATIENCE):
            await self._has_ended.wait()

    async def flush(self):
        if data := self.session.outgoing():
            await self._stream.send_all(data)

    async def until(self, condition):
        """Wait until ``condition(self)`` is true."""
        with trio.fail_after(PATIENCE):
            while not condition(self):
                await self._changed.wait()

    async def leave(self):
        self.session.leave()
        await self.flush()


@asynccontextmanager
async def asking(url, purpose):
    """Run a client. The block starts when it has connected, or asks; the server may refuse it."""
    address = read_rtmp_address(url)
    async with trio.open_nursery() as nursery, await connect(address.port, address.host) as stream:
        session = RtmpClientSession(address, purpose, os.urandom(NOISE_BYTES), trio.current_time())
        client = RtmpClient(stream, session)
        nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def rtmp_client(url, purpose):
    """Run a client. The block starts when the server has let it in."""
    async with asking(url, purpose) as client:
        await client.until(lambda client: client.events)
        assert client.events.pop(0) == StreamStarted()
        yield client
