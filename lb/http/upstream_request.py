"""A request at the servers of its pool: pick one, send the request, pass on the response; on failure try again.

A request may be sent again as long as the client has got no byte of a response: to the same server if a kept connection
turns out closed, else to another one. Its body must have been kept, and its method must allow it (RFC 9110, section
9.2.2).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from lb.events import Attempt, EndedBy, FailedResponse, Reason, RequestReason
from lb.http.carrier import ExchangeToServe
from lb.http.flow import Coding, Flow
from lb.http.header_edits import FieldChange
from lb.http.kept import KeptConnections
from lb.http.request_image import RequestImages
from lb.http.response import Response
from lb.http.response_changes import ResponseChanges, Variant
from lb.http.server_carrier import RefusedStreamError, ServerCarrier
from lb.http.server_connection import ConnectionSettings, ServerConnection
from lb.http.sticky import Sticky
from lb.http1.body import MessageBody
from lb.http1.field import UPGRADE, Field
from lb.http1.grammar import MalformedError
from lb.http1.response_head import ResponseHead, ResponseHeads
from lb.model import RouteSpec
from lb.model.address import Client
from lb.model.request import client_with
from lb.net.errors import describe_error
from lb.pools.backend import Backend
from lb.proxy.connector import Connector
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route
from lb.relay.epoll_connecting import EpollConnecting
from lb.relay.epoll_handshake import EpollHandshake
from lb.relay.epoll_loop import EpollLoop
from lb.relay.epoll_stream import EpollStream
from lb.tls.layer import Tls

__all__ = ["PoolTarget", "UpstreamRequest"]

MOST_UNSEEN = 3
"""Times that a request goes to the same server again, as that has not seen it; then that is a failed attempt.

One is usual: a server that restarts, or that ends a connection after so many requests, leaves out those under way.
"""
INTERIM_LINE = 25
"""Bytes that count for an interim response beside its fields."""


class PoolTarget:
    """Sends the requests of a route to the servers of a pool. Implements :class:`lb.http.carrier.Responder`."""

    new_connector: Callable[..., Connector] = Connector
    multiplexes = False
    """Carriers are streams, and requests that these refuse are sent again."""
    is_proxy = False
    """The servers are proxies: they may ask for a login that is not the client's."""

    def __init__(
        self,
        context: ConnectionContext,
        loop: EpollLoop,
        route: Route,
        spec: RouteSpec,
        heads: ResponseHeads,
        images: RequestImages | None = None,
    ) -> None:
        self.context = context
        self.loop = loop
        self.route = route
        self.pool = route.pool
        self.keeps_connections = route.pool.spec.send_proxy == "off" and not route.same_port
        """A connection serves any client: the server was told of none, and its port is its own."""
        self.changes = ResponseChanges(spec)
        self.kept = context.of_mode(KeptConnections)
        pool = route.pool.spec
        http = pool.http
        self.sticky = Sticky(pool.sticky, route.pool, context.secret) if pool.sticky is not None else None
        self.counted = frozenset(status for first, last in pool.passive.statuses for status in range(first, last + 1))
        """Statuses that count as failures of their server."""
        self.changes_responses = bool(self.changes) or self.sticky is not None
        reads = any(group.strategy.reads_requests for group in route.pool.groups)
        self.images = images or RequestImages(spec)
        self.take: Callable[[Backend], ServerCarrier | None] = self.kept.take if self.keeps_connections else _no_carrier
        """Returns a carrier to a server that is connected, if there is one."""
        usual = self.keeps_connections and self.images.usual
        self.is_plain = usual and not (self.changes_responses or self.counted or reads)
        """Usual requests and responses pass unchanged, and nothing is counted or read of them."""
        self.connections = ConnectionSettings(
            route.pool,
            heads,
            self.kept,
            context.deadlines.queue("response", http.response_timeout),
            context.deadlines.queue("kept", http.keep_alive_timeout),
            route.keepalive_options,
        )

    def begin(self, exchange: ExchangeToServe) -> None:
        exchange.upstream = request = UpstreamRequest(exchange, self)
        request.start()

    def carry(self, server: socket.SocketType, tls: Tls | None, ready: int, backend: Backend) -> ServerCarrier:
        """Return a carrier over a socket that has just connected. ``ready``: what it gets no further edge for."""
        carrier = ServerConnection(self.loop, server, tls, ready, backend, self.connections)
        self.loop.handlers[server.fileno()] = carrier
        return carrier


