"""A stream of a client's HTTP/2 connection: it carries one exchange, where a connection of HTTP/1 carries many in turn.

What the client sends of a body waits here until the exchange reads it: only then the client may send as much again.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from lb.events import EndedBy, Reason, RequestReason
from lb.http.carrier import WITHOUT_LENGTH, ExchangeToServe, Framing
from lb.http.exchange import Exchange
from lb.http.fast_path import FastRequest
from lb.http.file_flow import Body, PartsFlow, release_parts
from lb.http.frontend import HttpFrontend
from lb.http.header_edits import FieldChange
from lb.http.http2_blocks import AS_BLOCK, length_block, own_block, response_block
from lb.http.http2_writes import StreamOutput, StreamWrites, add_piece
from lb.http.own_responses import OwnResponses
from lb.http1.body import MessageBody, StreamBody, read_trailers
from lb.http1.field import Field
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.http2.errors import ErrorCode
from lb.http2.field_section import FieldSection
from lb.http2.hpack_writer import encode_status
from lb.http2.stream import Http2Stream
from lb.model.address import Client
from lb.model.connection import LiveConnection
from lb.model.request import HeaderFields
from lb.relay.bandwidth import SharedBucket
from lb.relay.epoll_loop import BUFFER, EpollLoop
from lb.relay.epoll_stream import EpollStream
from lb.tls.layer import Tls

__all__ = ["StreamCarrier", "StreamConnection", "StreamFastRequest"]

_WITHOUT_LENGTH = (*WITHOUT_LENGTH, 304)
"""Statuses of responses that get no Content-Length. A 304 may have one, but some clients then wait for a body."""


class StreamConnection(StreamOutput, Protocol):
    """The connection of streams."""

    id: int
    client: Client
    loop: EpollLoop
    sock: socket.SocketType
    tls: Tls | None
    frontend: HttpFrontend
    destination: Client | None
    tlvs: bytes
    scheme: bytes
    trusted: bool
    forwarded_lines: bytes
    buckets: Sequence[tuple[SharedBucket, SharedBucket]]

    def clock(self) -> float:
        """Return the time in seconds."""

    def new_carrier(self, stream: Http2Stream) -> StreamCarrier | None:
        """Return the carrier of a new exchange. None: the stream was refused."""

    def open_tunnel(
        self, carrier: StreamCarrier, exchange: Exchange, head: ResponseHead, server: EpollStream, rest: bytes
    ) -> None:
        """The server has agreed to another protocol: relay the bytes of the stream. ``rest`` has come behind."""

    def left(self, carrier: StreamCarrier) -> None:
        """The exchange of a stream has ended."""


class StreamTunnel(Protocol):
    """A stream that is relayed."""

    @property
    def bytes_in(self) -> int: ...

    @property
    def bytes_out(self) -> int: ...

    def stop(self) -> None:
        """The exchange has ended."""


class StreamCarrier(StreamWrites, OwnResponses):
    """Implements :class:`lb.proxy.downstream.OpenConnection`, for the server that its exchange has."""

    __slots__ = ("_ends", "_inbound", "_trailers", "body", "connection", "stream", "tunnel")
    connection: StreamConnection
    stream: Http2Stream
    spliced = False
    knows_chunks = False

    def __init__(self, connection: StreamConnection, stream: Http2Stream) -> None:
        super().__init__(connection.loop, connection.sock, connection.tls, 0)
        self.connection = connection
        self.stream = stream
        self.id = connection.id
        self.client: Client = connection.client
        self.forwarded_lines = connection.forwarded_lines
        self.scheme, self.trusted, self.buckets = connection.scheme, connection.trusted, connection.buckets
        self.exchange = None
        self.request_flow = self.response_flow = None
        self.must_close = self.more_comes = False
        self.held = ()
        self.body: StreamBody | None = None
        """The request's body, once the exchange has looked at it."""
        self._inbound: list[bytes | memoryview] = []
        """What has come of it, and was not read: few pieces, as short ones are joined."""
        self.tunnel: StreamTunnel | None = None
        """What the exchange has become."""
        self._ends, self._trailers = False, b""

    @property
    def watched(self) -> None:
        """None: the connection tells when the client has left."""
        return

    @property
    def destination(self) -> Client | None:
        return self.connection.destination

    @property
    def tlvs(self) -> bytes:
        return self.connection.tlvs

    def new_exchange(self, head: RequestHead) -> Exchange:
        return StreamExchange(self, self.connection.frontend, head)

    # The request's body

    def expect_body(self) -> None:
        """A body follows, which may come before the exchange begins."""
        if isinstance(self.exchange, StreamExchange) and self.exchange.head.has_body:
            self.exchange.body = self.body = StreamBody(self.exchange.max_body)

    @property
    def has_input(self) -> bool:
        return bool(self._inbound)

    def data_received(self, data: bytes) -> None:
        """A part of the body has come."""
        self.last_activity = self.turn.now
        exchange = self.exchange
        if not isinstance(exchange, Exchange) or (exchange.body is None and not exchange.head.upgrade):
            self._consume(len(data))  # nobody reads it
            return
        add_piece(self._inbound, data)
        self._go_on_reading()

    def end_received(self, trailers: FieldSection | None = None) -> None:
        """The body has ended."""
        self.last_activity = self.turn.now
        exchange, body = self.exchange, self.body
        if body is None or not isinstance(exchange, StreamExchange):
            return
        if trailers is not None:
            try:
                body.trailers = read_trailers(trailers.fields)
            except MalformedError as error:
                exchange.refuse_body(error.status)
                return
        if not self._inbound:
            body.done = True
        self._go_on_reading()

    def _go_on_reading(self) -> None:
        if self.request_flow is not None:
            self.request_flow.pump()

    def read(self, most: int = BUFFER) -> memoryview | None:
        if not self._inbound:
            return None
        data = self._inbound.pop(0)
        if len(data) > most:
            self._inbound.insert(0, data[most:])
            data = data[:most]
        self._consume(len(data))
        return memoryview(data)

    def take_ahead(self) -> bytes:
        data = b"".join(self._inbound)
        self._inbound.clear()
        if data:
            self._consume(len(data))
        return data

    def _consume(self, count: int) -> None:
        """The client may send as much again."""
        self.connection.core.consumed(self.stream, count)
        self.connection.flush_later()
        if self.body is not None and self.stream.received_end and not self._inbound:
            self.body.done = True

    # Writes

    def write_head(self, head: bytes, *, more: bool) -> None:  # noqa: ARG002 - the connection writes once for all
        self.connection.core.send_headers(self.stream, head, ended=False)
        self.connection.flush_later()

    def write_two(self, head: bytes, data: bytes | memoryview) -> None:
        self.write_head(head, more=True)
        if data:
            self.write(data)

    def write_whole(self, head: bytes, data: bytes | memoryview) -> None:
        self.connection.core.send_headers(self.stream, head, ended=not data)
        self._ends = True
        if data:
            self.write(data)
        self.connection.flush_later()

    def send_later(self, rest: bytes) -> None:
        """The response has begun, and ends with these bytes, for which there was no room."""
        self.unsent, self.writable, self._ends = rest, False, True

    def continue_later(self) -> None:
        if not self.queued:
            self.queued = True
            self.loop.queue(self)

    def on_readable(self) -> None:
        """Its turn has come."""
        self._go_on_reading()

    def on_writable(self) -> None:
        if self.exchange is not None:
            self.exchange.client_writable()

    def on_broken(self, error: OSError) -> None:
        """The connection's socket has no stream of its own."""

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the loop
        """A bug: this stream ends, and no other one."""
        if self.exchange is not None:
            self.exchange.abort("stopped")

    # Heads

    def framing(
        self, exchange: ExchangeToServe, head: ResponseHead, body: MessageBody | None, *, compressed: bool
    ) -> Framing:
        _refuse_success(exchange, head)
        length = head.block.length
        if compressed or length is None or (body is None and head.status in _WITHOUT_LENGTH):
            return Framing()
        return Framing(length_block(length))

    def response_image(
        self,
        exchange: ExchangeToServe,
        head: ResponseHead,
        framing: bytes | None = None,
        *,
        change: FieldChange | None = None,
    ) -> bytes:
        _refuse_success(exchange, head)
        if change is not None:
            return response_block(head, _own_length(head) if framing is None else framing, change)
        if framing is None:
            return self.usual_image(head, AS_BLOCK)
        image = head.images.get((framing, AS_BLOCK))
        if image is None:
            image = head.images[framing, AS_BLOCK] = response_block(head, framing)
        return image

    def usual_image(self, head: ResponseHead, connection: bytes) -> bytes:
        image = head.images.get((None, connection))
        if image is None:
            image = head.images[None, connection] = response_block(head, _own_length(head))
        return image

    def own_framing(self, exchange: Exchange, status: int, length: int | None) -> Framing:  # noqa: ARG002 - for all the same
        return Framing() if length is None or status in (204, 304) else Framing(length_block(length))

    def own_head(self, exchange: Exchange, status: int, fields: HeaderFields, framing: Framing) -> bytes:  # noqa: ARG002 - the same
        return own_block(status, fields, framing.line)

    def write_continue(self) -> None:
        self.write_head(encode_status(100), more=False)

    def write_interim(self, exchange: Exchange, head: ResponseHead) -> None:  # noqa: ARG002 - the same
        self.write_head(response_block(head, b""), more=False)

    def switch(self, exchange: Exchange, head: ResponseHead, server: EpollStream, rest: bytes) -> None:
        self.connection.open_tunnel(self, exchange, head, server, rest)

    # The end

    def fast_ended(self, *, keep_alive: bool) -> None:  # noqa: ARG002 - of HTTP/1
        self.leave()

    def exchange_ended(self, exchange: Exchange) -> None:  # noqa: ARG002 - it has no other one
        if not self.stream.closed:
            self.connection.core.reset(self.stream, ErrorCode.NO_ERROR)  # the rest of the request is not needed
            self.connection.flush_later()
        self.leave()

    def lost(self, ended_by: EndedBy, reason: Reason) -> None:  # noqa: ARG002 - the connection has a record
        """The client has reset the stream, or its connection is gone."""
        if isinstance(self.response_flow, PartsFlow):
            self.response_flow.cancel()
        self.leave()

    def cut(self, *, reset: bool) -> None:  # noqa: ARG002 - a stream always tells
        if isinstance(self.response_flow, PartsFlow):
            self.response_flow.cancel()
        if not self.stream.closed:
            code = ErrorCode.INTERNAL_ERROR if self.tunnel is None else ErrorCode.CANCEL  # RFC 8441, section 5
            self.connection.core.reset(self.stream, code)
            self.connection.flush_later()
        self.leave()

    def leave(self) -> None:
        """The exchange has ended."""
        if self.closed:
            return
        self.closed = True
        tunnel, self.tunnel = self.tunnel, None
        if tunnel is not None:
            tunnel.stop()
        self.exchange = self.request_flow = self.response_flow = self.body = None
        waits = sum(map(len, self._inbound))
        if waits:
            self._inbound.clear()
            self.connection.core.consumed(self.stream, waits)
        self.connection.left(self)

    # As OpenConnection

    @property
    def bytes_in(self) -> int:
        """0: those of the socket are the connection's."""
        return 0

    @property
    def bytes_out(self) -> int:
        return 0

    def live(self) -> LiveConnection:
        exchange, backend, connection = self.exchange, self.backend, self.connection
        return LiveConnection(
            self.id,
            connection.frontend.name,
            exchange.route.pool if exchange is not None and exchange.route is not None else "",
            backend.name if backend is not None else None,
            str(self.client),
            "open",
            (connection.clock() - exchange.began) * 1000 if isinstance(exchange, Exchange | FastRequest) else 0.0,
            exchange.bytes_in if isinstance(exchange, Exchange) else 0,
            exchange.bytes_out if isinstance(exchange, Exchange) else 0,
        )

    def server_removed(self) -> None:
        if self.exchange is not None and self.exchange.upstream is not None:
            self.exchange.upstream.server_removed()

    def close(self, reason: Reason) -> None:
        """End the exchange now."""
        self.loop.refresh()
        exchange = self.exchange
        if exchange is None:
            return
        if exchange.upstream is not None and reason in ("server_down", "primary_back"):
            exchange.upstream.server_down()
        else:
            exchange.abort("stopped")


