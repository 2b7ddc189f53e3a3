"""A client's HTTP/1 connection: it carries one exchange after the other, in the order of the requests."""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lb.events import EndedBy, Reason, RequestReason
from lb.http.carrier import WITHOUT_LENGTH, ExchangeToServe, Framing
from lb.http.connection_record import report_connection
from lb.http.exchange import CarriedExchange, Exchange
from lb.http.fast_path import begin_fast
from lb.http.file_flow import PartsFlow
from lb.http.flow import part_of_body
from lb.http.forwarded import connection_lines, is_trusted
from lb.http.frontend import DRAIN_GRACE, FIRST_REQUEST_GRACE, HttpFrontend
from lb.http.header_edits import FieldChange
from lb.http.own_responses import OwnResponses
from lb.http1.body import MessageBody
from lb.http1.field_block import FieldBlock
from lb.http1.grammar import MalformedError
from lb.http1.head_buffer import HEAD_END, HeadBuffer
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.http1.wire import (
    CHUNKED,
    CLOSE,
    KEEP_ALIVE,
    field_lines,
    has_date,
    length_line,
    response_image,
    status_line,
)
from lb.model.address import Client
from lb.model.connection import LiveConnection, LiveState
from lb.model.http_dates import http_date
from lb.model.request import HeaderFields
from lb.net.deadlines import DeadlineQueue
from lb.proxy.bandwidth_limits import bandwidth_of
from lb.proxy.context import ConnectionContext
from lb.relay.epoll_handshake import EpollHandshake
from lb.relay.epoll_relay import EpollRelay
from lb.relay.epoll_stream import EpollStream
from lb.relay.splicer import Handshake, RunningHandshake
from lb.tls.layer import Tls

__all__ = ["HEAD_READ", "MOST_AHEAD", "ClientConnection", "drain"]

CR = ord("\r")
HEAD_READ = 4096
"""Bytes of a read for a head. Most heads are shorter, and a larger buffer costs more."""
UNREADABLE = RequestHead(b"", b"", b"", 1, FieldBlock((), 0, None, None, frozenset()), None, plain=False)
"""The head of what is no request."""
REFUSALS: Mapping[int, RequestReason] = {408: "timeout", 414: "too_large", 431: "too_large"}
"""Reasons by status; any other is a bad request."""
_IN_CHUNKS = Framing(CHUNKED, in_chunks=True)
MOST_IN_TURN = 16
"""Requests of one connection before other sockets are served."""
MOST_AHEAD = 64 * 1024
"""Bytes of further requests that are read while one is answered, to see whether the client has left."""
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\n"
"""The first part of it, which looks like a head."""
MOST_DROPPED = 256 * 1024
"""Bytes of a request's body that are read and dropped to keep the connection."""


def _own_framing(head: ResponseHead) -> bytes:
    """Return the line that frames a server's body as the server does."""
    return CHUNKED if head.block.chunked else length_line(head.fixed)


@functools.lru_cache(maxsize=64)
def _first_lines(status: int, now: int) -> bytes:
    """Return the status line and the date. Many responses of a second share them."""
    return b"%sDate: %s\r\n" % (status_line(status), http_date(now))


class _Proxied(NamedTuple):
    """What a PROXY header says. Most connections have none, and need no memory for it."""

    peer: Client
    """The peer of the client's socket: a proxy."""
    destination: Client
    """The client's destination."""
    tlvs: bytes


