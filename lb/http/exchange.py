"""One request and its response, whatever carries it: the steps of its route, its target, its record.

The main path is :meth:`Exchange.start` → the target → :meth:`Exchange.response_complete`. Every path ends in
:meth:`Exchange._end`, with one event.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVarTuple

import trio

from lb.events import EndedBy, HttpRequest, Reason, RequestReason
from lb.http.carrier import Carrier, Upstream
from lb.http.error_page import error_page
from lb.http.file_flow import Body, BodyPart, body_length, release_parts
from lb.http.forwarded import read_forwarding
from lb.http.frontend import HttpFrontend, RunningRoute
from lb.http.header_edits import FieldChange
from lb.http.pace import Pace
from lb.http.steps import Step
from lb.http1.body import LengthBody, MessageBody, read_trailers
from lb.http1.chunks import ChunkWalker
from lb.http1.field import EXPECT, FORWARDED, Field
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.model.address import Client, Networks
from lb.model.request import HeaderFields
from lb.net.deadlines import DeadlineQueue
from lb.pools.backend import Backend
from lb.relay.bandwidth import SharedBucket
from lb.relay.epoll_stream import EpollStream
from lb.relay.splicer import Relay

__all__ = ["CarriedExchange", "Exchange", "ExchangeCarrier"]

Ts = TypeVarTuple("Ts")

_PEER = Client("127.0.0.1", 0)
"""Stands for another worker: it is believed, and is no proxy that servers are told of."""
_RELAY_REASONS: Mapping[Reason, RequestReason] = {
    "idle_timeout": "timeout",
    "half_close_timeout": "timeout",
    "server_down": "server_down",
    "primary_back": "server_down",
    "server_removed": "server_down",
    "stopped": "stopped",
}


class CarriedExchange(Protocol):
    """What is served for a client: an :class:`Exchange`, or a request on the fast path."""

    @property
    def ended(self) -> bool: ...

    @property
    def body(self) -> MessageBody | None: ...

    @property
    def route(self) -> RunningRoute | None: ...

    @property
    def upstream(self) -> CarriedUpstream | None: ...

    def client_writable(self) -> None: ...

    def client_left(self) -> None: ...

    def abort(self, reason: RequestReason) -> None: ...


class CarriedUpstream(Protocol):
    """What serves it."""

    @property
    def backend(self) -> Backend | None:
        """The leased server."""

    @property
    def used(self) -> Backend | None:
        """The server that has the request; None while it is connected to."""

    def server_removed(self) -> None: ...

    def server_down(self) -> None: ...


class ExchangeCarrier(Carrier, abc.ABC):
    """What an exchange needs of its carrier."""

    __slots__ = ("buckets", "exchange", "held", "more_comes", "scheme", "trusted")
    buckets: Sequence[tuple[SharedBucket, SharedBucket]]
    """The limits of its bandwidth: from the client, to the client."""
    scheme: bytes
    """``http`` or ``https``."""
    trusted: bool
    """The peer is a proxy that is believed."""
    exchange: CarriedExchange | None
    """What is served."""
    more_comes: bool
    """Another head is there, and is read as soon as this request is answered."""
    held: tuple[bytes, ...]
    """Whole responses that are sent together with the next one, at most those of a turn. Only while more comes."""

    @abc.abstractmethod
    def respond(
        self,
        exchange: Exchange,
        status: int,
        fields: HeaderFields,
        body: Body,
        content_coding: bytes,
    ) -> None:
        """Send a response of the balancer itself, compressed if there is a content coding."""

    @abc.abstractmethod
    def send_parts(self, exchange: Exchange, head: bytes, parts: Sequence[BodyPart]) -> None:
        """Send a response of the balancer itself, whose head is written already."""

    @abc.abstractmethod
    def write_continue(self) -> None:
        """Send ``100 Continue``. Raises OSError."""

    @abc.abstractmethod
    def write_interim(self, exchange: Exchange, head: ResponseHead) -> None:
        """Send an interim response."""

    @abc.abstractmethod
    def switch(self, exchange: Exchange, head: ResponseHead, server: EpollStream, rest: bytes) -> None:
        """Relay the bytes from now on, after the response 101. ``rest`` has come from the server behind it."""

    @abc.abstractmethod
    def exchange_ended(self, exchange: Exchange) -> None:
        """The client has the whole response."""

    @abc.abstractmethod
    def lost(self, ended_by: EndedBy, reason: Reason) -> None:
        """The client is gone."""

    @abc.abstractmethod
    def new_exchange(self, head: RequestHead) -> Exchange:
        """Make the exchange of a request."""

    @abc.abstractmethod
    def usual_image(self, head: ResponseHead, connection: bytes) -> bytes:
        """Return a server's head with its own framing, and a line about the connection, or none."""

    @abc.abstractmethod
    def fast_ended(self, *, keep_alive: bool) -> None:
        """The client has the whole response to a request on the fast path."""

    @abc.abstractmethod
    def cut(self, *, reset: bool) -> None:
        """End after a response that is not complete."""


