"""A relay of the fast splicer with TLS on one side or on both. Bytes pass through this process, never through a pipe.

An end of the stream is a close_notify alert. It is forwarded as what the peer has: a close_notify, then a FIN. A FIN
without close_notify may come from an attacker: the stream counts as truncated.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

from lb.events import EndedBy
from lb.net.tcp import end_with_reset
from lb.relay.epoll_loop import BUFFER
from lb.relay.epoll_relay import EpollRelay, Side, TimedRelay
from lb.tls.layer import Tls

__all__ = ["FirstByteTlsSide", "TimedTlsRelay", "TlsRelay", "TlsSide", "secure"]

CRYPTO = 2
"""Bytes of the turn's budget that TLS costs for each byte, beside the byte itself."""
CRYPTO_RECORD = 16 * 1024
"""Bytes of the turn's budget that each record costs, where one read has several: about 5 µs."""
OVERDRAFT = -4 * 1024 * 1024
"""The turn's budget below which small messages wait too: about a millisecond of small records."""
CRYPTO_READ = 16 * 1024
"""Maximum encrypted bytes per read. A peer may send as many records as it likes, the smallest of 22 bytes."""


class TlsSide(Side):
    """One socket of a relay, with its TLS if it has any, and the bytes in transit from it to its peer."""

    __slots__ = ("closing", "moved_at_half_close", "overhead", "tls")
    overdraft = OVERDRAFT
    peer: TlsSide

    def __init__(self, name: EndedBy, relay: EpollRelay, sock: socket.SocketType, ready: int) -> None:
        super().__init__(name, relay, sock, ready)
        self.tls: Tls | None = None
        self.overhead = 0
        """Bytes of the backlog that are not of the stream."""
        self.closing = False
        """The end was read. The closing message for the peer is in the backlog."""
        self.moved_at_half_close = 0
        """Stream bytes that were moved when the peer had finished."""

    def secure(self, tls: Tls | None) -> None:
        """Take over the TLS of this socket, whose handshake is complete."""
        self.tls = tls
        if tls is not None and (tls.early or tls.ended):
            self.readable = True
            self.continue_later()

    def _pass_on(self) -> int:
        shared, tls = self.shared, self.tls
        if tls is not None and (tls.early or tls.ended):
            early, tls.early = tls.early, b""
            if early:
                self._send(early)
            return len(early)
        if tls is None:
            received = self._receive(BUFFER)
            if received:
                self._send(shared.view[:received])
            return received
        received = self._receive(CRYPTO_READ)
        if not received:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "cut off")
        count = tls.open_into(shared.view[:received], shared.plain)
        if tls.work:
            shared.budget -= CRYPTO_RECORD * tls.work
        if tls.ended:
            self.readable = True  # the next call returns the end
        if count:
            self._send(shared.plain[:count])
        return received

    _splice = _pass_on

    def _receive(self, most: int) -> int:
        received = self.sock.recv_into(self.shared.buffer, most)
        self.bulk = received == most
        if not self.bulk:
            if not self.until_eagain:
                self.readable = False
        elif not self.bounded:
            self.bound_buffer()
        self.shared.budget -= CRYPTO * received
        return received

    def _send(self, data: bytes | memoryview) -> None:
        """Send bytes of the stream to the peer. Hold what it does not accept."""
        tls = self.peer.tls
        sealed = data if tls is None else tls.seal(data)
        overhead = len(sealed) - len(data)
        try:
            sent = self.peer.sock.send(sealed)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._write_failed()
            return
        if sent == len(sealed):
            self.moved += len(data)
        else:
            self._hold(sealed, sent, overhead)

    def hold_first(self, data: bytes, unsent: bytes) -> None:
        tls = self.peer.tls
        sealed = unsent + (data if tls is None or not data else tls.seal(data))
        self._hold(sealed, 0, len(sealed) - len(data))
        self.peer.writable = True

    def _hold(self, sealed: bytes | memoryview, sent: int, overhead: int) -> None:
        self.backlog = bytes(sealed[sent:])
        self.overhead = overhead
        self.held = True
        self.peer.writable = False
        self._count(sent)

    def _count(self, sent: int) -> None:
        """Count sent bytes of the stream. The others are counted first."""
        skipped = min(sent, self.overhead)
        self.overhead -= skipped
        self.moved += sent - skipped

    def _write_held(self) -> bool:
        try:
            sent = self.peer.sock.send(self.backlog)
        except BlockingIOError:
            self.peer.writable = False
            return False
        except OSError:
            if self.closing:  # the peer is gone; its next read reports it
                self.forget()
                super()._read_end()
            else:
                self._write_failed()
            return False
        self._count(sent)
        self.backlog = self.backlog[sent:]
        if self.backlog:
            self.peer.writable = False
            return False
        self.held = False
        if self.closing:
            super()._read_end()
        return True

    def _read_end(self) -> None:
        peer = self.peer
        peer.moved_at_half_close = peer.moved
        self.readable = False
        if peer.tls is not None and not peer.cut:
            message = peer.tls.finish()
            try:
                sent = peer.sock.send(message)
            except BlockingIOError:
                sent = 0
            except OSError:  # the peer is gone; its next read reports it
                sent = len(message)
            if sent < len(message):
                self.closing = True
                self._hold(message, sent, len(message))
                return
        super()._read_end()

    def read_failed(self, error: OSError) -> None:
        """The socket was reset, its bytes are no TLS, or the stream is truncated.

        Many clients send only a FIN once the server has finished, and many servers once the client has finished, if
        they have nothing more to send. That is not a failure. But the peer cannot tell whether data is missing, so it
        gets a reset.
        """
        peer = self.peer
        unfinished = self.name == "server" and self.moved != self.moved_at_half_close
        if isinstance(error, ssl.SSLEOFError) and peer.ended and not unfinished:
            end_with_reset(peer.sock)
            self.relay.end(peer.name, "eof")
        else:
            super().read_failed(error)

    def send_closing_message(self) -> None:
        if self.tls is not None:
            with suppress(OSError):  # the peer accepts no more data, or is gone: close without it
                self.sock.send(self.tls.finish())

    def close(self) -> None:
        if self.tls is not None:
            self.tls.closed()
        super().close()


class TlsRelay(EpollRelay):
    """A relay with TLS."""

    __slots__ = ()
    side_type = TlsSide


class FirstByteTlsSide(TlsSide):
    """A side of a timed relay with TLS, before its first byte of the stream."""

    __slots__ = ()

    def _send(self, data: bytes | memoryview) -> None:
        relay = self.relay  # the next call deletes the attribute if it closes the relay
        super()._send(data)
        if isinstance(relay, TimedRelay):
            relay.first_byte_read(self)


class TimedTlsRelay(TimedRelay):
    """A relay with TLS that records the time to the server's first byte."""

    __slots__ = ()
    side_type = FirstByteTlsSide
    untimed_side_type = TlsSide


def secure(relay: EpollRelay, client_tls: Tls | None, server_tls: Tls | None) -> None:
    """Let the sides of a relay made of :class:`TlsSide` take over the TLS of their sockets."""
    for side, tls in ((relay.client, client_tls), (relay.server, server_tls)):
        assert isinstance(side, TlsSide)  # noqa: S101 - see side_type
        side.secure(tls)
