"""A pool whose servers get HTTP/2: requests are streams, which share connections."""

from __future__ import annotations

import socket
from functools import partial

from lb.http.carrier import ExchangeToServe
from lb.http.grpc_request import GrpcRequest
from lb.http.http2_images import Http2Images
from lb.http.http2_server import Http2Server
from lb.http.server_carrier import ServerCarrier
from lb.http.stream_connector import StreamConnector
from lb.http.upstream_request import PoolTarget, UpstreamRequest
from lb.http1.response_head import ResponseHeads
from lb.model import RouteSpec
from lb.pools.backend import Backend
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route
from lb.relay.epoll_loop import EpollLoop
from lb.tls.layer import Tls

__all__ = ["Http2PoolTarget"]


class Http2PoolTarget(PoolTarget):
    """Servers that must know the client, by a PROXY header or by its port, get a connection for each request."""

    multiplexes = True

    def __init__(
        self, context: ConnectionContext, loop: EpollLoop, route: Route, spec: RouteSpec, heads: ResponseHeads
    ) -> None:
        super().__init__(context, loop, route, spec, heads, Http2Images(spec, secure=route.pool.spec.tls is not None))
        self.is_plain = False
        self._shared = shared = self.kept.share(loop)
        if self.keeps_connections:
            self.take = shared.take
            self.new_connector = partial(StreamConnector, shared)

    def begin(self, exchange: ExchangeToServe) -> None:
        request = (GrpcRequest if exchange.head.is_grpc else UpstreamRequest)(exchange, self)
        exchange.upstream = request
        request.start()

    def carry(self, server: socket.SocketType, tls: Tls | None, ready: int, backend: Backend) -> ServerCarrier:
        loop, shared = self.loop, self._shared
        loop.handlers[server.fileno()] = connection = Http2Server(
            loop, server, tls, ready, backend, self.connections, shared
        )
        if self.keeps_connections:
            shared.add(connection)
        return connection.new_carrier()
