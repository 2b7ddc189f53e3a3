"""A client of HTTP/2 for tests, on the library ``h2``: several requests at a time, and what else a test wants to send.

The names of fields are in lower case, as HTTP/2 has them.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import ClassVar

import attrs
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio

from tests.support.balancer import PATIENCE, balancer, config, connect
from tests.support.http_client import Headed
from tests.support.tls_peers import client_context

__all__ = ["H2C", "Http2Visitor", "visited", "visiting"]

_OPEN, _GOAWAY = h2.connection.ConnectionState.CLIENT_OPEN, h2.connection.ConnectionInputs.RECV_GOAWAY


class _GoesOn(h2.connection.H2ConnectionStateMachine):
    """The library takes a GOAWAY for the end of the connection, which it is not for the streams that are open."""

    _transitions: ClassVar = {**h2.connection.H2ConnectionStateMachine._transitions, (_OPEN, _GOAWAY): (None, _OPEN)}


H2C = 'mode = "http"\nh2c = true'
"""Lines of a listener: HTTP/2 without TLS."""
WINDOW = 1 << 20
"""Bytes of bodies that the client takes at a time, unless a test says less."""


@attrs.define
class Http2Answer(Headed):
    """The response on one stream so far."""

    interim: list = attrs.Factory(list)
    headers: list = attrs.Factory(list)
    body: bytearray = attrs.Factory(bytearray)
    trailers: list = attrs.Factory(list)
    ended: bool = False
    reset: int | None = None
    """The code of RST_STREAM."""

    @property
    def status(self):
        return int(self[b":status"])


class Http2Visitor:
    """One connection. ``reads``: give the windows back as bytes come."""

    def __init__(self, stream, *, reads=True, window=WINDOW):
        self.stream = stream
        self.reads = reads
        config = h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        initial = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values=initial)
        self.h2.state_machine = _GoesOn()
        self.h2.clear_outbound_data_buffer = lambda: None  # it would drop requests that are about to be sent
        self.answers = {}
        self.goaways = []
        """Codes and last streams."""
        self.events = []
        self.ended = False
        self._came = trio.Event()
        self._sending = trio.StrictFIFOLock()
        self._next = 1

    async def begin(self):
        """Send the preface."""
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(16 * WINDOW)
        await self.flush()

    async def run(self):
        """Read until the end of the connection."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in self.stream:
                try:
                    for event in self.h2.receive_data(bytes(data)):
                        self._take(event)
                except h2.exceptions.ProtocolError as error:
                    self.events.append(error)
                    break
                await self.flush()
                self._notify()
        self.ended = True
        self._notify()

    def _notify(self):
        self._came.set()
        self._came = trio.Event()

    def _take(self, event):
        self.events.append(event)
        answer = self.answers.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((event.error_code, event.last_stream_id, event.additional_data))
        elif answer is None:
            return
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(event.headers)
        elif isinstance(event, h2.events.ResponseReceived):
            answer.headers = event.headers
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.reads and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = event.error_code

    async def flush(self):
        async with self._sending:
            data = self.h2.data_to_send()
            if data:
                await self.stream.send_all(data)

    async def until(self, condition):
        """Wait until ``condition()`` is true."""
        with trio.fail_after(PATIENCE):
            while not condition():
                assert not self.ended, (
                    self.goaways,
                    self.events[-8:],
                    [i for i in self.answers if not self.is_over(i)],
                )
                await self._came.wait()

    def next_stream(self):
        """Return the number of a new stream."""
        stream_id, self._next = self._next, self._next + 2
        self.answers[stream_id] = Http2Answer()
        return stream_id

    async def send(
        self, path="/", *fields, method="GET", authority="lb.example", scheme="http", ends=True, pseudo=None
    ):
        """Send the head of a request. Return its stream."""
        stream_id = self.next_stream()
        heads = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
        self.h2.send_headers(stream_id, [*(pseudo or heads), *fields], end_stream=ends)
        await self.flush()
        return stream_id

    async def send_body(self, stream_id, data, *, ends=True, trailers=()):
        """Send a body, as far as the windows allow, and wait for more of them."""
        while data:
            await self.until(lambda: self.h2.local_flow_control_window(stream_id) or self.is_over(stream_id))
            if self.is_over(stream_id):
                return
            size = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size, len(data))
            self.h2.send_data(stream_id, data[:size])
            data = data[size:]
            await self.flush()
        if trailers:
            self.h2.send_headers(stream_id, trailers, end_stream=True)
        elif ends:
            self.h2.end_stream(stream_id)
        await self.flush()

    def is_over(self, stream_id):
        answer = self.answers[stream_id]
        return answer.ended or answer.reset is not None

    async def answer(self, stream_id):
        """Wait for the end of a response."""
        await self.until(lambda: self.is_over(stream_id))
        return self.answers[stream_id]

    async def ask(self, path="/", *fields, body=None, **options):
        """Send a request, and return its response."""
        stream_id = await self.send(path, *fields, ends=body is None, **options)
        if body is not None:
            with suppress(h2.exceptions.StreamClosedError):  # it was answered before, and no more is wanted
                await self.send_body(stream_id, body)
        return await self.answer(stream_id)

    async def closed(self):
        """Wait until the balancer has ended the connection."""
        with trio.fail_after(PATIENCE):
            while not self.ended:
                await self._came.wait()


@asynccontextmanager
async def visiting(port, *, tls=False, before=b"", **options):
    """Connect to a port; ``before``: bytes that come first."""
    async with await connect(port) as plain:
        stream = plain
        if before:
            await stream.send_all(before)
        if tls:
            context = client_context(alpn=["h2"])
            stream = trio.SSLStream(plain, context, server_hostname="a.example.org", https_compatible=True)
            await stream.do_handshake()
            assert stream.selected_alpn_protocol() == "h2"
        async with trio.open_nursery() as nursery:
            visitor = Http2Visitor(stream, **options)
            await visitor.begin()
            nursery.start_soon(visitor.run)
            yield visitor
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def visited(tmp_path, *servers, listener=H2C, **options):
    """Run a balancer in front of these servers, and connect to it. Yield both."""
    async with (
        balancer(tmp_path, config(*servers, listener=listener, health=None)) as lb,
        visiting(lb.port, **options) as visitor,
    ):
        yield lb, visitor
