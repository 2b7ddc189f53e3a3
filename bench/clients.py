"""How a client begins a connection: with a PROXY header, with TLS, with a tunnel, or with neither."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from typing import NamedTuple

import attrs
from certificate import SERVER_NAME
from processes import HOST

__all__ = ["CONNECT", "PATIENCE", "PLAIN", "PROXY_V1", "PROXY_V2", "SOCKS5", "TLS", "Client"]

PATIENCE = 30.0
"""Seconds without progress after which a transfer has failed."""
SOURCE, DESTINATION = ("192.0.2.7", 54_321), ("192.0.2.1", 443)
"""The addresses in the PROXY headers."""


class _Step(NamedTuple):
    """A message to a forward proxy, and what is a good answer."""

    message: bytes
    begins: tuple[bytes, ...]
    """Its first bytes: one of these, which are of the same length."""
    size: int | None
    """Its length; None: it ends with an empty line."""


def _connect(server: int) -> tuple[_Step, ...]:
    head = f"CONNECT {HOST}:{server} HTTP/1.1\r\nHost: {HOST}:{server}\r\n\r\n"
    return (_Step(head.encode(), (b"HTTP/1.1 200 ", b"HTTP/1.0 200 "), None),)


def _socks5(server: int) -> tuple[_Step, ...]:
    request = b"\5\1\0\1" + socket.inet_aton(HOST) + struct.pack("!H", server)
    return _Step(b"\5\1\0", (b"\5\0",), 2), _Step(request, (b"\5\0\0\1",), 10)


STEPS = {"": lambda _: (), "connect": _connect, "socks5": _socks5}


@attrs.frozen
class Client:
    """A kind of client."""

    header: bytes = b""
    """The PROXY header that it sends first."""
    tls: ssl.SSLContext | None = None
    tunnel: str = ""
    """How it asks a forward proxy for a tunnel to ``server``: "connect", "socks5"; "": it does not."""
    server: int = 0
    """Port of the server that it wants to reach."""

    def connect(self, port: int) -> socket.socket:
        """Return a connection that is ready for a request, or for its answer."""
        connection = socket.create_connection((HOST, port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.header:
            connection.sendall(self.header)
        for _ in self.negotiate(connection):
            raise AssertionError("a socket that blocks does not wait")
        return self.tls.wrap_socket(connection, server_hostname=SERVER_NAME) if self.tls else connection

    def negotiate(self, connection: socket.socket) -> Iterator[None]:
        """Ask the proxy for the tunnel, if there is one. Yield whenever it waits. Raises ConnectionError."""
        for message, begins, size in STEPS[self.tunnel](self.server):
            connection.sendall(message)
            answer = b""
            while not (answer.endswith(b"\r\n\r\n") if size is None else len(answer) == size):
                try:
                    received = connection.recv(4096)
                except BlockingIOError:
                    yield
                    continue
                answer += received
                if not received or not answer.startswith(begins):
                    raise ConnectionError(f"the proxy's answer is {answer[:20]!r}")


def _tls_1_3() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as wrk does
    return context


def _proxy_v1() -> bytes:
    return f"PROXY TCP4 {SOURCE[0]} {DESTINATION[0]} {SOURCE[1]} {DESTINATION[1]}\r\n".encode()


def _proxy_v2() -> bytes:
    """Return a header of version 2, command PROXY, TCP over IPv4, without TLVs."""
    addresses = b"".join(socket.inet_aton(host) for host, _ in (SOURCE, DESTINATION))
    addresses += struct.pack("!HH", SOURCE[1], DESTINATION[1])
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x11, len(addresses)) + addresses


PLAIN = Client()
TLS = Client(tls=_tls_1_3())
PROXY_V1 = Client(_proxy_v1())
PROXY_V2 = Client(_proxy_v2())
CONNECT = Client(tunnel="connect")
SOCKS5 = Client(tunnel="socks5")
