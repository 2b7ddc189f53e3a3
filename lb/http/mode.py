"""The mode ``"http"``: a reverse proxy, which routes each request to a server of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from lb.http.client_connection import ClientConnection, drain
from lb.http.frontend import HttpFrontend
from lb.http.settings import http_table, read_settings
from lb.model import HttpSettings, ListenerSpec, PoolSpec
from lb.model.address import Client
from lb.model.explained_request import AskedRequest, RoutedRequest
from lb.model.modes import References
from lb.model.shape import Shape
from lb.model.table import Table
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.mode import Mode
from lb.relay.factory import has_fast_splicer

__all__ = ["HttpMode"]


class HttpMode(Mode):
    """Implements :class:`lb.proxy.mode.Mode`."""

    alpn = ("h2", "http/1.1")

    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None:
        self._context = context
        self._frontend = HttpFrontend(context, closed)
        self.accepted = partial(ClientConnection, context, self._frontend)

    @classmethod
    def read_settings(cls, listener: str, table: Table, references: References) -> HttpSettings:
        if not has_fast_splicer():
            raise ValueError("mode 'http' needs the fast splicer: it runs on Linux, without LB_SPLICER=portable")
        return read_settings(listener, table, references)

    @classmethod
    def table(cls) -> Shape:
        return http_table()

    @classmethod
    def explain_request(
        cls,
        listener: ListenerSpec,
        peer: Client,
        asked: AskedRequest,
        pools: Mapping[str, PoolSpec],
        secret: bytes | None,
    ) -> RoutedRequest:
        from lb.http.explanation import explain_request  # noqa: PLC0415 - not needed to serve requests

        return explain_request(listener, peer, asked, pools, secret, time.time())

    def configure(self, spec: ListenerSpec, pools: Mapping[str, Pool]) -> None:
        settings = spec.settings
        assert isinstance(settings, HttpSettings)  # noqa: S101 - read_settings returns this type
        if any(route.cache is not None for route in settings.routes):
            self._prepare_caching(spec, settings)
        if settings.h2c or (spec.tls is not None and "h2" in spec.tls.alpn):
            self._prepare_http2()
        self._frontend.configure(spec, settings, pools)

    def _prepare_http2(self) -> None:
        """Load what only HTTP/2 needs."""
        from lb.http.http2_frontend import Http2Frontend  # noqa: PLC0415

        if self._frontend.http2 is None:
            self._frontend.http2 = Http2Frontend(self._frontend)

    def _prepare_caching(self, spec: ListenerSpec, settings: HttpSettings) -> None:
        """Load what only routes with a cache need."""
        from lb.http.cache_hit import serve_hit  # noqa: PLC0415
        from lb.http.cache_peers import CachePeers  # noqa: PLC0415

        context, frontend = self._context, self._frontend
        frontend.serve_hit = serve_hit
        if any(route.viewer_secret is not None for route in settings.routes):
            from lb.http.viewer_hit import serve_viewer_hit  # noqa: PLC0415 - only who has links needs it

            frontend.serve_hit = serve_viewer_hit
        if context.place.workers > 1:
            peers = frontend.cache_peers
            if not isinstance(peers, CachePeers):
                peers = frontend.cache_peers = CachePeers(context, frontend)
            peers.configure(spec)

    def drain(self) -> None:
        """Let requests under way finish, and end each connection with its next response, or once it is idle."""
        if self._frontend.cache_peers is not None:
            self._frontend.cache_peers.close()
        drain(self._context, self._frontend)
