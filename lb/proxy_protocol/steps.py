"""The client is a proxy, and says first for whom it speaks: the steps of a greeting for that."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import attrs
import trio

from lb.events import Reason
from lb.greeting import GreetingFailed
from lb.networks import Networks, address_of
from lb.proxy_protocol.header import BadProxyHeader, HeaderReader

if TYPE_CHECKING:
    from lb.connection import Connection

__all__ = ["AcceptProxy", "OnlyFrom"]

PIECE = 2048
"""Bytes looked at in one go: more than headers have, but those with a certificate in them."""


@attrs.frozen
class OnlyFrom:
    """Nobody but these proxies may connect. Implements :class:`lb.greeting.Step`."""

    proxies: Networks

    @property
    def reason(self) -> Reason:
        return "denied"

    async def hear(self, connection: Connection) -> None:
        if address_of(connection.client.host) not in self.proxies:
            raise GreetingFailed


class AcceptProxy:
    """Takes the header, and nothing of what follows it. Implements :class:`lb.greeting.Step`."""

    @property
    def reason(self) -> Reason:
        return "bad_proxy_header"

    async def hear(self, connection: Connection) -> None:
        try:
            endpoints = (await _header(connection.sock)).endpoints
        except BadProxyHeader:
            raise GreetingFailed from None
        if endpoints is not None:
            connection.speaks_for(*endpoints)


async def _header(sock: socket.SocketType) -> HeaderReader:
    """Look at what is there, then take what belongs to the header.

    As long as that is all there is, so that none is left to make the socket readable and the wait a busy loop.
    """
    reader = HeaderReader()
    while not reader.complete:
        try:
            seen = sock.recv(PIECE, socket.MSG_PEEK)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not seen:
            raise GreetingFailed("client")
        sock.recv(reader.take(seen))
    return reader
