"""The mode ``"rtmp"``: mode ``tcp`` to the process that publishers and players of RTMP talk to."""

from __future__ import annotations

import math
import socket

from lb.model import TcpSettings
from lb.model.media import RTMP_POOL
from lb.model.modes import References
from lb.model.shape import Shape, table_of
from lb.model.table import Table
from lb.proxy.context import ConnectionContext
from lb.relay.epoll_gathering import GatheringReads
from lb.relay.epoll_relay import EpollRelay
from lb.relay.epoll_splicer import EpollSplicer
from lb.relay.factory import has_fast_splicer
from lb.tcp.connection import Connection
from lb.tcp.mode import TcpMode
from lb.tls.layer import Tls

__all__ = ["RtmpMode"]


class _RtmpConnection(Connection):
    """A connection whose client's stream comes in pieces that are worth a read."""

    __slots__ = ()

    def connected(self, server: socket.SocketType, tls: Tls | None) -> None:
        super().connected(server, tls)
        assert isinstance(self._relay, EpollRelay)  # noqa: S101 - see RtmpMode.read_settings
        self._context.of_mode(_gathering_reads).add(self._relay)


def _gathering_reads(context: ConnectionContext) -> GatheringReads:
    assert isinstance(context.splicer, EpollSplicer)  # noqa: S101 - see RtmpMode.read_settings
    return GatheringReads(context.splicer.loop)


class RtmpMode(TcpMode):
    """Implements :class:`lb.proxy.mode.Mode`. The process has timeouts of its own."""

    connection_type = _RtmpConnection

    @classmethod
    def read_settings(cls, listener: str, table: Table, references: References) -> TcpSettings:  # noqa: ARG003 - no key of its own
        if not has_fast_splicer():
            raise ValueError("mode 'rtmp' needs the fast splicer: it runs on Linux, without LB_SPLICER=portable")
        if not references.media.live:
            raise ValueError("mode 'rtmp' needs an application for its streams, as in [media.live.live]")
        return TcpSettings(RTMP_POOL, idle_timeout=math.inf)

    @classmethod
    def table(cls) -> Shape:
        return table_of({})