def _refuse_success(exchange: ExchangeToServe, head: ResponseHead) -> None:
    """A server that has not changed to the other protocol must not look as if it had. Raises MalformedError."""
    if exchange.head.upgrade and 200 <= head.status < 300:
        raise MalformedError("a response in place of another protocol")


def _own_length(head: ResponseHead) -> bytes:
    length = head.block.length
    return b"" if length is None or head.status in _WITHOUT_LENGTH else length_block(length)


class StreamExchange(Exchange):
    """An exchange of a stream, which has an end of its own in both directions."""

    carrier: StreamCarrier

    def _body(self) -> MessageBody:
        carrier = self.carrier
        if carrier.body is None:
            carrier.body = StreamBody(self.max_body)
        return carrier.body

    def respond(
        self, status: int, fields: HeaderFields = (), body: Body = b"", *, reason: RequestReason = "ok"
    ) -> None:
        if self.head.upgrade and status < 300:
            release_parts(body)
            self.fail(501, "bad_request")
        else:
            super().respond(status, fields, body, reason=reason)

    def response_complete(self, *, close: bool = False, trailers: Sequence[Field] = ()) -> None:
        self.carrier.finish(trailers)
        super().response_complete(close=close)

    def _end(self) -> None:
        tunnel = self.carrier.tunnel
        if tunnel is not None:
            self.bytes_in, self.bytes_out = tunnel.bytes_in, tunnel.bytes_out
        super()._end()


class StreamFastRequest(FastRequest):
    """A request on the fast path."""

    __slots__ = ()
    kept_open = AS_BLOCK
