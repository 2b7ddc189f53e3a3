"""The mode ``"tcp"``: each client is relayed to one server, bytes unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from lb.model import ListenerSpec, TcpSettings
from lb.model.modes import References
from lb.model.shape import Shape
from lb.model.table import Table
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.filters import Filter
from lb.proxy.mode import Mode
from lb.proxy.tls_filters import SniFilter
from lb.tcp.connection import Connection
from lb.tcp.explained import Sampler
from lb.tcp.frontend import Frontend
from lb.tcp.settings import TCP_TABLE, read_settings

__all__ = ["TcpMode"]


class TcpMode(Mode):
    """Implements :class:`lb.proxy.mode.Mode`."""

    connection_type: ClassVar[type[Connection]] = Connection
    """What carries a client, unless it is sampled."""

    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None:
        self._context = context
        self._frontend = Frontend(context, closed)

    @classmethod
    def read_settings(cls, listener: str, table: Table, references: References) -> TcpSettings:
        return read_settings(listener, table, references.pools)

    @classmethod
    def table(cls) -> Shape:
        return TCP_TABLE

    def configure(self, spec: ListenerSpec, pools: Mapping[str, Pool]) -> None:
        settings = spec.settings
        assert isinstance(settings, TcpSettings)  # noqa: S101 - read_settings returns this type
        self._frontend.configure(spec, settings, pools)
        kind = Sampler(settings.explain_sample) if settings.explain_sample else self.connection_type
        self.accepted = partial(kind, self._context, self._frontend)

    def filters(self, spec: ListenerSpec) -> Sequence[Filter]:
        settings = spec.settings
        return (
            [SniFilter(bool(settings.no_tls))] if isinstance(settings, TcpSettings) and settings.sni is not None else []
        )
