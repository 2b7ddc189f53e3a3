"""The fast path: a usual request, over a kept connection, to a server that answers at once.

Most requests have no body, ask for a route without steps or changes, find a kept connection, and get a response that
comes with one read. Such a request needs no more than a :class:`FastRequest`. As soon as anything is unusual, it
becomes an :class:`~lb.http.exchange.Exchange` with an :class:`~lb.http.upstream_request.UpstreamRequest`, and goes on
as any other.
"""

from __future__ import annotations

from lb.events import RequestReason
from lb.http.exchange import Exchange, ExchangeCarrier
from lb.http.frontend import HttpFrontend, RunningRoute
from lb.http.server_connection import ServerConnection
from lb.http.upstream_request import PoolTarget, UpstreamRequest
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.http1.wire import CLOSE
from lb.pools.backend import Backend

__all__ = ["FastRequest", "begin_fast"]

_FIRST_RETRIED = 502
"""Statuses from here on may be tried at another server."""


def begin_fast(
    carrier: ExchangeCarrier,
    frontend: HttpFrontend,
    head: RequestHead,
    route: RunningRoute,
    target: PoolTarget,
    kind: type[FastRequest] | None = None,
) -> None:
    """Begin a request on the fast path, or an exchange if it has no kept connection.

    The caller has looked: route, head and carrier are usual. ``kind`` is that of the carrier; None = HTTP/1.
    """
    pool = target.pool
    backend = pool.pick(carrier.client, ())
    server = target.kept.take(backend) if backend is not None else None
    if backend is None or server is None:
        exchange = carrier.new_exchange(head)
        exchange.route = route
        exchange.upstream = UpstreamRequest(exchange, target)
        carrier.exchange = exchange
        exchange.upstream.start(backend)
        return
    request = (kind or FastRequest)(carrier, frontend, head, route, target, backend, server)
    carrier.exchange = request
    request.send()


class FastRequest:
    """Implements :class:`lb.http.server_connection.ServerExchange`, and what a carrier asks of its exchange."""

    __slots__ = ("backend", "began", "carrier", "frontend", "head", "id", "route", "server", "target")
    body = None
    ended = False
    kept_open = b""
    """Names the head of a response after which the client's connection stays open, as the carrier writes it."""

    def __init__(
        self,
        carrier: ExchangeCarrier,
        frontend: HttpFrontend,
        head: RequestHead,
        route: RunningRoute,
        target: PoolTarget,
        backend: Backend,
        server: ServerConnection,
    ) -> None:
        self.carrier = carrier
        self.frontend = frontend
        self.head = head
        self.route = route
        self.target = target
        self.backend = backend
        self.server = server
        self.id = frontend.next_id()
        self.began = carrier.turn.now

    def send(self) -> None:
        """Send the request over the kept connection."""
        server, carrier = self.server, self.carrier
        image = self.head.image or self.target.images.common(self.head)
        server.exchange = self
        server.requests += 1
        server.waiting_since = self.began
        try:
            server.write(b"%s%s%s\r\n\r\n" % (image, carrier.forwarded_lines, self.id.encode()))
        except OSError as error:
            self.unfold(sent=False).server_failed(error)
            return
        if server.readable:
            server.continue_later()  # it may have closed before the request

    # Calls of the server's connection

    @property
    def max_header(self) -> int:
        return self.frontend.settings.max_header

    def response(self, head: ResponseHead, rest: memoryview) -> bool:
        carrier, frontend, server = self.carrier, self.frontend, self.server
        status = head.status
        whole = head.fixed == len(rest) or (carrier.knows_chunks and head.is_whole_in_chunks(rest, self.max_header))
        if not whole or status >= _FIRST_RETRIED or frontend.closes or carrier.must_close:
            return self.unfold().response(head, rest)
        now = carrier.turn.now
        timing = self.backend.timing
        if timing is not None and timing.first_byte is not None:
            timing.first_byte.add(now - self.began)
        keep_alive = b"close" not in self.head.block.options
        connection = self.kept_open if keep_alive else CLOSE
        try:
            carrier.write_whole(head.images.get((None, connection)) or carrier.usual_image(head, connection), rest)
        except OSError:
            self.unfold().exchange.client_left()
            return False
        server.exchange = server.waiting_since = None
        if head.keep_alive and not server.readable:
            self.target.kept.keep(server)
        else:
            server.close_socket()
        self.target.pool.release(self.backend)
        if carrier.unsent:
            self._wait_for_client(status, now, len(rest), close=not keep_alive)
            return False
        if frontend.is_recorded:
            self._record(status, now, len(rest))
        carrier.fast_ended(keep_alive=keep_alive)
        return False

    def server_failed(self, error: Exception) -> None:
        self.unfold().server_failed(error)

    def response_timed_out(self) -> None:
        self.unfold().response_timed_out()

    # Calls of the carrier, and of the process

    @property
    def upstream(self) -> FastRequest:
        """Itself, for who asks for the server."""
        return self

    @property
    def used(self) -> Backend:
        return self.backend

    def client_writable(self) -> None:
        """Nothing of a response waits for the client."""

    def client_left(self) -> None:
        self.unfold().exchange.client_left()

    def abort(self, reason: RequestReason) -> None:
        self.unfold().exchange.abort(reason)

    def server_removed(self) -> None:
        self.unfold().server_removed()

    def server_down(self) -> None:
        self.unfold().server_down()

    # The way to an exchange

    def unfold(self, *, sent: bool = True) -> UpstreamRequest:
        """Become an exchange. ``sent``: the request was sent. Return its request to the server."""
        exchange = self._exchange()
        exchange.upstream = upstream = UpstreamRequest(exchange, self.target)
        upstream.take_over(self.backend, self.server, self.began, sent=sent)
        self.server.exchange = upstream
        return upstream

    def _exchange(self) -> Exchange:
        exchange = self.carrier.new_exchange(self.head)
        exchange.id, exchange.began, exchange.route = self.id, self.began, self.route
        self.carrier.exchange = exchange
        return exchange

    def _wait_for_client(self, status: int, now: float, size: int, *, close: bool) -> None:
        """The client does not take all of the response: an exchange waits for it. The server is free."""
        exchange = self._exchange()
        exchange.status, exchange.responded_at, exchange.bytes_out = status, now, size
        exchange.upstream = upstream = UpstreamRequest(exchange, self.target)
        upstream.server_name_used = self.backend.name
        upstream.done = True
        exchange.response_complete(close=close)

    def _record(self, status: int, now: float, size: int) -> None:
        frontend, began = self.frontend, self.began
        method, host, path, version = self.head.described
        frontend.context.sink(
            frontend.record(
                self.id,
                frontend.name,
                self.route.name,
                self.carrier.client,
                method,
                host,
                path,
                version,
                status,
                0,
                size,
                (now - began) * 1000,
                (now - began) * 1000,
                self.route.pool,
                self.backend.name,
                (),
                None,
                "ok",
            )
        )
