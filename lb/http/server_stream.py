"""A stream of a server's HTTP/2 connection: it carries one exchange.

What the server sends of a body waits here until the exchange reads it: only then the server may send as much again.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from lb.http.flow import Coding
from lb.http.http2_writes import StreamOutput, StreamWrites, add_piece
from lb.http.server_carrier import RefusedStreamError, ServerCarrier, ServerExchange
from lb.http1.body import MessageBody, StreamBody, read_trailers
from lb.http1.coding import coding_for
from lb.http1.field import Field
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.http2.errors import ErrorCode
from lb.http2.field_section import FieldSection
from lb.http2.stream import Http2Stream
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.relay.epoll_loop import BUFFER, EpollLoop
from lb.tls.layer import Tls

__all__ = ["ServerStream", "ServerStreamConnection"]


class ServerStreamConnection(StreamOutput, Protocol):
    """The connection of a stream."""

    loop: EpollLoop
    sock: socket.SocketType
    tls: Tls | None
    backend: Backend
    pool: Pool
    closed: bool
    responses: int
    """Responses that it has carried."""

    def left(self, carrier: ServerStream) -> None:
        """The exchange of a stream has ended."""


class ServerStream(StreamWrites, ServerCarrier):
    """Its owner is the connection, which tells it what comes, and then lets it :meth:`go_on`."""

    __slots__ = (
        "_body",
        "_ends",
        "_error",
        "_given_back",
        "_heads",
        "_inbound",
        "_received_end",
        "_received_trailers",
        "_responded",
        "_trailers",
        "connection",
        "stream",
    )
    connection: ServerStreamConnection
    spliced = False

    def __init__(self, connection: ServerStreamConnection) -> None:
        super().__init__(connection.loop, connection.sock, connection.tls, 0)
        self.connection = connection
        self.backend, self.pool = connection.backend, connection.pool
        self.exchange = self.request_flow = self.response_flow = self.waiting_since = None
        self.stream: Http2Stream | None = None
        """None: the request was not sent."""
        self._heads: list[ResponseHead] = []
        """Heads that have come, and that the exchange has not got."""
        self._responded = False
        """It has got that of the response."""
        self._body: StreamBody | None = None
        """The response's body, once the exchange has looked at it."""
        self._inbound: list[bytes | memoryview] = []
        """What has come of it, and was not read."""
        self._given_back = 0
        """Bytes of these that were read before, and given back."""
        self._received_end = False
        self._received_trailers: FieldSection | None = None
        self._error: Exception | None = None
        """Why no more comes."""
        self._ends, self._trailers = False, b""

    # The request

    def begin(self, exchange: ServerExchange, asked: RequestHead, head: bytes, first: bytes, *, ended: bool) -> None:
        connection = self.connection
        if connection.closed:
            raise ConnectionResetError
        core = connection.core
        self.exchange = exchange
        self.stream = stream = core.open_stream(self, bodiless=asked.method == b"HEAD")
        core.send_headers(stream, head, ended=ended and not first)
        if first:
            self._ends = ended
            self.write(first)
        connection.flush_later()

    def coding(self, head: RequestHead, body: MessageBody) -> Coding | None:  # noqa: ARG002 - there are no chunks
        return coding_for(body, in_chunks=False)

    def finish_request(self, trailers: Sequence[Field]) -> None:
        self.finish(trailers)

    def on_writable(self) -> None:
        if self.request_flow is not None:
            self.request_flow.pump()

    # What comes. The connection calls

    def head_received(self, head: ResponseHead, *, ended: bool) -> None:
        self._heads.append(head)
        self._received_end = ended

    def data_received(self, data: memoryview, *, ended: bool) -> None:
        if data:
            add_piece(self._inbound, bytes(data))
        if ended:
            self.end_received(None)

    def end_received(self, trailers: FieldSection | None) -> None:
        self._received_end, self._received_trailers = True, trailers

    def lost(self, error: Exception) -> None:
        """No more comes."""
        if not self._received_end:
            self._error = error

    def reset(self, code: int, *, by_peer: bool) -> None:
        """The server has reset the stream, or has broken the protocol on it."""
        if not by_peer:
            self.lost(MalformedError("a stream that breaks the protocol"))
        elif code == ErrorCode.REFUSED_STREAM:
            self.lost(RefusedStreamError("stream refused"))
        else:
            self.lost(OSError(f"stream reset ({_name_of(code)})"))

    def go_on(self) -> None:
        """Give the exchange what has come."""
        self.last_activity = self.turn.now
        try:
            while self._heads and self.exchange is not None:
                head = self._heads.pop(0)
                self._responded = head.status >= 200
                self.exchange.response(head, memoryview(self.take_ahead() if self._responded else b""))
        except (OSError, MalformedError) as error:
            self._tell(error)
            return
        if self.response_flow is not None:
            self._see_end()
            self.response_flow.pump()
        elif self._error is not None and not self._responded:
            self._tell(self._error)

    def _see_end(self) -> None:
        """The body may have ended behind what was read. That trailers are malformed is told by the next read."""
        body = self._body
        if self._received_end and body is not None and not (self._inbound or body.done):
            try:
                self._end_body(body)
            except MalformedError as error:
                self._error = error

    def _tell(self, error: Exception) -> None:
        if self.exchange is not None:
            self.exchange.server_failed(error)

    # The response's body

    @property
    def has_all(self) -> bool:  # type: ignore[override]  # it depends on what has come
        return self._received_end and self._received_trailers is None

    @property
    def has_input(self) -> bool:
        return bool(self._inbound) or self._error is not None

    def response_body(self, head: ResponseHead, method: bytes, max_trailer: int) -> MessageBody | None:  # noqa: ARG002 - the connection limits them
        if head.bodiless(method):
            return None
        self._body = body = StreamBody()
        if self._received_end and not self._inbound:
            self._end_body(body)
        return body

    def _end_body(self, body: StreamBody) -> None:
        """All of it was read. Raises MalformedError."""
        body.trailers = self._read_trailers()
        body.done = True

    def _read_trailers(self) -> Sequence[Field]:
        section = self._received_trailers
        if section is None:
            return ()
        if section.kept is None:
            section.kept = read_trailers(section.fields)
        trailers: Sequence[Field] = section.kept
        return trailers

    def all_trailers(self) -> Sequence[Field] | None:
        return self._read_trailers() if self._received_end and not self._inbound else None

    def read(self, most: int = BUFFER) -> memoryview | None:
        inbound = self._inbound
        if not inbound:
            if isinstance(self._error, EOFError):
                return memoryview(b"")
            if self._error is not None:
                raise self._error
            return None
        data = memoryview(inbound[0] if len(inbound) == 1 else b"".join(inbound))
        inbound.clear()
        if len(data) > most:
            inbound.append(data[most:])
            data = data[:most]
        self._consume(len(data))
        if self._received_end and not inbound and self._body is not None:
            self._end_body(self._body)
        return data

    def take_ahead(self) -> bytes:
        inbound = self._inbound
        if not inbound:
            return b""
        data = b"".join(inbound)
        inbound.clear()
        self._consume(len(data))
        return data

    def give_back(self, data: bytes) -> None:
        self._inbound.insert(0, data)
        self._given_back += len(data)
        if self._body is not None:
            self._body.done = False

    def _consume(self, count: int) -> None:
        """The server may send as much again."""
        if self._given_back:
            again = min(self._given_back, count)
            self._given_back -= again
            count -= again
        stream = self.stream
        if count and stream is not None and not stream.received_end:
            self.connection.core.consumed(stream, count)
            self.connection.flush_later()

    # Other calls of the exchange

    @property
    def may_be_stale(self) -> bool:
        connection = self.connection
        return connection.closed and connection.responses > 0 and not self._responded

    def look_for_response(self) -> None:
        """What has come is known."""

    def has_more(self) -> bool:
        """The stream is for no other request."""
        return True

    # Calls of the loop

    def on_readable(self) -> None:
        self.go_on()

    def on_broken(self, error: OSError) -> None:
        """Sockets are the connection's matter."""

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the loop
        """A bug: this stream ends, and no other one."""
        self._tell(EOFError("a fault"))

    # The end

    def close_socket(self, *, reset: bool = False) -> None:  # noqa: ARG002 - a stream that is not complete is reset
        """End the stream."""
        if self.closed:
            return
        self.closed = True
        stream, connection = self.stream, self.connection
        if stream is not None:
            stream.owner = None
            if not stream.closed:
                waits = sum(map(len, self._inbound)) - self._given_back
                if waits:
                    connection.core.consumed(stream, waits)
                connection.core.reset(stream, ErrorCode.CANCEL)
                connection.flush_later()
            self._inbound.clear()
        self.unsent = b""
        connection.left(self)


def _name_of(code: int) -> str:
    return ErrorCode(code).name if code in ErrorCode.__members__.values() else str(code)
