"""The base class of probes, and their target. Built-in probes have one module each in :mod:`healthcheck.probes`."""

from __future__ import annotations

import abc
import errno
import os
import socket
import ssl
from collections.abc import Callable, Collection
from typing import ClassVar, TypeAlias

import attrs
import trio

from healthcheck.result import Advice
from lb.model.address import Address, Client, SocketAddress, client_of
from lb.net.errors import describe_error, is_local_error
from lb.net.outgoing import Outgoing
from lb.net.tcp import is_self_connected

__all__ = [
    "CLOSE_TIMEOUT",
    "Passed",
    "Probe",
    "ProbeFailed",
    "ProxyHeader",
    "Secure",
    "Stream",
    "Target",
    "Word",
    "cause_of",
    "hang_up",
    "is_own_trouble",
]

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]
"""A connection to a server; with TLS if its pool uses TLS."""

ProxyHeader: TypeAlias = Callable[[Client, Client], bytes]
"""Returns the PROXY header of a connection from the first to the second address."""

CLOSE_TIMEOUT = 0.1
"""Seconds for a server to finish and close its side after ours; an estimate, ample in one data centre."""
_LINGER_BYTES = 65_536  # limit for the data that it may still send


class ProbeFailed(Exception):  # noqa: N818 - a verdict about the server, not an error of the program
    """The server failed the check. The text is the reason: short, lower case, without the server's name."""


@attrs.frozen
class Passed:
    """A passed check with a warning."""

    detail: str
    warning: str


