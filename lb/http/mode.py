"""The mode ``"http"``: requests are routed to servers, files or texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lb.http.settings import read_settings
from lb.model import HttpSettings, ListenerSpec
from lb.model.modes import References
from lb.model.table import Table
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.mode import Mode

__all__ = ["HttpMode"]


class HttpMode(Mode):
    """Implements :class:`lb.proxy.mode.Mode`."""

    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None:
        raise NotImplementedError

    @classmethod
    def read_settings(cls, listener: str, table: Table, references: References) -> HttpSettings:
        return read_settings(listener, table, references)

    def configure(self, spec: ListenerSpec, pools: Mapping[str, Pool]) -> None:
        raise NotImplementedError
