"""How a client begins a connection: with a PROXY header, with TLS, or with neither."""

from __future__ import annotations

import socket
import ssl
import struct

import attrs
from certificate import SERVER_NAME
from processes import HOST

__all__ = ["PATIENCE", "PLAIN", "PROXY_V1", "PROXY_V2", "TLS", "Client"]

PATIENCE = 30.0
"""Seconds without progress after which a transfer has failed."""
SOURCE, DESTINATION = ("192.0.2.7", 54_321), ("192.0.2.1", 443)
"""The addresses in the PROXY headers."""


@attrs.frozen
class Client:
    """A kind of client."""

    header: bytes = b""
    """The PROXY header that it sends first."""
    tls: ssl.SSLContext | None = None

    def connect(self, port: int) -> socket.socket:
        """Return a connection that is ready for a request, or for its answer."""
        connection = socket.create_connection((HOST, port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.header:
            connection.sendall(self.header)
        return self.tls.wrap_socket(connection, server_hostname=SERVER_NAME) if self.tls else connection


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