class ClientConnection(OwnResponses):
    """Implements :class:`lb.proxy.downstream.Downstream` and :class:`lb.proxy.downstream.OpenConnection`."""

    __slots__ = (
        "_buffer",
        "_context",
        "_drop",
        "_ended",
        "_finished",
        "_handshake",
        "_header_queue",
        "_idle_since",
        "_keep_alive_queue",
        "_lingering",
        "_on_close",
        "_proxied",
        "_serving",
        "accepted_at",
        "frontend",
        "relay",
    )

    def __init__(
        self, context: ConnectionContext, frontend: HttpFrontend, sock: socket.SocketType, client: Client
    ) -> None:
        frontend.loop.refresh()
        super().__init__(frontend.loop, sock, None, 0)
        self.accepted_at = self._idle_since = self.turn.now
        self._context = context
        self.frontend = frontend
        self.client = client
        self.id = context.next_id()
        self._proxied: _Proxied | None = None
        """What the PROXY header has said."""
        self._on_close: tuple[Callable[[], None], ...] = ()
        self._handshake: RunningHandshake | None = None
        """The client's socket in the listener's filters."""
        self._keep_alive_queue: DeadlineQueue | None = None
        self._buffer: HeadBuffer | None = None
        """The bytes of a head that is not complete, or of requests that have come while one was served."""
        self._header_queue: DeadlineQueue | None = None
        """The queue in which it waits for the rest of a head."""
        self.exchange = None
        self.request_flow = self.response_flow = None
        self.relay: EpollRelay | None = None
        """The client and a server that have switched to another protocol."""
        self.must_close = self.more_comes = False
        self.held = ()
        self._drop: Exchange | None = None
        """An exchange that has ended before its request's body."""
        self._ended = False
        """The client has sent its end. Requests that came before are served."""
        self._serving = self._lingering = self._finished = False
        self.trusted = False
        self.buckets = ()
        self.scheme = self.forwarded_lines = b""
        context.open.add(self)

    # Calls of the listener's filters

    def handshake(self, handshake: Handshake) -> None:
        self._handshake = self._context.splicer.handshake(self.sock, handshake)

    def wake_handshake(self) -> None:
        assert self._handshake is not None  # noqa: S101 - it waits for the client
        self._handshake.wake()

    def speaks_for(self, client: Client, destination: Client, tlvs: bytes) -> None:
        self._proxied = _Proxied(self.client, destination, tlvs)
        self.client = client

    @property
    def destination(self) -> Client | None:
        return self._proxied.destination if self._proxied is not None else None

    @property
    def peer(self) -> Client | None:
        """The peer of the socket, if a PROXY header names another client."""
        return self._proxied.peer if self._proxied is not None else None

    @property
    def tlvs(self) -> bytes:
        return self._proxied.tlvs if self._proxied is not None else b""

    def secured(self, tls: Tls) -> None:
        self.tls = tls

    def on_close(self, callback: Callable[[], None]) -> None:
        self._on_close += (callback,)

    def refuse(self, ended_by: EndedBy, reason: Reason) -> None:
        self._finish(ended_by, reason)

    def start(self) -> None:
        self.begin_requests()
        self.loop.watch(self.sock.fileno(), self)

    def let_in(self) -> None:
        fd = self.sock.fileno()
        handler = self.loop.handlers.get(fd)
        self._handshake = None
        self.begin_requests()
        if not isinstance(handler, EpollHandshake):
            self.loop.watch(fd, self)
            return
        self.take_ready(handler.ready)
        self.loop.handlers[fd] = self
        http2 = self.frontend.http2
        if http2 is not None and self.tls is not None and self.tls.protocol == "h2":
            http2.take_over(self)
        elif self.readable:
            self.loop.later(self)

    def begin_requests(self) -> None:
        """Serve requests from now on."""
        frontend = self.frontend
        self.loop.refresh()
        self.scheme = b"http" if self.tls is None else b"https"
        self.trusted = is_trusted(self.client, frontend.trusted_proxies)
        self.forwarded_lines = connection_lines(self.client.host, self.scheme)
        if frontend.is_limited:
            self.buckets = frontend.limits.buckets(self.client, self.on_close)
        self._idle_since = self.turn.now
        self._keep_alive_queue = frontend.keep_alive_queue
        self._keep_alive_queue.enter(self, self._idle_since)
        if frontend.draining:
            self.drain()

    # Requests

    def on_readable(self) -> None:
        if self.exchange is not None:
            if self.request_flow is not None:
                self.request_flow.pump()
            elif self.until_eagain and self._is_read(self.exchange):
                self._look_for_end(self.exchange)
        elif self._lingering:
            self._read_lingering()
        elif self._drop is not None:
            self._drop_body(self._drop)
        else:
            self._serve()

    def on_writable(self) -> None:
        if self.exchange is not None:
            self.exchange.client_writable()

    def on_broken(self, error: OSError) -> None:  # noqa: ARG002 - the client is gone
        if self.exchange is not None:
            self.exchange.client_left()
        else:
            self.lost("client", "reset")

    def _serve(self) -> None:
        """Serve requests until one has to wait, or there is none."""
        if self._serving:  # an exchange has ended in its own begin: the loop below goes on
            return
        self._serving = True
        left, data = MOST_IN_TURN, None
        try:
            while self.exchange is None and not self.closed and not self._lingering and self._drop is None:
                if not left:
                    self.loop.later(self)
                    return
                left -= 1
                data = self._next_head()
                if data is None:
                    if not self.closed:
                        self._wait_for_head()
                    return
                self.more_comes = bool(self.unread) and left > 0 and self.unread.find(HEAD_END) >= 0
                self._begin(data)
        except MalformedError as error:
            if not self._speaks_http2(data):
                self._refuse(error)
        except OSError:
            self.lost("client", "reset")
        except Exception as exception:  # noqa: BLE001 - the turn may be that of the server of the request before
            self.loop.fault("http", exception)
            self.failed(exception)
        finally:
            self._serving = False

    def _next_head(self) -> bytes | None:
        """Return the bytes of the next head, as soon as it is there. Raises MalformedError and OSError."""
        if self._buffer is not None:
            head = self._buffered_head()
            if head is not None:
                return head
        while self.readable or self.unread:
            data = self.read_bytes(HEAD_READ)
            if data is None:
                return None
            if not data:
                self._ended = True
                return None
            if self._buffer is None:
                head, end, rest = data.partition(HEAD_END)
                if end and len(head) + len(end) <= self.frontend.settings.max_header and data[0] != CR:
                    if not rest:
                        return data  # the usual case: exactly one
                    self.give_back(rest)
                    return head + end
                self._buffer = HeadBuffer(self.frontend.settings.max_header)
            self._buffer.feed(data)
            whole = self._buffered_head()
            if whole is not None:
                return whole
        return None

    def _buffered_head(self) -> bytes | None:
        """Return the first head of the buffer, if it is complete, and give back the rest. Raises MalformedError."""
        assert self._buffer is not None  # noqa: S101 - the callers have looked
        head = self._buffer.take_head()
        if head is not None:
            self._stop_reading_head()
            self.give_back(self._buffer.take_all())
        if not len(self._buffer):
            self._buffer = None
        return head

    def _wait_for_head(self) -> None:
        """There is no complete head: wait for the rest, unless the client has sent its end."""
        if self._ended:
            self._end_orderly("client")
        elif self._buffer is None:
            if self.frontend.draining:
                self.drain()
        elif self._header_queue is None:
            self._header_queue = self.frontend.header_queue
            self._header_queue.enter(self, self._context.clock())

    def _stop_reading_head(self) -> None:
        if self._header_queue is not None:
            self._header_queue.discard(self)
            self._header_queue = None

    def _begin(self, data: bytes) -> None:
        """Begin the exchange of a complete head. Raises MalformedError."""
        frontend = self.frontend
        head = frontend.heads.known.get(data) or frontend.heads.read(data)
        if head.plain and not (self.trusted or self.must_close or frontend.closes or self.buckets):
            route = head.route or self.frontend.route_of(head)
            if route is not None:
                if route.cached is not None and frontend.serve_hit(route.cached, self, frontend, head, route):
                    return
                if route.fast is not None:
                    if self.held:
                        self._send_held()
                    begin_fast(self, frontend, head, route, route.fast)
                    return
        if self.held:
            self._send_held()
        self.exchange = exchange = self.new_exchange(head)
        exchange.start()

    def _speaks_http2(self, data: bytes | None) -> bool:
        """Serve a client whose first head is the preface of HTTP/2, if it may have it without TLS."""
        http2 = self.frontend.http2
        if (
            data != _HTTP2_PREFACE
            or http2 is None
            or not self.frontend.settings.h2c
            or self.tls is not None
            or self.sent
        ):
            return False
        http2.take_over(self, data)
        return True

    def new_exchange(self, head: RequestHead) -> Exchange:
        """Make the exchange of a complete head."""
        return Exchange(self, self.frontend, head)

    def _send_held(self) -> None:
        """Send the responses that were held, as something else than a hit follows them. Raises OSError."""
        held, self.held = b"".join(self.held), ()
        self.write(held)

    def _refuse(self, error: MalformedError) -> None:
        """Answer what is no request, and close."""
        if self.held:
            try:
                self._send_held()
            except OSError:
                self.lost("client", "reset")
                return
        self._stop_reading_head()
        self._buffer = None
        self.must_close = True
        self.exchange = exchange = self.new_exchange(UNREADABLE)
        exchange.fail(error.status, REFUSALS.get(error.status, "bad_request"))

    def _is_read(self, exchange: CarriedExchange) -> bool:
        """Return True if the whole request was read: what comes is another one."""
        return exchange.body is None or exchange.body.done

    def _look_for_end(self, exchange: CarriedExchange) -> None:
        """See whether the client has left. Requests that it has sent ahead are kept."""
        buffer = self._buffer
        try:
            while self.readable and (buffer is None or len(buffer) < MOST_AHEAD):
                data = self.read(HEAD_READ)
                if data is None:
                    return
                if not data:
                    self.readable = False
                    self._ended = True
                    if buffer is None:
                        exchange.client_left()
                    return
                if buffer is None:
                    buffer = self._buffer = HeadBuffer(self.frontend.settings.max_header)
                buffer.feed(data)
        except OSError:
            exchange.client_left()

    # Responses

    def closing(self, exchange: ExchangeToServe) -> bool:
        """Return whether the connection ends with this exchange, and remember it."""
        frontend = self.frontend
        if not exchange.head.keep_alive or frontend.closes or self._leaves_body(exchange):
            self.must_close = True
        return self.must_close

    def _leaves_body(self, exchange: ExchangeToServe) -> bool:
        """Return True if too much is left of the request's body, or if it may never come."""
        body = exchange.body
        return body is not None and not body.done and (exchange.expects_continue or body.left > MOST_DROPPED)

    def _connection_line(self, exchange: ExchangeToServe) -> bytes:
        if exchange.head.usual and exchange.body is None and not (self.must_close or self.frontend.closes):
            return b""
        if self.closing(exchange):
            return CLOSE
        return b"" if exchange.head.minor else KEEP_ALIVE

    def response_image(
        self,
        exchange: ExchangeToServe,
        head: ResponseHead,
        framing: bytes | None = None,
        *,
        change: FieldChange | None = None,
    ) -> bytes:
        connection = self._connection_line(exchange)
        if change is not None:
            fields = [(field.written_name, field.value) for field in head.block.end_to_end()]
            line = _own_framing(head) if framing is None else framing
            return response_image(head, field_lines(change.apply(fields)), line, connection)
        image = head.images.get((framing, connection))
        if image is None:
            line = _own_framing(head) if framing is None else framing
            image = head.images[framing, connection] = response_image(head, head.block.lines, line, connection)
        return image

    def framing(
        self, exchange: ExchangeToServe, head: ResponseHead, body: MessageBody | None, *, compressed: bool
    ) -> Framing:
        length = head.block.length
        if compressed:
            return _IN_CHUNKS
        if length is not None and (body is not None or head.status not in WITHOUT_LENGTH):
            return Framing(length_line(length))
        return Framing() if body is None else self._framing_without_length(exchange)

    def _framing_without_length(self, exchange: ExchangeToServe) -> Framing:
        """Return how the client gets a body whose length is not known before its end."""
        if exchange.head.minor:
            return _IN_CHUNKS
        self.must_close = True
        return Framing(until_close=True)

    def usual_image(self, head: ResponseHead, connection: bytes) -> bytes:
        image = response_image(head, head.block.lines, _own_framing(head), connection)
        head.images[None, connection] = image
        return image

    def write_continue(self) -> None:
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def write_interim(self, exchange: Exchange, head: ResponseHead) -> None:
        try:
            self.write(response_image(head, head.block.lines, b"", b""))
        except OSError:
            exchange.client_left()

    def own_framing(self, exchange: Exchange, status: int, length: int | None) -> Framing:
        if status in (204, 304):
            return Framing()
        return self._framing_without_length(exchange) if length is None else Framing(length_line(length))

    def own_head(self, exchange: Exchange, status: int, fields: HeaderFields, framing: Framing) -> bytes:
        first = status_line(status) if has_date(fields) else _first_lines(status, int(time.time()))
        return b"".join((first, field_lines(fields), framing.line, self._connection_line(exchange), b"\r\n"))

    def write_head(self, head: bytes, *, more: bool) -> None:
        self.write(head, more=more)

    # Between requests

    def fast_ended(self, *, keep_alive: bool) -> None:
        self.exchange = None
        self._idle_since = self.turn.now
        if not keep_alive:
            self._end_orderly("client")
        elif self._buffer is not None or self.readable or self.unread or self._ended:
            self._serve()

    def exchange_ended(self, exchange: Exchange) -> None:
        """The client has the response. Go on with the next request."""
        self.exchange = None
        self.request_flow = self.response_flow = None
        if self.closed:
            return
        body = exchange.body
        self._idle_since = self.turn.now
        if self.must_close:
            more = exchange.head is UNREADABLE or (body is not None and not body.done)
            self._end_orderly("lb" if exchange.head.keep_alive else "client", more_comes=more)
        elif body is not None and not body.done:
            self._drop = exchange
            self._drop_body(exchange)
        elif self._buffer is not None or self.readable or self.unread or self._ended:
            self._serve()
        elif self.frontend.draining:
            self.drain()

    def _drop_body(self, exchange: Exchange) -> None:
        """Read and drop the rest of a request's body, if that is little; else end the connection."""
        body = exchange.body
        assert body is not None  # noqa: S101 - it has not ended
        try:
            while not body.done and self.has_input:
                data = self.read()
                if data is None:
                    return
                exchange.bytes_in += len(data)
                if not data or exchange.bytes_in > MOST_DROPPED:
                    self._end_orderly("client" if not data else "lb")
                    return
                part_of_body(body, data, self)
        except (OSError, MalformedError):
            self.lost("client", "reset")
            return
        if body.done:
            self._drop = None
            self._idle_since = self._context.clock()
            self._serve()

    # Another protocol

    def switch(self, exchange: Exchange, head: ResponseHead, server: EpollStream, rest: bytes) -> None:
        """Relay the bytes from now on, after the response 101. ``rest`` has come from the server behind it."""
        protocols = b", ".join(head.block.get_all(b"upgrade"))
        try:
            connection = b"Connection: upgrade\r\nUpgrade: %s\r\n" % protocols
            self.write(response_image(head, head.block.lines, b"", connection))
        except OSError:
            exchange.client_left()
            return
        frontend = self.frontend
        ahead = self.unread if self._buffer is None else self._buffer.take_all() + self.unread
        self.relay = frontend.splicer.relay(
            self.sock,
            server.sock,
            self,
            idle=frontend.idle_queue,
            half_close=frontend.idle_queue,
            first_byte=None,
            client_tls=self.tls,
            server_tls=server.tls,
            bandwidth=bandwidth_of(self.buckets) if self.buckets else None,
        )
        self.relay.begin_with(ahead, rest, self.unsent)
        self._buffer = None
        self.unread = self.unsent = b""
        self.closed = True  # for a turn that was requested before: it would read what is the relay's

    def relay_ended(self, ended_by: EndedBy, reason: Reason) -> None:
        """The splicer has closed both sides."""
        if isinstance(self.exchange, Exchange) and self.relay is not None:
            self.exchange.relay_ended(self.relay, ended_by, reason)
        self._finish(ended_by, reason)

    # Deadlines

    def expired(self, queue: DeadlineQueue) -> None:
        """A deadline has passed, or would have if nothing had happened since."""
        self.loop.refresh()
        if queue is self._keep_alive_queue:
            now = self._context.clock()
            if self._is_busy:
                queue.renew(self, now)
            elif now - self._idle_since < queue.timeout:
                queue.renew(self, self._idle_since)
            else:
                self._end_idle("idle_timeout")
        elif queue is self.frontend.linger_queue:
            self.lost("lb", "eof")
        elif queue is self.frontend.drain_queue:
            self.drain()
        elif queue is self._header_queue:
            self._header_queue = None
            self._refuse(MalformedError("the head has not come in time", 408))

    @property
    def _is_busy(self) -> bool:
        """True unless the connection only waits for a request, or for the rest of a body that is dropped."""
        return (
            self.exchange is not None
            or self._header_queue is not None
            or self._handshake is not None
            or self._lingering
        )

    def drain(self) -> None:
        """The listener accepts no more: end the connection once it is idle. A response ends it too."""
        if self._is_busy or self._finished:
            return
        queue, now, since = self.frontend.drain_queue, self._context.clock(), self._idle_since
        if not self.received:
            since += FIRST_REQUEST_GRACE - DRAIN_GRACE
        if now - since >= queue.timeout:
            self._end_idle("stopped")
        else:
            queue.discard(self)
            queue.renew(self, since)

    def _end_idle(self, reason: Reason) -> None:
        try:
            if self.tls is not None:
                self.shut_down()
        except OSError:
            pass
        self._finish("lb", reason)

    # The end

    def _end_orderly(self, ended_by: EndedBy, *, more_comes: bool = False) -> None:
        """End the connection so that the client gets all that was sent. ``more_comes``: it may not have sent all.

        With unread bytes in the socket, a close would reset it, and the client might lose the response.
        """
        more_comes = more_comes or self.has_input or self._buffer is not None or self._drop is not None
        pending = more_comes and not self._ended
        try:
            if pending or self.tls is not None:
                self.shut_down()
        except OSError:
            self.lost("client", "reset")
            return
        if not pending:
            self._finish(ended_by, "eof")
        else:
            self._lingering = True
            self.frontend.linger_queue.enter(self, self._context.clock())
            self._read_lingering()

    def _read_lingering(self) -> None:
        """Drop what the client sends, until its end."""
        if self.drop_input():
            self._finish("lb", "eof")

    def lost(self, ended_by: EndedBy, reason: Reason) -> None:
        """The connection cannot go on."""
        if not self._finished:
            self._finish(ended_by, reason)

    def cut(self, *, reset: bool) -> None:
        """End the connection after a response that is not complete."""
        self._finish("lb", "reset", reset=reset)

    def failed(self, exception: Exception | None = None) -> None:  # noqa: ARG002 - reported by the loop
        """A bug: a truncated stream must not look complete."""
        self.close("reset")

    @property
    def bytes_in(self) -> int:
        return self.received if self.relay is None else self.received + self.relay.bytes_in

    @property
    def bytes_out(self) -> int:
        return self.sent if self.relay is None else self.sent + self.relay.bytes_out

    def live(self) -> LiveConnection:
        exchange, backend = self.exchange, self.backend
        return LiveConnection(
            self.id,
            self.frontend.name,
            exchange.route.pool if exchange is not None and exchange.route is not None else "",
            backend.name if backend is not None else None,
            str(self.client),
            self._state,
            (self._context.clock() - self.accepted_at) * 1000,
            self.bytes_in,
            self.bytes_out,
        )

    @property
    def _state(self) -> LiveState:
        return "greeting" if self._handshake is not None else "open"

    def server_removed(self) -> None:
        if self.relay is not None:
            self.close("server_removed")
        elif self.exchange is not None and self.exchange.upstream is not None:
            self.exchange.upstream.server_removed()

    def close(self, reason: Reason) -> None:
        """End the connection now, in any state. A response that has begun is cut with a reset."""
        if self._finished:
            return
        self.loop.refresh()
        exchange = self.exchange
        if self.relay is not None:
            self.relay.close(reset=True)
            self.relay_ended("lb", reason)
        elif exchange is not None and exchange.upstream is not None and reason in ("server_down", "primary_back"):
            exchange.upstream.server_down()
            return
        elif exchange is not None:
            exchange.abort("stopped")
        if not self._finished:
            self._finish("lb", reason, reset=True)

    @property
    def has_ahead(self) -> bool:
        """Bytes behind the request's head were read already."""
        return self.unread != b"" or self._buffer is not None

    def hand_over(self) -> tuple[bytes, tuple[Callable[[], None], ...]]:
        """Leave the client to another owner, which serves it to its end.

        Return the bytes that were read ahead, and what is to be called at the end. The socket's handler stays this one
        until the owner has replaced it.
        """
        ahead = self.unread if self._buffer is None else self._buffer.take_all() + self.unread
        on_close, self._on_close = self._on_close, ()
        self._leave_queues()
        self._buffer = self.exchange = None
        self.unread = b""
        self._finished = self.closed = True  # for a turn that was requested before: it would read what is not its own
        self._context.closed(self)
        return ahead, on_close

    def _leave_queues(self) -> None:
        frontend = self.frontend
        self._stop_reading_head()
        if self._keep_alive_queue is not None:
            self._keep_alive_queue.discard(self)
        if self._lingering:
            frontend.linger_queue.discard(self)
        if frontend.draining:
            frontend.drain_queue.discard(self)

    def _leave_socket(self, *, reset: bool) -> None:
        """Close the socket, unless a relay has done so."""
        handshake, self._handshake = self._handshake, None
        relay, self.relay = self.relay, None
        if handshake is not None:
            handshake.cancel()
            self.closed = True
        elif relay is not None:
            self.received += relay.bytes_in
            self.sent += relay.bytes_out
        else:
            self.close_socket(reset=reset)

    def _finish(self, ended_by: EndedBy, reason: Reason, *, reset: bool = False) -> None:
        """End the connection. Every path ends here."""
        self._finished = True
        context = self._context
        self._leave_queues()
        self._leave_socket(reset=reset)
        self._buffer = None
        if isinstance(self.response_flow, PartsFlow):
            self.response_flow.cancel()
        exchange = self.exchange
        if exchange is not None and not exchange.ended:
            exchange.client_left()
        self.exchange = None
        if self._on_close:
            on_close, self._on_close = self._on_close, ()
            for callback in on_close:
                callback()
        context.closed(self)
        self.left_listener()
        self._report(ended_by, reason)

    def left_listener(self) -> None:
        """The connection counts no more."""
        self.frontend.closed()

    def _report(self, ended_by: EndedBy, reason: Reason) -> None:
        """Write the record, if somebody wants it."""
        report_connection(self, ended_by, reason)


def drain(context: ConnectionContext, frontend: HttpFrontend) -> None:
    """Let the requests of a listener under way finish, and end each connection with its next response, or once idle."""
    frontend.draining = frontend.closes = True
    for connection in list(context.open):
        if isinstance(connection, ClientConnection) and connection.frontend is frontend:
            connection.drain()
    for multiplexed in list(frontend.multiplexed):
        multiplexed.drain()