class Exchange:
    """Implements :class:`lb.http.carrier.ExchangeToServe`, for steps and targets."""

    takes_connect = False
    """A CONNECT request opens a tunnel. A reverse proxy has none."""
    # Most requests need few of these: a class's attribute costs a request nothing.
    told: FieldChange | None = None
    """What servers are told of the client, as a change of the fields; None if no trusted proxy is in front."""
    route: RunningRoute | None = None
    body: MessageBody | None = None
    """The request's body, if it has one."""
    upstream: Upstream | None = None
    """What serves it, if that is not the balancer itself."""
    cache: str | None = None
    """What the cache did, if it was asked."""
    edits: FieldChange | None = None
    """What steps have changed of the fields for the server."""
    grpc_status: int | None = None
    """What a call of gRPC has come to."""
    bytes_in = 0
    """Bytes of the request's body."""
    bytes_out = 0
    status: int | None = None
    """Of the response that has begun."""
    responded_at: float | None = None
    continue_sent = False
    """The client was told to send its body."""
    ended = False
    _reason: RequestReason = "ok"
    _steps: Iterator[Step] = iter(())
    _scopes: tuple[trio.CancelScope, ...] = ()
    """Of its tasks."""
    _idle_queue: DeadlineQueue | None = None
    _idle_since = 0.0
    _complete = False
    """The whole response was sent, but for what the client has not taken yet."""

    def __init__(self, carrier: ExchangeCarrier, frontend: HttpFrontend, head: RequestHead) -> None:
        self.carrier = carrier
        self.frontend = frontend
        self.head = head
        self.id = frontend.next_id()
        self.began = carrier.turn.now
        self.client: Client = carrier.client
        """Behind trusted proxies, the client that they name."""
        self.scheme = carrier.scheme
        """``http`` or ``https``: what the client used."""
        if carrier.trusted:
            self._read_forwarding(head)

    def _read_forwarding(self, head: RequestHead) -> None:
        """Believe what a trusted proxy says of its client."""
        carrier, trusted = self.carrier, self.frontend.trusted_proxies
        peer = carrier.client
        if carrier.from_peer:
            peer, trusted = _PEER, Networks((*trusted.texts, _PEER.host))
        found = read_forwarding(head, peer, carrier.scheme, trusted, self.id.encode())
        self.client, self.scheme = found.client, found.scheme
        self.told = FieldChange() if carrier.from_peer else found.change
        self.id = found.request_id.decode()

    # The way to the target

    def start(self) -> None:
        """Find the route, and go its way."""
        head = self.head
        if head.has_body:
            self.body = self._body()
        if head.method == b"CONNECT" and not self.takes_connect:
            self.carrier.must_close = True  # what follows may be another protocol
            self.fail(405, "bad_request")
            return
        route: RunningRoute | None = head.route
        if route is None:
            try:
                route = self.frontend.find(head)
            except MalformedError as error:
                self.fail(error.status, "bad_request")
                return
            head.route = route
        if route is None:
            self.fail(404, "no_route")
            return
        self.route = route
        if self.body is not None and 0 < self.max_body < (head.block.length or 0):
            self.fail(413, "too_large")
        elif route.steps and not self.carrier.from_peer:
            self._steps = iter(route.steps)
            self.passed()
        else:
            route.target.begin(self)

    def _body(self) -> MessageBody:
        block = self.head.block
        if block.chunked:
            return ChunkWalker(self.max_header, max_size=self.max_body)
        return LengthBody(block.length or 0)

    def passed(self) -> None:
        """Go on with the next step, or the target."""
        if self.ended or self.route is None:
            return
        self.carrier.loop.refresh()
        for step in self._steps:
            if not step.begin(self):
                return
        self.route.target.begin(self)

    @property
    def max_header(self) -> int:
        return self.frontend.settings.max_header

    @property
    def max_body(self) -> int:
        return self.frontend.settings.max_body

    def forwarded(self) -> HeaderFields:
        if self.told is not None:
            fields = self.head.block.end_to_end()
            return self.told.apply((field.name, field.value) for field in fields if field.meaning == FORWARDED)
        carrier = self.carrier
        return read_forwarding(self.head, carrier.client, carrier.scheme, Networks(), self.id.encode()).change.fields

    def set_request_field(self, name: bytes, value: bytes | None) -> None:
        change = FieldChange(frozenset((name.lower(),)), () if value is None else ((name, value),))
        self.edits = change if self.edits is None else self.edits.then(change)

    def spawn(self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        if not self.ended:
            scope = trio.CancelScope()
            self._scopes += (scope,)
            self.frontend.loop.spawn(partial(self._run, scope, async_fn, *args))

    async def _run(self, scope: trio.CancelScope, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        with scope:
            try:
                await async_fn(*args)
            except Exception as exception:  # noqa: BLE001 - a bug in one request must not reach another
                self.frontend.loop.fault("http", exception)
                self.fail(500, "no_server")

    # Responses

    def respond(
        self, status: int, fields: HeaderFields = (), body: Body = b"", *, reason: RequestReason = "ok"
    ) -> None:
        if self.ended or self.status is not None:
            release_parts(body)
            return
        self.carrier.loop.refresh()
        self._reason = reason
        self._leave_server()
        coding = b""
        if self.route is not None and self.route.changes and not self.carrier.from_peer:
            fields, coding = self.route.changes.of_own(self, status, fields, body_length(body))
        self.response_begins(status)
        self.carrier.respond(self, status, fields, body, coding)

    def fail(self, status: int, reason: RequestReason, fields: HeaderFields = (), detail: str = "") -> None:
        if self.status is not None:
            self.abort(reason)
        elif self.head.is_grpc:
            self.fail_call(status, reason)
        else:
            accept = b", ".join(self.head.block.get_all(b"accept"))
            page, body = error_page(status, accept, self.id, detail)
            self.respond(status, [*page, *fields], body, reason=reason)

    def fail_call(self, status: int, reason: RequestReason, *, by_deadline: bool = False) -> None:
        """Answer a call of gRPC as clients of gRPC expect it: the status stands for the error with this HTTP status."""
        from lb.http.grpc import error_fields  # noqa: PLC0415 - only who has HTTP/2 needs it

        self.grpc_status, fields = error_fields(status, by_deadline=by_deadline)
        if self.status is None:
            self.respond(200, fields, reason=reason)
        elif not self.ended:
            self._reason = reason
            self._leave_server()
            self.response_complete(trailers=read_trailers(fields[1:]))

    def refuse_body(self, status: int) -> None:
        """The request's body is malformed, or too large."""
        self.carrier.must_close = True
        self.fail(status, "bad_request" if status == 400 else "too_large")

    def send_continue(self) -> None:
        """Tell the client to send its body: it is kept here, for another attempt."""
        self.continue_sent = True
        try:
            self.carrier.write_continue()
        except OSError:
            self.client_left()

    def interim(self, head: ResponseHead) -> None:
        """Pass on an interim response (1xx), to clients that know them."""
        if self.head.minor == 0 or (head.status == 100 and not self.expects_continue):
            return
        self.continue_sent = self.continue_sent or head.status == 100
        self.carrier.write_interim(self, head)

    @property
    def expects_continue(self) -> bool:
        """The client waits for ``100 Continue`` before it sends its body."""
        head = self.head
        return bool(head.block.meanings & EXPECT) and head.minor > 0 and not self.continue_sent

    def response_begins(self, status: int) -> None:
        """The first byte of the response is sent next."""
        self.status = status
        self.responded_at = self.carrier.turn.now

    def response_complete(self, *, close: bool = False, trailers: Sequence[Field] = ()) -> None:  # noqa: ARG002 - in HTTP/1, they are in the chunks
        """The whole response was sent, but for what the client has not taken yet."""
        if close:
            self.carrier.must_close = True
        if self.carrier.unsent:
            self._complete = True
            self.watch_idle()
        else:
            self._end()
            self.carrier.exchange_ended(self)

    def client_writable(self) -> None:
        """The client has taken all that was unsent."""
        flow = self.carrier.response_flow
        if flow is not None:
            flow.pump()
        elif self._complete:
            self._end()
            self.carrier.exchange_ended(self)

    def switch(self, head: ResponseHead, server: EpollStream, rest: bytes) -> None:
        if self._idle_queue is not None:
            self._idle_queue.discard(self)  # the relay has its own deadlines
        self.response_begins(head.status)
        self.carrier.switch(self, head, server, rest)
        if self.upstream is not None:  # the client is still there
            self.upstream.let_go()

    def relay_ended(self, relay: Relay, ended_by: EndedBy, reason: Reason) -> None:
        """The relay of another protocol has ended."""
        self.bytes_in += relay.bytes_in
        self.bytes_out += relay.bytes_out
        self._reason = _RELAY_REASONS.get(reason, "ok")
        if reason == "reset":
            self._reason = "client_left" if ended_by == "client" else "server_reset"
        self._end()

    # The end

    def client_left(self) -> None:
        """The client has ended the connection, or it was reset."""
        if not self.ended:
            self._reason = "client_left"
            self._end()
            self.carrier.lost("client", "reset")

    def abort(self, reason: RequestReason) -> None:
        """End now. A response that has begun must not look complete."""
        if self.ended:
            return
        if self.status is None and reason != "stopped":
            self.fail(502, reason)
            return
        self.carrier.loop.refresh()
        unfinished = self.upstream is not None and self.upstream.may_end_unfinished
        self._reason = reason
        self._end()
        self.carrier.cut(reset=not unfinished)

    def _leave_server(self) -> None:
        if self.upstream is not None and not self.upstream.done:
            self.upstream.end()

    def _end(self) -> None:
        """Give back everything, and write the record."""
        self.ended = True
        if self._idle_queue is not None:
            self._idle_queue.discard(self)
        for scope in self._scopes:
            scope.cancel()
        self._leave_server()
        if not self.carrier.from_peer:
            self._report()
        self.upstream = None  # break the reference cycle

    def _report(self) -> None:
        """Write the record of what has ended."""
        if self.frontend.is_recorded:
            self.frontend.context.sink(self._record())

    def _record(self) -> HttpRequest:
        route, upstream = self.route, self.upstream
        now = self.carrier.turn.now
        method, host, path, version = self.head.described
        responded_at = self.responded_at
        return self.frontend.record(
            self.id,
            self.frontend.name,
            route.name if route is not None else "",
            self.client,
            method,
            host,
            path,
            version,
            self.status,
            self.bytes_in,
            self.bytes_out,
            (now - self.began) * 1000,
            None if responded_at is None else (responded_at - self.began) * 1000,
            route.pool if route is not None else "",
            upstream.server_name_used if upstream is not None else None,
            upstream.attempts if upstream is not None else (),
            self.cache,
            self._reason,
            self.grpc_status,
        )

    # Limits

    @property
    def is_limited(self) -> bool:
        limited = self.route is not None and self.route.limit is not None and not self.carrier.from_peer
        return limited or bool(self.carrier.buckets)

    def request_pace(self, resume: Callable[[], None]) -> Pace | None:
        buckets = [inwards for inwards, _ in self.carrier.buckets]
        return Pace(buckets, 0, partial(self._resume, resume)) if buckets else None

    def response_pace(self, resume: Callable[[], None]) -> Pace | None:
        buckets = [outwards for _, outwards in self.carrier.buckets]
        route, free = self.route, 0
        if route is not None and route.limit is not None and not self.carrier.from_peer:
            free = route.free_bytes
            buckets.insert(0, self.frontend.limits.bucket(route.limit))
        return Pace(buckets, free, partial(self._resume, resume)) if buckets else None

    def _resume(self, resume: Callable[[], None]) -> None:
        """Bytes of a body may pass again. Nobody was idle while they might not."""
        self.carrier.loop.refresh()
        self.carrier.last_activity = self.carrier.turn.now
        resume()

    # The idle timeout: no byte moved within the request or the response

    def watch_idle(self) -> None:
        """A body is on its way: the idle timeout applies."""
        if self._idle_queue is None and not self.ended:
            self._idle_since = self.carrier.turn.now
            self._idle_queue = self.frontend.idle_queue
            self._idle_queue.enter(self, self._idle_since)

    def expired(self, queue: DeadlineQueue) -> None:
        """The idle timeout has passed, unless something has moved since."""
        self.carrier.loop.refresh()
        upstream = self.upstream
        active = max(self.carrier.last_activity, upstream.last_activity if upstream is not None else 0.0)
        waits_for_server = self.status is None and self.carrier.request_flow is None
        if waits_for_server or active > self._idle_since:
            self._idle_since = self.carrier.turn.now if waits_for_server else active
            queue.renew(self, self._idle_since)
            return
        self._idle_queue = None
        if self.status is None:
            self.carrier.must_close = True
            self.fail(504 if upstream is not None and upstream.stuck else 408, "timeout")
        else:
            self.abort("timeout")
