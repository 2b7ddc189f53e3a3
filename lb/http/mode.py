"""The mode ``"http"``: a reverse proxy, which routes each request to a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from lb.http.client_connection import ClientConnection
from lb.http.frontend import HttpFrontend
from lb.http.settings import read_settings
from lb.model import HttpSettings, ListenerSpec, PoolSpec
from lb.model.address import Client
from lb.model.explained_request import AskedRequest, RoutedRequest
from lb.model.modes import References
from lb.model.table import Table
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.mode import Mode
from lb.relay.factory import has_fast_splicer

__all__ = ["HttpMode"]


class HttpMode(Mode):
    """Implements :class:`lb.proxy.mode.Mode`."""

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
    def explain_request(
        cls,
        listener: ListenerSpec,
        peer: Client,
        asked: AskedRequest,
        pools: Mapping[str, PoolSpec],
        secret: bytes | None,
    ) -> RoutedRequest:
        from lb.http.explanation import explain_request  # noqa: PLC0415 - not needed to serve requests

        return explain_request(listener, peer, asked, pools, secret)

    def configure(self, spec: ListenerSpec, pools: Mapping[str, Pool]) -> None:
        settings = spec.settings
        assert isinstance(settings, HttpSettings)  # noqa: S101 - read_settings returns this type
        if any(route.cache is not None for route in settings.routes):
            self._prepare_caching(spec)
        self._frontend.configure(spec, settings, pools)

    def _prepare_caching(self, spec: ListenerSpec) -> None:
        """Load what only routes with a cache need."""
        from lb.http.cache_hit import serve_hit  # noqa: PLC0415
        from lb.http.cache_peers import CachePeers  # noqa: PLC0415

        context, frontend = self._context, self._frontend
        frontend.serve_hit = serve_hit
        if context.place.workers > 1:
            peers = frontend.cache_peers
            if not isinstance(peers, CachePeers):
                peers = frontend.cache_peers = CachePeers(context, frontend)
            peers.configure(spec)

    def drain(self) -> None:
        """Let requests under way finish, and end each connection with its next response, or once it is idle."""
        self._frontend.draining = self._frontend.closes = True
        if self._frontend.cache_peers is not None:
            self._frontend.cache_peers.close()
        for connection in list(self._context.open):
            if isinstance(connection, ClientConnection) and connection.frontend is self._frontend:
                connection.drain()
