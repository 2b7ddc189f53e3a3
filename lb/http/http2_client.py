"""A client's HTTP/2 connection: its socket, and the exchanges of its streams.

What a turn has produced for all streams is written with one call, at the end of the turn; long bodies are written as
they come. While the socket takes no more, each stream keeps what it has: then the most urgent goes first.
"""

from __future__ import annotations

from collections.abc import Callable

from lb.events import EndedBy, Reason
from lb.http.connection_record import report_connection
from lb.http.exchange import Exchange
from lb.http.fast_path import begin_fast
from lb.http.frontend import RunningRoute
from lb.http.http2_carrier import StreamCarrier, StreamFastRequest
from lb.http.http2_context import Http2Context
from lb.http.http2_heads import read_request_head
from lb.http.http2_hit import serve_stream_hit
from lb.http.http2_socket import Http2Socket
from lb.http.http2_support import FirstConnection
from lb.http1.field_block import FieldBlock
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.http2.connection import Http2Connection
from lb.http2.errors import ErrorCode, Http2Error
from lb.http2.field_section import FieldSection
from lb.http2.stream import Http2Stream
from lb.model.connection import LiveConnection
from lb.net.deadlines import DeadlineQueue
from lb.pools.backend import Backend
from lb.relay.epoll_loop import TURN_BYTES
from lb.relay.epoll_stream import EpollStream

__all__ = ["Http2Client"]

_NO_REQUEST = ("", "", "", "2", None)
_UNREADABLE = RequestHead(b"", b"", b"", 2, FieldBlock((), 0, None, None, frozenset()), None, plain=False)
"""The head of what is no request."""
_SHORT_READ, _LONG_READ = 4096, 64 * 1024
"""Bytes of a read. Requests are short, and a larger buffer costs more; bodies are long."""
_LEAST_HEADS = 2
"""Heads of a connection in a turn in which others have used up the time."""
_BYTES_A_SECOND = TURN_BYTES / 0.004
"""Work is taken from the budget of the turn by its time, so that many busy connections take 4 ms of it together. What
is held then waits in the queue of the loop, and no other client waits for all of them."""
_EXCHANGE = 3
"""Heads that are answered from the cache in about the time that it takes to begin an exchange, or to call one off."""


