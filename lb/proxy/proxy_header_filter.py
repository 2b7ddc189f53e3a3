"""Listener filters for ``accept_proxy``: trusted proxies and the PROXY header."""

from __future__ import annotations

import socket

import attrs

from lb.events import Reason
from lb.model.address import Networks, address_of
from lb.proxy.downstream import Downstream
from lb.proxy.filters import FilterFailed
from lb.proxy_protocol.endpoints import BadProxyHeader
from lb.proxy_protocol.header import HeaderReader

__all__ = ["ProxyHeaderFilter", "TrustedProxies"]

PEEK_SIZE = 2048
"""Bytes per peek: more than any header without a certificate."""


@attrs.frozen
class TrustedProxies:
    """Admits only these proxies. Implements :class:`lb.proxy.filters.Filter`."""

    proxies: Networks

    @property
    def reason(self) -> Reason:
        return "denied"

    def begin(self, downstream: Downstream) -> None:
        if address_of(downstream.client.host) not in self.proxies:
            raise FilterFailed


@attrs.frozen
class ProxyHeaderFilter:
    """Reads the PROXY header, and no bytes after it. Implements :class:`lb.proxy.filters.Filter`."""

    proxies: Networks | None = None
    """Clients that send one; all others pass without. None: all clients do."""

    @property
    def reason(self) -> Reason:
        return "bad_proxy_header"

    def begin(self, downstream: Downstream) -> _Read | None:
        if self.proxies is not None and address_of(downstream.client.host) not in self.proxies:
            return None
        return _Read(downstream)


class _Read:
    """Reads the header of one client. Implements :class:`lb.proxy.filters.FilterRun`.

    It peeks at the received bytes, then consumes those that belong to the header.
    """

    __slots__ = ("_downstream", "_reader", "unread")
    costly = False
    writing = False

    def __init__(self, downstream: Downstream) -> None:
        self._downstream = downstream
        self._reader = HeaderReader()
        self.unread = 0

    def time_over(self) -> bool:
        return False

    def proceed(self) -> bool:
        reader, sock = self._reader, self._downstream.sock
        peeked = b""
        try:
            while not reader.complete:
                peeked = sock.recv(PEEK_SIZE, socket.MSG_PEEK)
                if not peeked:
                    raise FilterFailed("client")
                taken = reader.take(peeked)
                sock.recv(taken)
                self.unread = len(peeked) - taken
            endpoints = reader.endpoints
        except BlockingIOError:
            return False
        except BadProxyHeader:
            raise FilterFailed from None
        if endpoints is not None:
            self._downstream.speaks_for(*endpoints, reader.tlvs)
        return True