def _no_carrier(_backend: Backend) -> None:
    """Connections from before a change of the configuration do not tell the server of the client."""


class UpstreamRequest:
    """Implements ConnectorOwner, ServerExchange and FlowOwner. Every path ends in :meth:`end`."""

    # Most requests need few of these: a class's attribute costs a request nothing.
    used: Backend | None = None
    """The leased server, once it is connected. Before, the connector has the lease."""
    server: ServerCarrier | None = None
    server_name_used: str | None = None
    """The name of the server that has the request, or that has answered it."""
    response_sent: Response | None = None
    """The response on its way to the client."""
    done = False
    """Everything is given back."""
    _connector: Connector | None = None
    _request_flow: Flow | None = None
    _first_part = b""
    """The bytes of the body that went with the head."""
    _kept: bytearray | None = None
    """The bytes of the body so far, for another attempt; None if there is none, or if they are too many."""
    _sent = False
    """Something of the request was sent."""
    _failure: tuple[int, RequestReason] | None = None
    """Status and reason of the last attempt, if a server had the request."""
    _attempts_before: tuple[Attempt, ...] = ()
    """Failed attempts of the request that it was taken over from."""
    _began = 0.0
    _unseen = 0
    """Times that it was sent again, as its server had not seen it."""
    _interim_size = 0
    """Bytes of interim responses so far."""

    def __init__(self, exchange: ExchangeToServe, target: PoolTarget) -> None:
        head = exchange.head
        self.exchange = exchange
        self.target = target
        self.client = client_with(exchange.client, head)
        """The client with the request, for strategies."""
        self._repeats = head.repeats
        """The request may be sent again, once a server may have seen it."""
        if head.has_body:
            fits = (head.block.length or 0) <= target.pool.spec.http.retry_buffer
            self._repeats = head.repeats and fits
            self._kept = bytearray() if fits and (head.repeats or target.multiplexes) else None

    @property
    def backend(self) -> Backend | None:
        if self.used is None and self._connector is not None:
            return self._connector.backend
        return self.used

    # Pick and connect

    def start(self, picked: Backend | None = None) -> None:
        """Pick a server, unless one is picked, and use a kept connection to it, or connect."""
        target = self.target
        pool = target.pool
        backend = picked
        if backend is None and target.sticky is not None:
            backend = self._pick_sticky(target.sticky)
        if backend is None:
            backend = pool.pick(self.client, ())
        if backend is not None:
            server = target.take(backend)
            if server is not None:
                self.used = backend
                self._use(server)
                return
        self._connect(backend)

    def take_over(self, backend: Backend, server: ServerCarrier, began: float, *, sent: bool) -> None:
        """Go on with a request that has a server already."""
        self.used, self.server, self.server_name_used = backend, server, backend.name
        self._began, self._sent = began, sent

    def take_over_from(self, other: UpstreamRequest, server: ServerCarrier) -> None:
        """Go on with the response to the request of another exchange. It gives back nothing any more."""
        backend = other.used
        assert backend is not None  # noqa: S101 - it has responded
        self.take_over(backend, server, other._began, sent=True)
        self._attempts_before = other.attempts
        other.used = other.server = None
        other.done = True
        server.exchange = self

    def _pick_sticky(self, sticky: Sticky) -> Backend | None:
        """Pick the server that the client's cookie names, if it may be chosen."""
        name = sticky.server_of(self.exchange.head.cookies)
        return None if name is None else self.target.pool.pick_server(name, ())

    def _connect(self, picked: Backend | None) -> None:
        """Connect to a server that was picked, or to the next one."""
        self.server_name_used = None
        connector = self._connector
        if connector is None:
            connector = self._connector = self._make_connector()
        connector.start(picked)

    def _make_connector(self) -> Connector:
        target = self.target
        return target.new_connector(target.context, target.route, self, target.context.clock(), self._use_kept)

    def connected(self, server: socket.SocketType, tls: Tls | None) -> None:
        connector = self._connector
        assert connector is not None and connector.connect_ms is not None  # noqa: S101, PT018 - it calls
        target, loop = self.target, self.target.loop
        target.context.note_connect(target.pool.name, connector.connect_ms)
        self.used = backend = connector.hand_over()
        handler = loop.handlers[server.fileno()]
        assert isinstance(handler, EpollConnecting | EpollHandshake)  # noqa: S101 - it has just connected
        self._use_contained(target.carry(server, tls, handler.ready, backend))

    def _use_kept(self, backend: Backend) -> bool:
        """Use a kept connection to a server that the connector has picked, if there is one."""
        server = self.target.take(backend)
        if server is None:
            return False
        assert self._connector is not None  # noqa: S101 - it calls
        self.used = self._connector.hand_over()
        self._use_contained(server)
        return True

    def _use_contained(self, server: ServerCarrier) -> None:
        try:
            self._use(server)
        except Exception as exception:  # noqa: BLE001 - a bug in one request must not reach another
            self.target.loop.fault("http", exception)
            self.failed()

    def no_server(self, ended_by: EndedBy, reason: Reason) -> None:
        exchange = self.exchange
        self.target.loop.refresh()
        if ended_by == "client":
            exchange.client_left()
        elif self._failure is not None:
            exchange.fail(*self._failure)
        elif reason == "connect_failed":
            attempts = self.attempts
            if attempts and all(attempt.error == "timed out" for attempt in attempts):
                exchange.fail(504, "timeout")
            else:
                exchange.fail(502, "connect_failed")
        else:
            exchange.fail(503, "no_server")

    def failed(self) -> None:
        self.exchange.fail(502, "connect_failed")

    # The client, as the connector and a PROXY header see it

    @property
    def id(self) -> int:
        return self.exchange.carrier.id

    @property
    def sock(self) -> socket.SocketType:
        return self.exchange.carrier.sock

    @property
    def watched(self) -> socket.SocketType | None:
        return self.exchange.carrier.watched

    @property
    def destination(self) -> Client | None:
        return self.exchange.carrier.destination

    @property
    def tlvs(self) -> bytes:
        return self.exchange.carrier.tlvs

    @property
    def server_name(self) -> str | None:
        return self.exchange.carrier.server_name

    @property
    def tls(self) -> Tls | None:
        return self.exchange.carrier.tls

    # Send the request

    def _use(self, server: ServerCarrier) -> None:
        """Send the request over this connection: the head, what is there of the body, then the rest as it comes."""
        exchange = self.exchange
        self.server = server
        self.server_name_used = server.backend.name
        self._began = server.loop.turn.now
        body = exchange.body
        image = self.target.images.image(exchange, server.backend.spec, passes_expect=self._kept is None)
        first, coding = b"", None
        if body is not None:
            coding = server.coding(exchange.head, body)
            try:
                first = self._coded_first_part(body, coding)
            except MalformedError as error:
                exchange.refuse_body(error.status)
                return
            if self._kept is not None and exchange.expects_continue:
                exchange.send_continue()
                if exchange.ended:
                    return
        whole = body is None or body.done
        trailers = () if body is None else body.trailers
        try:
            server.begin(self, exchange.head, image, first, ended=whole and not trailers)
        except OSError as error:
            self.server_failed(error)
            return
        self._sent = True
        if not whole:
            self._send_body(server, coding)
        else:
            if trailers:
                server.finish_request(trailers)
            server.waiting_since = server.turn.now
        if server.readable and self.server is server:
            server.continue_later()  # it may have closed, or answered, before the request

    def _coded_first_part(self, body: MessageBody, coding: Coding | None) -> bytes:
        """Return what goes with the head. Raises MalformedError."""
        part = self._take_first_part(body)
        if coding is None:
            return part
        part = coding.feed(part)
        return part + coding.finish() if body.done else part

    def _take_first_part(self, body: MessageBody) -> bytes:
        """Return the bytes of the body that are here: those that went before, or those that came with the head."""
        exchange, carrier = self.exchange, self.exchange.carrier
        if self._kept:
            return bytes(self._kept)
        if not self._first_part and not exchange.is_limited:
            data = carrier.take_ahead()
            if data:
                taken = body.walk(data)
                self._first_part = data[:taken]
                if taken < len(data):
                    carrier.give_back(data[taken:])
                exchange.bytes_in += taken
                if self._kept is not None:
                    self._kept += self._first_part
        return self._first_part

    def _send_body(self, server: ServerCarrier, coding: Coding | None) -> None:
        exchange = self.exchange
        assert exchange.body is not None  # noqa: S101 - see _use
        flow = Flow(exchange.carrier, server, exchange.body, self, coding)
        if self._kept is not None:
            flow.kept, flow.keep = self._kept, self.target.pool.spec.http.retry_buffer
        self._request_flow = exchange.carrier.request_flow = server.request_flow = flow
        flow.pace = exchange.request_pace(flow.pump)
        exchange.watch_idle()
        flow.pump()

    def flow_ended(self, flow: Flow) -> None:
        """The request's body has passed."""
        self._leave_request_flow(flow)
        if self.server is not None:
            self.server.request_flow = None
            self.server.finish_request(flow.body.trailers)
            if self.response_sent is None:  # else it has answered before it had all
                self.server.waiting_since = self.server.turn.now

    def flow_failed(self, flow: Flow, stream: EpollStream, error: Exception) -> None:
        """The request's body cannot pass."""
        exchange, server = self.exchange, self.server
        self._leave_request_flow(flow)
        if server is not None:
            server.request_flow = None
        if isinstance(error, MalformedError):
            exchange.refuse_body(error.status)
        elif stream is exchange.carrier:
            exchange.client_left()
        elif server is not None and self.response_sent is None:
            server.look_for_response()  # it may have answered without reading on

    def _leave_request_flow(self, flow: Flow) -> None:
        """The flow has ended."""
        self.exchange.bytes_in += flow.moved
        self._kept = flow.kept
        self._request_flow = self.exchange.carrier.request_flow = None

    # The response

    @property
    def max_header(self) -> int:
        return self.exchange.max_header

    def response(self, head: ResponseHead, rest: memoryview) -> bool:
        server = self.server
        assert server is not None  # noqa: S101 - it calls
        status, backend = head.status, server.backend
        if status < 200 and status != 101:
            return self._pass_interim(head)
        server.waiting_since = None
        if status == 407 and self.target.is_proxy:
            raise MalformedError("a parent proxy asks for a login")
        if status == 101:
            self._switch(head, rest)
            return False
        if status < 502 or not self._try_another(head):
            timing = backend.timing
            if timing is not None and timing.first_byte is not None:
                timing.first_byte.add(server.loop.turn.now - self._began)
            self.deliver(server, head, rest)
        if self.target.counted:  # last, as it may end connections
            self._judge(status, backend)
        return False

    def deliver(self, server: ServerCarrier, head: ResponseHead, rest: memoryview) -> None:
        """Pass on a response. Raises MalformedError before anything is sent."""
        variant = self.variant(head, server.backend) if self.changes_responses else None
        if self._may_pass_whole(head, rest, variant):
            self._pass_whole(server, head, rest, variant)
        else:
            self.response_sent = Response(self, server, head, variant)
            self.response_sent.begin(rest)

    @property
    def changes_responses(self) -> bool:
        """Responses do not pass as they are."""
        return self.target.changes_responses

    def _pass_interim(self, head: ResponseHead) -> bool:
        """Pass on an interim response, unless there are too many: all together have the room of one head."""
        self._interim_size += INTERIM_LINE + len(head.block.lines)
        if self._interim_size > self.max_header:
            raise MalformedError("too many interim responses")
        self.exchange.interim(head)
        return not self.exchange.ended

    def _judge(self, status: int, backend: Backend) -> None:
        """Let the status of a response count for the server's passive health."""
        pool, now = self.target.pool, self.target.context.clock()
        if status in self.target.counted:
            pool.request_failed(backend, f"HTTP {status}", now)
        else:
            pool.request_succeeded(backend, now)

    def variant(self, head: ResponseHead, backend: Backend) -> Variant | None:
        """Return how the response is changed for the client."""
        exchange, sticky = self.exchange, self.target.sticky
        variant = self.target.changes.of(exchange, head, backend)
        if sticky is None or sticky.server_of(exchange.head.cookies) == backend.name:
            return variant
        cookie = sticky.set_cookie(backend.name, secure=exchange.scheme == b"https")
        change = FieldChange(fields=((b"Set-Cookie", cookie),))
        return Variant(b"", change) if variant is None else Variant(variant.coding, variant.change.then(change))

    def _may_pass_whole(self, head: ResponseHead, rest: memoryview, variant: Variant | None) -> bool:
        """Return True if the body is all there, and passes at once as it is."""
        exchange = self.exchange
        coded = variant is not None and variant.coding
        if exchange.head.method == b"HEAD" or coded or exchange.is_limited:
            return False
        knows_chunks = exchange.head.minor == 1 and exchange.carrier.knows_chunks
        if head.fixed == len(rest):
            return self.server is not None and self.server.has_all
        return knows_chunks and head.is_whole_in_chunks(rest, exchange.max_header)

    def _pass_whole(
        self,
        server: ServerCarrier,
        head: ResponseHead,
        rest: memoryview,
        variant: Variant | None,
        trailers: Sequence[Field] = (),
    ) -> None:
        """Pass on a response that has come at once: the usual case. ``trailers`` are those of :meth:`all_trailers`."""
        exchange, carrier = self.exchange, self.exchange.carrier
        image = carrier.response_image(exchange, head, change=None if variant is None else variant.change)
        exchange.status, exchange.responded_at, exchange.bytes_out = head.status, server.turn.now, len(rest)
        try:
            (carrier.write_two if trailers else carrier.write_whole)(image, rest)
        except OSError:
            exchange.client_left()
            return
        self.response_complete(reusable=head.keep_alive and not server.readable)
        exchange.response_complete(trailers=trailers)

    def _switch(self, head: ResponseHead, rest: memoryview) -> None:
        exchange, server = self.exchange, self.server
        assert server is not None  # noqa: S101 - see response
        agreed = exchange.head.upgrade and head.block.meanings & UPGRADE
        if not agreed or self._request_flow is not None or server.unsent:  # the rest of a body is of no other protocol
            exchange.fail(502, "bad_response")
        else:
            exchange.switch(head, server, bytes(rest))

    def _try_another(self, head: ResponseHead) -> bool:
        """Try another server if the response is one that the pool does not accept while there are others."""
        status = head.status
        return self._may_retry(str(status)) and self._ask_another(f"status {status}", status)

    def _ask_another(self, text: str, status: int) -> bool:
        """Send the request to another server, if there is one. The client gets ``status`` if all fail."""
        assert self.used is not None  # noqa: S101 - it has responded
        tried = self._connector.tried if self._connector is not None else ()
        other = self.target.pool.pick(self.client, (*tried, self.used))
        if other is None:
            return False
        self._retry(text, (status, "bad_response"), other)
        return True

    # Failure

    @property
    def _can_be_sent(self) -> bool:
        """The whole request is there still, and the client has got nothing."""
        return (self.exchange.body is None or self._kept is not None) and self.exchange.status is None

    @property
    def _repeatable(self) -> bool:
        """The request can be sent again, though a server may have seen it."""
        return self._repeats and self._can_be_sent

    @property
    def _retries_left(self) -> bool:
        return self._connector is None or self._connector.retries_left

    def _may_retry(self, condition: str) -> bool:
        """The pool's ``retry_on`` names the condition, and the request can be sent to another server."""
        return condition in self.target.pool.spec.http.retry_on and self._repeatable and self._retries_left

    def server_failed(self, error: Exception) -> None:
        server = self.server
        assert server is not None  # noqa: S101 - it calls
        stale = server.may_be_stale and not isinstance(error, MalformedError)
        refused = isinstance(error, RefusedStreamError) and self._can_be_sent
        self._drop_server()
        unseen = refused or (stale and (self._repeatable or not self._sent))
        if unseen and self._unseen < MOST_UNSEEN:
            self._unseen += 1
            self._send_again()
        elif refused and self._retries_left:
            self._retry("refused", (503, "no_server"))
        elif isinstance(error, MalformedError):
            self.exchange.fail(502, "bad_response")
        elif self._may_retry("reset"):
            text = describe_error(error) if isinstance(error, OSError) else "no response"
            self._retry(text, (502, "server_reset"))
        else:
            self.exchange.fail(502, "server_reset")

    def _send_again(self) -> None:
        """Send the request to the same server, over another connection."""
        backend, self.used = self.used, None
        assert backend is not None  # noqa: S101 - it had the request
        self._send_to(backend)

    def _send_to(self, backend: Backend) -> None:
        """Send the request to a server that is leased: over a connection that has room for it, or a new one."""
        server = self.target.take(backend) if self.target.multiplexes else None
        if server is None:
            self._connect(backend)
        else:
            self.used = backend
            self._use_contained(server)

    def response_timed_out(self) -> None:
        if self._may_retry("timeout"):
            self._retry("no response in time", (504, "timeout"))
        else:
            self.exchange.fail(504, "timeout")

    def _retry(self, text: str, failure: tuple[int, RequestReason], other: Backend | None = None) -> None:
        """Send the request to another server; ``other`` is picked already. The client gets ``failure`` if all fail."""
        self._failure = failure
        self._drop_server()
        backend = self.used
        assert backend is not None  # noqa: S101 - it had the request
        if self._connector is None:
            self._connector = self._make_connector()
        self._connector.note_failure(backend, text, self._began, FailedResponse)
        self._release()
        if other is None:
            self._connect(None)
        else:
            self._send_to(other)

    def _drop_server(self) -> None:
        """Close the connection to the server: its response does not count."""
        server, self.server = self.server, None
        self._stop_request()
        if server is not None:
            server.end()
            server.close_socket(reset=True)

    # The end

    def _release(self) -> None:
        backend, self.used = self.used, None
        if backend is not None:
            self.target.pool.release(backend)

    def response_complete(self, *, reusable: bool) -> None:
        """The whole response was read: the server is free, and its connection too if the whole request was read."""
        server, self.server = self.server, None
        assert server is not None  # noqa: S101 - it has responded
        if self._request_flow is not None:
            reusable = False
            self._stop_request()
        target = self.target
        server.end()
        if reusable and target.keeps_connections and isinstance(server, ServerConnection):
            target.kept.keep(server)
        else:
            server.close_socket()
        self._release()
        self.done = True

    def _stop_request(self) -> None:
        """The rest of the request's body is not sent."""
        flow = self._request_flow
        if flow is not None:
            flow.cancel()
            self._leave_request_flow(flow)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        attempts = self._connector.attempts if self._connector is not None else ()
        return self._attempts_before + attempts

    @property
    def last_activity(self) -> float:
        return self.server.last_activity if self.server is not None else 0.0

    @property
    def stuck(self) -> bool:
        return self.server is not None and not self.server.writable

    def let_go(self) -> None:
        """The connection to the server is relayed from now on. The lease lasts as long."""
        server, self.server = self.server, None
        if server is not None:
            assert isinstance(server, ServerConnection)  # noqa: S101 - HTTP/2 has no response 101
            server.end()
            server.keep_alive()
            server.detach()

    @property
    def may_end_unfinished(self) -> bool:
        """The client can tell from the framing of the response that it is not complete."""
        return self.response_sent is not None and self.response_sent.may_end_unfinished

    def server_removed(self) -> None:
        """The server was removed from the configuration, and the drain timeout has passed."""
        if self.server is None and self._connector is not None:
            self._connector.server_removed()
        else:
            self.server_down()

    def server_down(self) -> None:
        """The server must not be used any more: another one gets the request, if it may be sent again."""
        if self.server is not None and self.exchange.status is None:
            self._drop_server()
            if self._may_retry("reset"):
                self._retry("server down", (502, "server_down"))
                return
        self.exchange.abort("server_down")

    def end(self) -> None:
        """The exchange has ended: give back what is left."""
        if self.response_sent is not None:
            self.response_sent.cancel()
        self._drop_server()
        if self._connector is not None:
            self._connector.cancel()
            self._connector.release()
        self._release()
