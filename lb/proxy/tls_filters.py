"""Listener filters for TLS: the handshake of a terminating listener, or only the server name (SNI) for routing."""

from __future__ import annotations

import socket
import ssl

import attrs

from lb.events import Reason
from lb.net.tcp import has_ended
from lb.proxy.downstream import Downstream
from lb.proxy.filters import FilterFailed
from lb.tls.client_hello import MAX_CLIENT_HELLO, ClientHello, NotTlsError
from lb.tls.handshake import TlsHandshake
from lb.tls.layer import Tls

__all__ = ["SniFilter", "TlsFilter"]

TLS_HANDSHAKE = 22
"""The first byte of a ClientHello, RFC 8446, 5.1."""
USUAL_HELLO = 4096
"""Bytes of the first peek. A buffer for the largest ClientHello costs more than all the rest."""


@attrs.frozen
class TlsFilter:
    """TLS termination: does the handshake with the client. Implements :class:`lb.proxy.filters.Filter`."""

    context: ssl.SSLContext

    @property
    def reason(self) -> Reason:
        return "tls_failed"

    def begin(self, downstream: Downstream) -> _Termination:
        return _Termination(downstream, Tls(self.context, server_side=True))


class _Termination(TlsHandshake):
    """The handshake with one client. Implements :class:`lb.proxy.filters.FilterRun`."""

    __slots__ = ("_downstream",)

    def __init__(self, downstream: Downstream, tls: Tls) -> None:
        super().__init__(downstream.sock, tls, starts=False)
        self._downstream = downstream

    def time_over(self) -> bool:
        return False

    def proceed(self) -> bool:
        try:
            complete = super().proceed()
        except ssl.SSLError as error:
            raise FilterFailed("client" if _client_aborted(error) else "lb") from error
        if complete:
            self._downstream.secured(self.tls)
        return complete


def _client_aborted(error: ssl.SSLError) -> bool:
    """Return True if the client is gone or sent an alert, for example because it rejects the certificate."""
    return isinstance(error, ssl.SSLEOFError) or "_ALERT_" in (error.reason or "")


@attrs.frozen
class SniFilter:
    """Reads the SNI and leaves the ClientHello for the server. Implements :class:`lb.proxy.filters.Filter`."""

    passes_others: bool = False
    """Clients that do not speak TLS pass too, at once, and those that say nothing when their time is over."""

    @property
    def reason(self) -> Reason:
        return "tls_failed"

    def begin(self, downstream: Downstream) -> _Peek:
        return _Peek(downstream, passes_others=self.passes_others)


class _Peek:
    """Peeks at the ClientHello of one client. Implements :class:`lb.proxy.filters.FilterRun`."""

    __slots__ = ("_downstream", "_hello", "_passes_others", "_time_over", "unread")
    costly = False
    writing = False

    def __init__(self, downstream: Downstream, *, passes_others: bool) -> None:
        self._downstream = downstream
        self._passes_others = passes_others
        self._time_over = False
        self._hello = ClientHello()
        self.unread = 0

    def time_over(self) -> bool:
        self._time_over = self._passes_others and not self.unread
        return self._time_over

    def proceed(self) -> bool:
        if self._time_over:
            self.unread = 1  # bytes may have come at the same moment
            return True
        sock = self._downstream.sock
        try:
            peeked = sock.recv(USUAL_HELLO, socket.MSG_PEEK)
            if len(peeked) == USUAL_HELLO:
                peeked = sock.recv(MAX_CLIENT_HELLO, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        if len(peeked) == self.unread:
            if sock.family != socket.AF_UNIX and has_ended(sock):
                raise FilterFailed("client")
            return False  # an edge for bytes that the last peek has seen
        if self._passes_others and peeked[0] != TLS_HANDSHAKE:
            self.unread = len(peeked)
            return True
        try:
            name = self._hello.read(peeked[self.unread :])
        except NotTlsError as error:
            raise FilterFailed from error
        self.unread = len(peeked)
        if name is None:
            if len(peeked) == MAX_CLIENT_HELLO:
                raise FilterFailed
            return False
        self._downstream.server_name = name
        return True
