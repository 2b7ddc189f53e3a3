"""The mode ``"forward"``: a proxy that clients are told to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from lb.forward.connection import ForwardConnection
from lb.forward.frontend import ForwardFrontend
from lb.forward.settings import forward_table, read_settings
from lb.http.client_connection import drain
from lb.model import ForwardSettings, ListenerSpec
from lb.model.explained_target import AskedTarget, JudgedTarget
from lb.model.modes import References
from lb.model.shape import Shape
from lb.model.table import Table
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.mode import Mode
from lb.relay.factory import has_fast_splicer

__all__ = ["ForwardMode"]


class ForwardMode(Mode):
    """Implements :class:`lb.proxy.mode.Mode`."""

    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None:
        self._context = context
        self._frontend = ForwardFrontend(context, closed)
        self.accepted = partial(ForwardConnection, context, self._frontend)

    @classmethod
    def read_settings(cls, listener: str, table: Table, references: References) -> ForwardSettings:
        if not has_fast_splicer():
            raise ValueError("mode 'forward' needs the fast splicer: it runs on Linux, without LB_SPLICER=portable")
        settings = read_settings(listener, table, references)
        if not settings.parents:  # names are looked up: now, nothing else imports beside it, and no client waits
            import lb.forward.system_names  # noqa: F401, PLC0415 - dnspython takes 60 ms
        return settings

    @classmethod
    def table(cls) -> Shape:
        return forward_table()

    @classmethod
    async def explain_target(cls, listener: ListenerSpec, asked: AskedTarget) -> JudgedTarget:
        from lb.forward.explanation import explain_target  # noqa: PLC0415 - not needed to serve clients

        return await explain_target(listener, asked)

    def configure(self, spec: ListenerSpec, pools: Mapping[str, Pool]) -> None:
        settings = spec.settings
        assert isinstance(settings, ForwardSettings)  # noqa: S101 - read_settings returns this type
        self._frontend.configure_proxy(spec, settings, pools)

    def drain(self) -> None:
        """Let requests under way finish, and end each connection that is no tunnel once it is idle."""
        drain(self._context, self._frontend)
