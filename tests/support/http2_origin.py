"""A server of HTTP/2 for tests, by the library h2: a function answers each request, in a task of its own."""

from __future__ import annotations

import math
import struct
from contextlib import asynccontextmanager, suppress

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

from tests.support.balancer import PATIENCE
from tests.support.http_client import Headed
from tests.support.servers import reset_at_close, serving

__all__ = ["Asked", "Http2Origin", "http2_origin"]


class Asked(Headed):
    """A request, and its response. Names are in lower case."""

    def __init__(self, peer, stream_id, headers):
        self.peer = peer
        self.id = stream_id
        self.headers = headers
        self.trailers = []
        self.received = bytearray()
        self.ended = self.reset_with = None
        self._window = trio.Event()
        self.changed = trio.Event()

    @property
    def path(self):
        return self[":path"]

    async def until(self, condition):
        """Wait until something has come that makes the condition true."""
        with trio.fail_after(PATIENCE):
            while not condition():
                await self.changed.wait()

    async def body(self):
        """Wait for the end of the request. Return its body."""
        await self.until(lambda: self.ended)
        return bytes(self.received)

    def note(self):
        self.changed.set()
        self.changed = trio.Event()

    def window_opened(self):
        self._window.set()
        self._window = trio.Event()

    async def head(self, status=200, *fields, end=False):
        await self.peer.send(self.peer.h2.send_headers, self.id, [(":status", str(status)), *fields], end)

    async def data(self, data, *, end=False):
        """Send a part of the body, as the windows allow."""
        h2 = self.peer.h2
        while data:
            room = min(h2.local_flow_control_window(self.id), h2.max_outbound_frame_size)
            if not room:
                await self._window.wait()
                continue
            part, data = data[:room], data[room:]
            await self.peer.send(h2.send_data, self.id, part, end and not data)

    async def answer(self, body=b"", *fields, status=200, trailers=()):
        """Send a whole response."""
        await self.head(status, *fields, end=not (body or trailers))
        if body:
            await self.data(body, end=not trailers)
        if trailers:
            await self.peer.send(self.peer.h2.send_headers, self.id, [*trailers], True)

    async def reset(self, code=h2.errors.ErrorCodes.INTERNAL_ERROR):
        await self.peer.send(self.peer.h2.reset_stream, self.id, code)


class Peer:
    """A connection."""

    def __init__(self, origin, stream):
        self.origin = origin
        self.stream = stream
        self.asked = {}
        self.last = math.inf
        self._sending = trio.Lock()
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=origin.settings)

    async def send(self, call, *args):
        """Call the state machine, and send what it says. Of a stream that is gone, nothing is."""
        async with self._sending:
            with suppress(h2.exceptions.StreamClosedError, trio.BrokenResourceError, trio.ClosedResourceError):
                call(*args)
                await self.stream.send_all(self.h2.data_to_send())

    async def go_away(self, last):
        """Send GOAWAY: streams above ``last`` are not looked at. The library could do nothing more after its own."""
        self.last = last
        await self.send_raw(b"\0\0\x08\7\0" + bytes(4) + struct.pack(">II", last, 0))

    async def send_raw(self, data):
        async with self._sending:
            await self.stream.send_all(data)

    async def cut(self):
        """End the connection, as a server that dies."""
        reset_at_close(self.stream)
        await self.stream.aclose()

    async def serve(self):
        await self.send(self.h2.initiate_connection)
        async with trio.open_nursery() as nursery:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async for data in self.stream:
                    self.origin.received += len(data)
                    for event in self.h2.receive_data(data):
                        self._take(event, nursery)
                    await self.send(lambda: None)
            for asked in self.asked.values():
                asked.reset_with = asked.reset_with or "lost"
                asked.note()
            nursery.cancel_scope.cancel()

    def _take(self, event, nursery):
        asked = self.asked.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RequestReceived) and event.stream_id <= self.last:
            asked = self.asked[event.stream_id] = Asked(self, event.stream_id, event.headers)
            self.origin.came(asked)
            nursery.start_soon(self.origin.answer, asked)
        elif asked is not None:
            self._change(asked, event)
            asked.note()
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for each in self.asked.values():
                each.window_opened()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.origin.ended.set()

    def _change(self, asked, event):
        match event:
            case h2.events.DataReceived():
                asked.received += event.data
                if self.origin.reads:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                asked.trailers = event.headers
            case h2.events.StreamEnded():
                asked.ended = True
            case h2.events.StreamReset():
                asked.reset_with = event.error_code
            case h2.events.WindowUpdated():
                asked.window_opened()


class Http2Origin:
    """``answer(asked)`` answers. ``max_streams`` are allowed; ``reads`` = False opens no windows."""

    def __init__(self, answer, name="s", max_streams=100):
        self.name = name
        self.answer = answer
        self.settings = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: max_streams}
        self.requests = []
        self.peers = []
        self.reads = True
        self.received = 0
        self.ended = trio.Event()
        """A client has sent GOAWAY."""
        self.address = None
        self._came = trio.Event()

    @property
    def connections(self):
        return len(self.peers)

    def came(self, asked):
        self.requests.append(asked)
        self._came.set()
        self._came = trio.Event()

    async def has(self, count):
        """Wait until so many requests have come."""
        with trio.fail_after(PATIENCE):
            while len(self.requests) < count:
                await self._came.wait()

    async def serve(self, stream):
        peer = Peer(self, stream)
        self.peers.append(peer)
        async with stream:
            await peer.serve()


@asynccontextmanager
async def http2_origin(answer, name="s", *, max_streams=100, ssl_context=None):
    origin = Http2Origin(answer, name, max_streams)

    async def handler(stream):
        if ssl_context is not None:
            stream = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
        await origin.serve(stream)

    async with serving(handler, name=name) as served:
        origin.address = served.address
        yield origin
