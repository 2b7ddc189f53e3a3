"""The mode ``"tcp"``: each client is relayed to one server, bytes unchanged."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence

from lb.model import ListenerSpec, PoolSpec, TcpSettings
from lb.model.address import Client
from lb.model.table import Table
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.filters import Filter
from lb.proxy.mode import Mode
from lb.proxy.tls_filters import SniFilter
from lb.tcp.connection import Connection
from lb.tcp.explained import Sampler
from lb.tcp.frontend import Frontend
from lb.tcp.settings import read_settings

__all__ = ["TcpMode"]


class TcpMode(Mode):
    """Implements :class:`lb.proxy.mode.Mode`."""

    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None:
        self._context = context
        self._frontend = Frontend(context, closed)
        self._new_connection: Callable[[ConnectionContext, Frontend, socket.SocketType, Client], Connection]

    @classmethod
    def read_settings(cls, listener: str, table: Table, pools: Mapping[str, PoolSpec]) -> TcpSettings:
        return read_settings(listener, table, pools)

    def configure(self, spec: ListenerSpec, pools: Mapping[str, Pool]) -> None:
        settings = spec.settings
        assert isinstance(settings, TcpSettings)  # noqa: S101 - read_settings returns this type
        self._frontend.configure(spec.name, settings, pools)
        self._new_connection = Sampler(settings.explain_sample) if settings.explain_sample else Connection

    def filters(self, spec: ListenerSpec) -> Sequence[Filter]:
        settings = spec.settings
        return [SniFilter()] if isinstance(settings, TcpSettings) and settings.sni is not None else []

    def accepted(self, sock: socket.SocketType, client: Client) -> Connection:
        return self._new_connection(self._context, self._frontend, sock, client)
