"""What a probe is and what it is given. Built-ins live one a file beside this one; a user's own subclasses Probe."""

from __future__ import annotations

import abc
import errno
import os
import socket
import ssl
from collections.abc import Collection
from typing import ClassVar, TypeAlias

import attrs
import trio

from healthcheck.advice import Advice
from lb.address import Address, SocketAddress
from lb.errors import EXHAUSTED, describe_error
from lb.splicing.self_connect import is_self_connected

__all__ = [
    "UNABLE",
    "Passed",
    "Probe",
    "ProbeFailed",
    "Secure",
    "Stream",
    "Target",
    "Word",
    "describe_broken",
    "hang_up",
]

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]
"""A connection to a server; TLS where its pool speaks TLS."""

UNABLE = EXHAUSTED | {errno.EAGAIN}
"""Errors of an OSError that mean that the balancer itself is short of something: no verdict about a server.

EAGAIN is fork's. Too few local ports (EADDRNOTAVAIL) is not among them: a host without IPv6 says the same, for ever.
"""

_LINGER = 0.1  # seconds a server gets to finish and close its side after ours; a guess, ample in one data centre
_LINGER_BYTES = 65_536  # and so much more it may say


class ProbeFailed(Exception):  # noqa: N818 - a verdict about the server, not an error of the program
    """The server did not pass; the text is the reason: short, lower case, without the server's name."""


@attrs.frozen
class Passed:
    """What a probe may return in place of a text, if the server passes and somebody should know of something."""

    detail: str
    warning: str


@attrs.frozen
class Secure:
    """How a pool's servers are spoken to in TLS."""

    context: ssl.SSLContext
    server_name: str | None
    """Asked for and, if the context checks names, looked for in the certificate."""

    async def shake_hands(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        """Raises ssl.SSLError, or trio.BrokenResourceError if the server is gone."""
        secured = trio.SSLStream(stream, self.context, server_hostname=self.server_name, https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException as error:
            await trio.aclose_forcefully(secured)
            if isinstance(error, trio.BrokenResourceError) and isinstance(error.__cause__, ssl.SSLError):
                raise error.__cause__ from None
            raise
        return secured


@attrs.frozen
class Target:
    """The server to probe."""

    pool: str
    server: str
    address: Address
    """As configured: the host may be a name."""
    sockaddrs: tuple[SocketAddress, ...]
    """What the address resolves to; the first is the one that traffic uses. Empty if the name could not be resolved."""
    header: bytes = b""
    """What it has to hear before anything else: the PROXY header of a connection of our own."""
    tls: Secure | None = None

    def on_port(self, port: int) -> Target:
        """The same server probed on another port; 0 and unix sockets keep their own.

        What listens on another port is something else: it hears no PROXY header, and speaks no TLS.
        """
        if not port or self.address.is_unix:
            return self
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        address = Address(text=f"{host}:{port}", host=self.address.host, port=port)
        sockaddrs = tuple((family, _with_port(sockaddr, port)) for family, sockaddr in self.sockaddrs)
        return attrs.evolve(self, address=address, sockaddrs=sockaddrs, header=b"", tls=None)

    async def connect(self) -> Stream:
        """Open a connection, TCP or unix, to where traffic goes; what the server has to hear first has been said, and
        TLS is spoken if traffic speaks it.

        Raises ProbeFailed or OSError, which is a verdict as well: the checks find the words for it. Has no timeout of
        its own, as the whole check has one.
        """
        stream = await self.connect_plain()
        return stream if self.tls is None else await self.tls.shake_hands(stream)

    async def connect_plain(self) -> trio.SocketStream:
        """The same without TLS."""
        if not self.sockaddrs:
            raise ProbeFailed(f"cannot resolve {self.address.host}")
        family, sockaddr = self.sockaddrs[0]
        connecting = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            await connecting.connect(sockaddr)
            _insist_on_connected(connecting, sockaddr)
            if self.header:
                await trio.SocketStream(connecting).send_all(self.header)
        except BaseException:
            connecting.close()
            raise
        return trio.SocketStream(connecting)


def _with_port(sockaddr: object, port: int) -> object:
    """``(host, old, …)`` of IPv4 or IPv6 with another port."""
    assert isinstance(sockaddr, tuple)  # noqa: S101 - only a unix address is not
    return (sockaddr[0], port, *sockaddr[2:])


def _insist_on_connected(connecting: trio.socket.SocketType, sockaddr: object) -> None:
    """Find two kinds of failed connects that look as if they had worked.

    A unix socket with a full backlog says EAGAIN, which trio takes for "in progress"; and TCP may have connected the
    socket with itself.
    """
    try:
        connecting.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN or connecting.family != socket.AF_UNIX:
            raise
        raise ProbeFailed(describe_error(BlockingIOError(errno.EAGAIN, ""))) from error
    if is_self_connected(connecting, sockaddr):
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def describe_broken(error: trio.BrokenResourceError) -> str:
    """Why a stream broke, in the words of :func:`lb.errors.describe_error` where the system gave a reason."""
    return describe_error(error.__cause__) if isinstance(error.__cause__, OSError) else "connection broken"


async def hang_up(stream: Stream, goodbye: bytes = b"") -> None:
    """Close politely: say that we are done, take what the server still sends until it closes as well, then close.

    ``goodbye`` is the protocol's own way to say so, and goes first.

    A plain close with unread data, or before the server's greeting arrived, resets the connection, and the server
    logs an error for each check. This takes no more than 0.1 s, or half of what is left until the check's timeout: a
    verdict that stands cannot time out here.
    """
    connection = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    async with connection:
        patience = min(_LINGER, (trio.current_effective_deadline() - trio.current_time()) / 2)
        received = 0
        with trio.move_on_after(max(0, patience)):
            try:
                if goodbye:
                    await stream.send_all(goodbye)
                if isinstance(stream, trio.SSLStream):
                    await stream.unwrap()
                await connection.send_eof()
                while received < _LINGER_BYTES and (chunk := await connection.receive_some()):
                    received += len(chunk)
            except trio.BrokenResourceError:
                return  # the server was less polite; the verdict stands all the same


@attrs.frozen
class Word:
    """What a server says of itself, for better or worse. It needs no confirmation: it counts at once."""

    passed: bool
    detail: str
    advice: Advice


class Probe(abc.ABC):
    """Asks one server whether it works.

    The constructor takes the probe's options of ``[pools.<name>.health]`` as keyword arguments and raises
    ValueError(``"option: message"``) for a bad one. One object may serve many servers at the same time.
    """

    secrets: ClassVar[Collection[str]] = ()
    """The names of those options that nobody is to see: ``lb check`` and ``lb diff`` hide them. What the probe itself
    says (reasons, details, messages about its options) must not repeat them either."""

    @abc.abstractmethod
    async def check(self, target: Target) -> str | Passed | Word:
        """Returns a short detail of what was found (``HTTP 200``), or raises ProbeFailed or OSError with the reason.
        Where the server judges itself, its word is returned, also if it is a bad one.

        The caller applies the timeout by cancelling; a probe that knows better than "no answer in 1 s" what was
        amiss may turn trio.Cancelled into ProbeFailed. Any other exception is a bug of the probe: the check fails,
        and the log shows the traceback.
        """
