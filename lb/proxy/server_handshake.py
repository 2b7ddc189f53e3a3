"""The server handshake: what the balancer sends to a server before the client's bytes (PROXY header, TLS)."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Protocol

import attrs

from lb.model import PoolSpec, PoolTlsSpec, ProxyTlv
from lb.model.address import client_of
from lb.pools.backend import Backend
from lb.proxy.proxy_tlvs import ProxiedClient, tlvs_of
from lb.proxy_protocol.header import proxy_header
from lb.relay.splicer import Handshake
from lb.tls.contexts import name_of
from lb.tls.handshake import TlsHandshake
from lb.tls.layer import LastSession, Tls
from lb.tls.store import TlsStore

__all__ = ["Handshaking", "SendProxy", "ServerHandshake", "StartTls", "make_handshake"]


class Handshaking(Protocol):
    """The owner of a server handshake: a connector whose connect has succeeded."""

    speaks_for_others: bool
    """The server was asked for something behind it. What fails from now on does not count against the server itself."""

    @property
    def backend(self) -> Backend | None:
        """The server."""

    @property
    def owner(self) -> ProxiedClient:
        """The client."""

    def handshake(self, server: socket.SocketType, handshake: Handshake) -> None:
        """Run a handshake on the server's socket. It calls one of the methods below at its end."""

    def ready(self, server: socket.SocketType, tls: Tls | None = None) -> None:
        """The handshake is complete."""

    def handshake_failed(self, error: OSError) -> None:
        """The handshake failed: try another server."""

    def failed(self) -> None:
        """The handshake raised because of a bug: end with a reset."""


class ServerHandshake(Protocol):
    """A server handshake. One object serves all connections to a pool."""

    def begin(self, connector: Handshaking, server: socket.SocketType) -> None:
        """Start the handshake on a connected socket. Call ``ready`` or ``handshake_failed``, now or later.

        The attempt's deadline applies until then.
        """


@attrs.frozen
class SendProxy:
    """Sends a PROXY header. Implements :class:`ServerHandshake`."""

    version: str
    tlvs: tuple[ProxyTlv, ...] = ()
    """What to tell the server in version 2, beside what the client's own header has."""

    def begin(self, connector: Handshaking, server: socket.SocketType) -> None:
        try:
            self.send(connector, server)
        except OSError as error:
            connector.handshake_failed(error)
        else:
            connector.ready(server)

    def send(self, connector: Handshaking, server: socket.SocketType) -> None:
        """Send the header. Raises OSError.

        The send buffer of a new socket holds the whole header, unless the system is short of memory.
        """
        owner = connector.owner
        destination = owner.destination or client_of(owner.sock.getsockname())
        tlvs = tlvs_of(owner, self.tlvs) if self.tlvs or owner.tlvs else ()
        header = proxy_header(self.version, owner.client, destination, tlvs, checksum="crc32c" in self.tlvs)
        if server.send(header) < len(header):
            raise OSError(errno.ENOBUFS, "no room for the PROXY header")


@attrs.frozen
class StartTls:
    """Does a TLS handshake, after a PROXY header if configured. Implements :class:`ServerHandshake`."""

    spec: PoolTlsSpec
    context: ssl.SSLContext
    proxy: SendProxy | None
    protocol: str | None = None
    """The server must agree to this one, by ALPN. None: to any or to none."""

    _last: dict[str, LastSession] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    """The last session with each server, by name."""

    def begin(self, connector: Handshaking, server: socket.SocketType) -> None:
        backend = connector.backend
        assert backend is not None  # noqa: S101 - the connect has succeeded
        spec = backend.spec
        last = self._last.get(spec.name)
        if last is None:
            last = self._last[spec.name] = LastSession()
        tls = Tls(self.context, server_side=False, server_name=name_of(self.spec, spec.address), last=last)
        try:
            if self.proxy is not None:
                self.proxy.send(connector, server)
        except OSError as error:
            connector.handshake_failed(error)
        else:
            connector.handshake(server, _ServerTls(connector, server, tls, self.protocol))


class _ServerTls(TlsHandshake):
    """The TLS handshake with one server. Implements :class:`lb.relay.splicer.Handshake`."""

    __slots__ = ("_connector", "_protocol", "_server")

    def __init__(self, connector: Handshaking, server: socket.SocketType, tls: Tls, protocol: str | None) -> None:
        super().__init__(server, tls, starts=True)
        self._connector = connector
        self._server = server
        self._protocol = protocol

    def proceed(self) -> bool:
        try:
            complete = super().proceed()
        except OSError as error:
            self._connector.handshake_failed(error)
            return True
        if complete and self._protocol is not None and self.tls.protocol != self._protocol:
            self._connector.handshake_failed(OSError(f"does not agree to {self._protocol} (ALPN)"))
        elif complete:
            self._connector.ready(self._server, self.tls)
        return complete

    def failed(self) -> None:
        self._connector.failed()


def make_handshake(spec: PoolSpec, tls: TlsStore) -> ServerHandshake | None:
    """Return the server handshake of a pool; None if servers get only the client's bytes."""
    proxy = None if spec.send_proxy == "off" else SendProxy(spec.send_proxy, spec.proxy_tlvs)
    if spec.tls is None:
        return proxy
    return StartTls(spec.tls, tls[spec.tls], proxy, "h2" if spec.http.protocol == "h2" else None)
