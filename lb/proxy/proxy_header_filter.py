"""Listener filters for ``accept_proxy``: trusted proxies and the PROXY header."""

from __future__ import annotations

import socket

import attrs
import trio

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

    async def apply(self, downstream: Downstream) -> None:
        if address_of(downstream.client.host) not in self.proxies:
            raise FilterFailed


class ProxyHeaderFilter:
    """Reads the PROXY header, and no bytes after it. Implements :class:`lb.proxy.filters.Filter`."""

    @property
    def reason(self) -> Reason:
        return "bad_proxy_header"

    async def apply(self, downstream: Downstream) -> None:
        try:
            endpoints = (await _read_header(downstream.sock)).endpoints
        except BadProxyHeader:
            raise FilterFailed from None
        if endpoints is not None:
            downstream.speaks_for(*endpoints)


async def _read_header(sock: socket.SocketType) -> HeaderReader:
    """Peek at the received bytes, then consume those that belong to the header.

    An incomplete header is consumed as a whole. Left in the socket, it would keep the socket readable, and the wait for
    the rest would be a busy loop.
    """
    reader = HeaderReader()
    while not reader.complete:
        try:
            peeked = sock.recv(PEEK_SIZE, socket.MSG_PEEK)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not peeked:
            raise FilterFailed("client")
        sock.recv(reader.take(peeked))
    return reader