@attrs.frozen
class Secure:
    """The TLS settings for the servers of a pool."""

    context: ssl.SSLContext
    server_name: str | None
    """Sent as SNI and, if the context checks names, matched with the certificate."""

    async def shake_hands(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        """Do a TLS handshake. Raises ssl.SSLError, or trio.BrokenResourceError if the connection breaks."""
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
    """The resolved addresses; traffic uses the first. Empty if the name cannot be resolved."""
    header: ProxyHeader | None = None
    """Makes the PROXY header to send first. None: there is none."""
    tls: Secure | None = None
    outgoing: Outgoing | None = None
    """Prepares the socket, as that of traffic."""

    def proxy_header(self, sock: socket.SocketType | trio.socket.SocketType) -> bytes:
        """Return the PROXY header of this connection to the target; empty if there is none."""
        if self.header is None:
            return b""
        return self.header(client_of(sock.getsockname()), client_of(self.sockaddr[1]))

    async def connect(self) -> Stream:
        """Connect as traffic does: over TCP or a unix socket, with the PROXY header and TLS if configured.

        Raises ProbeFailed, or OSError, which fails the check as well; the checker describes it. Has no timeout of its
        own, as the whole check has one.
        """
        stream = await self.connect_plain()
        return stream if self.tls is None else await self.tls.shake_hands(stream)

    async def connect_plain(self) -> trio.SocketStream:
        """Connect without TLS."""
        stream = await self.connect_socket()
        try:
            await stream.send_all(self.proxy_header(stream.socket))
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    async def connect_socket(self) -> trio.SocketStream:
        """Connect without PROXY header and TLS."""
        family, sockaddr = self.sockaddr
        plain = socket.socket(family, socket.SOCK_STREAM)
        if self.outgoing is not None:
            self.outgoing.prepare(plain)
        connecting = trio.socket.from_stdlib_socket(plain)
        try:
            await connecting.connect(sockaddr)
            _verify_connected(connecting, sockaddr)
        except BaseException:
            connecting.close()
            raise
        return trio.SocketStream(connecting)

    @property
    def host_and_port(self) -> tuple[str, str]:
        """The address as texts: host without brackets, and port; of a unix socket its path, and no port."""
        address = self.address
        return (address.path, "") if address.is_unix else (address.host, str(address.port))

    @property
    def sockaddr(self) -> SocketAddress:
        """The address to connect to. Raises ProbeFailed if there is none."""
        if not self.sockaddrs:
            raise ProbeFailed(f"cannot resolve {self.address.host}")
        return self.sockaddrs[0]


def _verify_connected(connecting: trio.socket.SocketType, sockaddr: object) -> None:
    """Detect two kinds of failed connects that look successful.

    A unix socket with a full backlog returns EAGAIN, which trio takes for "in progress"; and TCP may have connected
    the socket to itself.
    """
    try:
        connecting.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN or connecting.family != socket.AF_UNIX:
            raise
        raise ProbeFailed(describe_error(BlockingIOError(errno.EAGAIN, ""))) from error
    if is_self_connected(connecting, sockaddr):
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def is_own_trouble(error: OSError, target: Target) -> bool:
    """Return True if the balancer's host caused an error, which is then no verdict about the server.

    EADDRNOTAVAIL means that no local port is free, or that the host has no address that could reach the server, such as
    a host without IPv6. The second never ends, so it fails the check. EAGAIN is a lack of processes or of routes; that
    of a full backlog is a ProbeFailed already.
    """
    if error.errno == errno.EADDRNOTAVAIL and target.sockaddrs:
        return _has_address_for(*target.sockaddrs[0])
    return is_local_error(error) or error.errno == errno.EAGAIN


def _has_address_for(family: socket.AddressFamily, sockaddr: object) -> bool:
    """Return True if this host has an address of its own to reach another one. UDP has local ports of its own."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
            return datagrams.connect_ex(sockaddr) == 0  # type: ignore[arg-type]
    except OSError:  # no descriptor is left either
        return True


def cause_of(error: trio.BrokenResourceError) -> OSError:
    """Return why a stream broke: the system's reason if it gave one."""
    return error.__cause__ if isinstance(error.__cause__, OSError) else OSError("connection broken")


async def hang_up(stream: Stream, closing_message: bytes = b"") -> None:
    """Close a connection gracefully: shut down sending, read until the server closes, then close.

    ``closing_message`` is the protocol's own end of a session; it is sent first.

    A plain close with unread data, or before the server's greeting arrives, resets the connection, and the server
    logs an error for each check. This takes at most 0.1 s, or half of the time until the check's timeout, so that it
    cannot turn a result into a timeout.
    """
    connection = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    async with connection:
        patience = min(CLOSE_TIMEOUT, (trio.current_effective_deadline() - trio.current_time()) / 2)
        received = 0
        with trio.move_on_after(max(0, patience)):
            try:
                if closing_message:
                    await stream.send_all(closing_message)
                if isinstance(stream, trio.SSLStream):
                    await stream.unwrap()
                await connection.send_eof()
                while received < _LINGER_BYTES and (chunk := await connection.receive_some()):
                    received += len(chunk)
            except trio.BrokenResourceError:
                return  # the server closed abruptly; the result of the check is not affected


@attrs.frozen
class Word:
    """A server's own report of its health, passed or failed. It counts at once, without ``rise`` or ``fall``."""

    passed: bool
    detail: str
    advice: Advice


class Probe(abc.ABC):
    """Checks whether a server works.

    The constructor takes the probe's options of ``[pools.<name>.health]`` as keyword arguments and raises
    ValueError(``"option: message"``) for an invalid one. One object may check many servers at the same time.
    """

    secrets: ClassVar[Collection[str]] = ()
    """The names of secret options: ``lb check`` and ``lb diff`` hide their values. The probe's own texts (reasons,
    details, messages about options) must not repeat them either."""

    pem_files: ClassVar[Collection[str]] = ()
    """The names of options that are paths of PEM files. The configuration reads them; the constructor gets each as a
    :class:`lb.model.PemSpec`. So no check waits for a disk, and a reload applies a file that has changed."""

    @abc.abstractmethod
    async def check(self, target: Target) -> str | Passed | Word:
        """Check a server. Returns a short detail (``HTTP 200``), or raises ProbeFailed or OSError with the reason.

        A probe that reads the server's own report returns a :class:`Word`, also for a failure.

        The caller applies the timeout by cancelling. A probe with a better reason than "no answer in 1 s" may turn
        trio.Cancelled into ProbeFailed. Any other exception is a bug of the probe: the check fails, and the log shows
        the traceback.
        """