class Http2Client(Http2Socket):
    """Implements :class:`lb.http2.receiver.Http2Receiver` and :class:`lb.proxy.downstream.OpenConnection`.

    It takes the client over from ``first``, whose listener's filters have let it in. ``begun``: bytes that were read.
    """

    __slots__ = (
        "_beginning",
        "_ended",
        "_finished",
        "_header_queue",
        "_idle_since",
        "_keep_alive_queue",
        "_lingering",
        "_on_close",
        "_sent_before",
        "_told",
        "accepted_at",
        "buckets",
        "carriers",
        "client",
        "destination",
        "forwarded_lines",
        "frontend",
        "id",
        "peer",
        "scheme",
        "settings",
        "tlvs",
        "trusted",
    )
    backend: Backend | None = None
    """None: servers are those of its streams."""
    server: Backend | None = None

    def __init__(self, first: FirstConnection, settings: Http2Context, begun: bytes = b"") -> None:
        super().__init__(first.loop, first.sock, first.tls, first.ready)
        self.settings = settings
        self.frontend = frontend = settings.frontend
        self.id, self.client, self.accepted_at = first.id, first.client, first.accepted_at
        self.destination, self.tlvs, self.peer = first.destination, first.tlvs, first.peer
        self.scheme, self.trusted, self.buckets = first.scheme, first.trusted, first.buckets
        self.forwarded_lines = first.forwarded_lines
        self.received, self.sent = first.received, first.sent
        self.carriers: set[StreamCarrier] = set()
        """The streams with an exchange."""
        self.core = Http2Connection(self, settings.limits, settings.sections, is_client=False)
        self._scheduled = self._writing = self._ended = self._lingering = self._finished = False
        self._beginning: list[Exchange] = []
        """Exchanges whose heads have come just now, with a body behind."""
        self._told = False
        """The client was told to open no more streams."""
        self._header_queue: DeadlineQueue | None = None
        """The queue in which it waits for the rest of a head."""
        self._idle_since = self.turn.now
        self._sent_before = 0
        """Bytes sent when the connection was found idle."""
        frontend.context.open.add(self)
        frontend.multiplexed.add(self)
        ahead, self._on_close = first.hand_over()
        self.unread = begun + ahead
        self._keep_alive_queue = frontend.keep_alive_queue
        self._keep_alive_queue.enter(self, self._idle_since)
        self.loop.handlers[self.sock.fileno()] = self
        self.flush_later()
        if frontend.draining:
            self.drain()

    def clock(self) -> float:
        return self.frontend.context.clock()

    # Calls of the loop

    def on_readable(self) -> None:
        self._go_on(self._resume if self.core.more else self._read)

    def _go_on(self, step: Callable[[], None]) -> None:
        """Do a step in which the client may turn out to break the protocol or to be gone, and write what it made."""
        if self._lingering:
            self._read_lingering()
            return
        core, turn, clock = self.core, self.turn, self.loop.clock
        began = clock()
        core.sections = self.settings.sections
        if self.queued:
            core.heads_in_turn = 0  # its turn comes
        else:
            core.heads_in_turn = self.settings.limits.max_heads_in_turn if turn.budget > 0 else _LEAST_HEADS
        try:
            step()
            self._resumed()
            self._write_out()
        except Http2Error as error:
            if error.code == ErrorCode.ENHANCE_YOUR_CALM:
                self.settings.flooded(self.client, str(error))
            self._refuse("bad_request")
        except OSError:
            self.lost("client", "reset")
        turn.budget -= int((clock() - began) * _BYTES_A_SECOND)

    def on_broken(self, error: OSError) -> None:  # noqa: ARG002 - the client is gone
        self.lost("client", "reset")

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the loop
        """A bug: streams that are cut must not look complete."""
        self.close("reset")

    # Reads

    def _read(self) -> None:
        """Take what the client has sent. Raises Http2Error and OSError."""
        core, turn = self.core, self.turn
        size = _SHORT_READ
        while self.has_input and not core.paused and not self.closed:
            if turn.budget <= 0 and size == _LONG_READ:
                self.continue_later()
                return
            data = self.read_bytes(size)
            if data is None:
                break
            if not data:
                self._client_ended()
                return
            turn.budget -= len(data)
            if len(data) >= size:
                size = _LONG_READ
            core.feed(data, turn.now)
        if core.in_head or self._header_queue is not None:
            self._watch_head()

    def _watch_head(self) -> None:
        """All of a head has to come in time."""
        queue = self._header_queue
        if queue is None:
            self._header_queue = self.frontend.header_queue
            self._header_queue.enter(self, self.clock())
        elif not (self.core.in_head or self.core.more):
            queue.discard(self)
            self._header_queue = None

    def _client_ended(self) -> None:
        """The client has sent its end: nobody waits for what is under way."""
        self._ended = True
        self.readable = False
        self.lost("client", "eof" if not self.carriers else "reset")

    def _resume(self) -> None:
        """Go on with what was held. Raises Http2Error and OSError."""
        if not self.closed:
            self.core.resume(self.turn.now)
            if self.readable or self.unread:
                self._read()

    # Writes

    def _resumed(self) -> None:
        if self._beginning:
            self._begin_exchanges()

    def _written(self) -> None:
        core = self.core
        if core.more or (self.has_input and not core.paused and not self.queued):
            self.continue_later()  # a turn has its share
        if core.draining and core.drained and not self.unsent:
            self._end_orderly()

    # Calls of the core

    def head_received(self, stream: Http2Stream, section: FieldSection, *, ended: bool) -> None:
        frontend = self.frontend
        self._idle_since = self.turn.now
        try:
            head = read_request_head(section, self.settings.heads, ended=ended)
        except MalformedError as error:
            self._refuse_request(stream, error.status)
            return
        if frontend.closes and not self.core.draining:
            self.core.go_away()  # after this request
        if head.plain and ended and not (self.trusted or self.buckets or frontend.closes):
            route: RunningRoute | None = head.route or frontend.route_of(head)
            if route is not None:
                if route.cached is not None and serve_stream_hit(route.cached, self, stream, head, route):
                    return
                if route.fast is not None:
                    carrier = self.new_carrier(stream)
                    if carrier is not None:
                        begin_fast(carrier, frontend, head, route, route.fast, StreamFastRequest)
                    return
        carrier = self.new_carrier(stream)
        if carrier is not None:
            carrier.exchange = exchange = carrier.new_exchange(head)
            if ended:
                exchange.start()
            else:
                carrier.expect_body()
                self._beginning.append(exchange)

    def _begin_exchanges(self) -> None:
        """Begin those whose bodies may have come with their heads: then the servers get both together."""
        beginning, self._beginning = self._beginning, []
        for exchange in beginning:
            if not exchange.ended:
                exchange.start()

    def new_carrier(self, stream: Http2Stream) -> StreamCarrier | None:
        """Return the carrier of a new exchange. None: there is no descriptor left for its server, and it was refused.

        The listener has counted one for the connection.
        """
        descriptors = self.frontend.context.descriptors
        if self.carriers:
            if not descriptors.has(1):
                self.core.reset(stream, ErrorCode.REFUSED_STREAM)
                return None
            descriptors.take(1)
        self.core.spend_turn(_EXCHANGE)
        carrier = stream.owner = StreamCarrier(self, stream)
        self.carriers.add(carrier)
        self.frontend.context.open.add(carrier)
        return carrier

    def open_tunnel(
        self, carrier: StreamCarrier, exchange: Exchange, head: ResponseHead, server: EpollStream, rest: bytes
    ) -> None:
        from lb.http.http2_tunnel import Http2Tunnel  # noqa: PLC0415 - few streams become one

        Http2Tunnel(carrier, exchange, server).begin(head, rest)

    def left(self, carrier: StreamCarrier) -> None:
        """The exchange of a stream has ended."""
        carrier.stream.owner = None
        self.carriers.discard(carrier)
        context = self.frontend.context
        if self.carriers:
            context.descriptors.give(1)
        else:
            self._idle_since = self.turn.now
        context.closed(carrier)
        if self.core.draining:
            self.flush_later()

    def _refuse_request(self, stream: Http2Stream, status: int) -> None:
        carrier = self.new_carrier(stream)
        if carrier is not None:
            carrier.exchange = exchange = carrier.new_exchange(_UNREADABLE)
            exchange.fail(status, "too_large" if status == 431 else "bad_request")

    def head_too_large(self, stream: Http2Stream, *, ended: bool) -> None:  # noqa: ARG002 - the rest is not read
        carrier = stream.owner
        if isinstance(carrier, StreamCarrier):
            if isinstance(carrier.exchange, Exchange):
                carrier.exchange.refuse_body(431)
        else:
            self._refuse_request(stream, 431)

    def data_received(self, stream: Http2Stream, data: memoryview, *, ended: bool) -> None:
        carrier = stream.owner
        if not isinstance(carrier, StreamCarrier):
            self.core.consumed(stream, len(data))
            return
        if data:
            carrier.data_received(bytes(data))
        if ended:
            carrier.end_received()

    def trailers_received(self, stream: Http2Stream, section: FieldSection) -> None:
        carrier = stream.owner
        if isinstance(carrier, StreamCarrier):
            carrier.end_received(section)

    def stream_malformed(self, stream: Http2Stream, problem: str) -> None:  # noqa: ARG002 - the record has a reason
        frontend = self.frontend
        if frontend.is_recorded:
            record = frontend.record
            of_none = ("", None, (), None)
            frontend.context.sink(
                record(
                    frontend.next_id(),
                    frontend.name,
                    "",
                    self.client,
                    *_NO_REQUEST,
                    0,
                    0,
                    0.0,
                    None,
                    *of_none,
                    "bad_request",
                )
            )

    def stream_reset(self, stream: Http2Stream, code: int, *, by_peer: bool) -> None:  # noqa: ARG002 - the client's matter
        carrier = stream.owner
        if isinstance(carrier, StreamCarrier) and carrier.exchange is not None:
            self.core.spend_turn(_EXCHANGE)
            carrier.exchange.client_left()

    def can_send(self, stream: Http2Stream) -> None:
        carrier = stream.owner
        if isinstance(carrier, StreamCarrier):
            carrier.can_send()

    def goaway_received(self, last_stream: int, code: int, debug: bytes) -> None:
        """The client opens no more streams."""

    def settings_received(self) -> None:
        """They are heeded already."""

    # Deadlines

    def expired(self, queue: DeadlineQueue) -> None:
        """A deadline has passed, or would have if nothing had happened since."""
        self.loop.refresh()
        now = self.turn.now
        if queue is self._keep_alive_queue:
            if self.carriers or self._lingering:
                queue.renew(self, now)
            elif now - self._idle_since < queue.timeout:
                queue.renew(self, self._idle_since)
            elif self._told and self.core.drained and self.sent == self._sent_before:
                self.lost("lb", "idle_timeout")  # it does not even take what it was told
            else:
                self.drain()
                self._sent_before = self.sent
                queue.renew(self, now)
        elif queue is self._header_queue:
            self._header_queue = None
            self.core.go_away()
            self.core.close()
            self._refuse("idle_timeout")
        elif queue is self.frontend.linger_queue:
            self.lost("lb", "eof")
        elif queue is self.settings.drain_queue and not self.closed:
            self.core.go_away()
            self.flush_later()

    def drain(self) -> None:
        """Tell the client to open no more streams, and end the connection with the last one.

        A client that does not answer in time is told without waiting for streams that it may just have opened.
        """
        if self._told or self._lingering or self.closed:
            return
        self._told = True
        self.core.drain()
        self.settings.drain_queue.enter(self, self.clock())
        self.flush_later()

    # The end

    def _refuse(self, reason: Reason) -> None:
        """The client has broken the protocol or a limit. The output ends with a GOAWAY that says so."""
        if self.closed:
            return
        self._abort_streams()
        self._writing = True  # no stream goes on
        if self.write_output():
            self._end_orderly(reason)
        else:
            self.lost("lb", reason)

    def _abort_streams(self) -> None:
        for carrier in list(self.carriers):
            if carrier.exchange is not None:
                carrier.exchange.client_left()

    def _end_orderly(self, reason: Reason = "eof") -> None:
        """End the connection so that the client gets all that was sent, and drop what it still sends."""
        try:
            self.shut_down()
        except OSError:
            self.lost("client", "reset")
            return
        if self._ended:
            self._finish("lb", reason)
            return
        self._lingering = True
        self.frontend.linger_queue.enter(self, self.clock())
        self._read_lingering()

    def _read_lingering(self) -> None:
        if self.drop_input():
            self._finish("lb", "eof")

    def lost(self, ended_by: EndedBy, reason: Reason) -> None:
        """The connection cannot go on."""
        if not self._finished:
            self._finish(ended_by, reason)

    def close(self, reason: Reason) -> None:
        """End the connection now, in any state. Streams that are cut are reset."""
        if self._finished:
            return
        self.loop.refresh()
        for carrier in list(self.carriers):
            carrier.close("stopped")
        self.core.go_away()
        self.write_output()
        self._finish("lb", reason)

    def server_removed(self) -> None:
        """The streams are told themselves."""

    def _finish(self, ended_by: EndedBy, reason: Reason) -> None:
        """Every path ends here."""
        self._finished = True
        frontend = self.frontend
        frontend.multiplexed.discard(self)
        for queue in (self._keep_alive_queue, frontend.linger_queue, self.settings.drain_queue, self._header_queue):
            if queue is not None:
                queue.discard(self)
        self.core.close()
        self._abort_streams()
        self.close_socket(reset=bool(self.unsent))
        on_close, self._on_close = self._on_close, ()
        for callback in on_close:
            callback()
        frontend.context.closed(self)
        frontend.closed()
        report_connection(self, ended_by, reason)

    # As OpenConnection

    @property
    def bytes_in(self) -> int:
        return self.received

    @property
    def bytes_out(self) -> int:
        return self.sent

    def live(self) -> LiveConnection:
        return LiveConnection(
            self.id,
            self.frontend.name,
            "",
            None,
            str(self.client),
            "open",
            (self.clock() - self.accepted_at) * 1000,
            self.received,
            self.sent,
        )
