"""The servers behind the balancers: an nginx, one of gRPC, a sink for uploads, an endless source."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
from certificate import certificate_path, make_certificate
from processes import HOST, LOAD_CORES, free_port, give_way, running

__all__ = ["LARGE", "MEDIUM", "TOTAL", "Ports", "backends", "large_file"]

MEDIUM = 64 * 1024
"""Bytes of ``/medium``."""
FILM = 4 << 20
"""Bytes of ``/film``."""
LARGE = 200 * 1000 * 1000
"""Bytes of ``/large``."""
TOTAL = struct.Struct("!Q")
"""Format of the sink's reply: the number of bytes received."""
CHUNK = 256 * 1024
GRPC_SERVER = Path(__file__).with_name("grpc_server.py")

WEB_CONFIG = """\
daemon off;
master_process off;
worker_rlimit_nofile 16384;
error_log stderr crit;
pid {directory}/web.pid;
events {{ worker_connections 12000; }}
http {{
    access_log off;
    sendfile on;
    default_type application/octet-stream;
    open_file_cache max=10 inactive=1h;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_header_timeout 1h;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {host}:{ports.web} backlog=4096;
        listen {ports.many} backlog=4096;
        listen {host}:{ports.tls} backlog=4096 ssl;
        listen {host}:{ports.proxied} backlog=4096 proxy_protocol;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        ssl_protocols TLSv1.3;
        ssl_session_cache shared:tls:10m;
        root {directory}/files;
        location = /small {{ return 200 "ok"; }}
        location = /kilobyte {{ alias {directory}/files/kilobyte; }}
        location = /film {{ alias {directory}/files/film; }}
        location = /resumed {{ return 200 "$ssl_session_reused"; }}
        location = /chunked {{ alias {directory}/files/medium; sub_filter_types *; sub_filter "\\n" "\\n"; }}
        location = /large-copied {{ sendfile off; alias {directory}/files/large; }}
    }}
}}
"""


@attrs.frozen(kw_only=True)
class Ports:
    """Ports of the servers, or of a balancer in front of them."""

    web: int = attrs.field(factory=free_port)
    """HTTP: ``/small`` (2 bytes); ``/medium`` and ``/large``, sent by sendfile; ``/large-copied``, sent by copying;
    ``/chunked``, which is ``/medium`` in chunks of 32 KiB;
    ``/resumed`` ("r" if the client has resumed a TLS session)."""
    tls: int = attrs.field(factory=free_port)
    """The web server again, with TLS 1.3."""
    proxied: int = attrs.field(factory=free_port)
    """The web server again, behind a PROXY header."""
    sink: int = attrs.field(factory=free_port)
    """Reads to the end, then replies with :data:`TOTAL`."""
    http_sink: int = attrs.field(factory=free_port)
    """HTTP: reads the body of each request, then responds with the number of its bytes."""
    grpc: int = attrs.field(factory=free_port)
    """HTTP/2 without TLS: answers each call of gRPC with the same short message."""
    rtmp: int = attrs.field(factory=free_port)
    """Publishers of live streams; no server of the benchmark has it."""
    admin: int = attrs.field(factory=free_port)
    """The admin endpoint of a balancer, for a browser; no server of the benchmark has it."""
    source: int = attrs.field(factory=free_port)
    """Sends without end."""
    few: int = attrs.field(factory=free_port)
    many: int = attrs.field(factory=free_port)
    """The web server again, on all loopback addresses. It represents a few servers, or many."""


def large_file(directory: Path) -> Path:
    """Return the path of the file ``/large``."""
    return directory / "files" / "large"


@contextlib.contextmanager
def backends(directory: Path) -> Iterator[Ports]:
    """Run all servers, with their files in ``directory``."""
    any_address = free_port()
    ports = Ports(few=any_address, many=any_address)
    make_certificate(directory)
    files = directory / "files"
    files.mkdir()
    for name, size in (("kilobyte", 1024), ("medium", MEDIUM), ("film", FILM), ("large", LARGE)):
        (files / name).write_bytes(bytes(size))
    config = directory / "web.conf"
    config.write_text(
        WEB_CONFIG.format(directory=directory, host=HOST, ports=ports, certificate=certificate_path(directory))
    )
    web = ["nginx", "-c", str(config), "-p", str(directory), "-e", "stderr"]
    with contextlib.ExitStack() as stack:
        for name, command, port in (
            ("web", web, ports.web),
            ("sink", [sys.executable, __file__, "sink", str(ports.sink)], ports.sink),
            ("http_sink", [sys.executable, __file__, "http_sink", str(ports.http_sink)], ports.http_sink),
            ("source", [sys.executable, __file__, "source", str(ports.source)], ports.source),
            ("grpc", [sys.executable, str(GRPC_SERVER), str(ports.grpc)], ports.grpc),
        ):
            output = directory / f"{name}.log"
            stack.enter_context(running(command, ports=[port], output=output, cores=LOAD_CORES))
        yield ports


def serve_sink(port: int) -> None:
    """Receive one upload after the other, without end. The kernel discards the bytes (MSG_TRUNC of tcp(7))."""
    buffer = bytearray(CHUNK)
    with socket.create_server((HOST, port), backlog=64) as listening:
        while True:
            connection, _ = listening.accept()
            # The benchmark's own probes may be reset. The sender notices if an upload is reset.
            with connection, contextlib.suppress(ConnectionError):
                total = 0
                while count := connection.recv_into(buffer, 0, socket.MSG_TRUNC):
                    total += count
                connection.sendall(TOTAL.pack(total))


def serve_source(port: int) -> None:
    """Send zeros over each connection until its peer closes, with idle priority."""
    give_way()
    zeros = os.memfd_create("zeros")
    os.ftruncate(zeros, CHUNK)

    def send(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            while True:
                os.sendfile(connection.fileno(), zeros, 0, CHUNK)

    with socket.create_server((HOST, port), backlog=64) as listening:
        while True:
            threading.Thread(target=send, args=(listening.accept()[0],), daemon=True).start()


def serve_http_sink(port: int) -> None:
    """Serve one request after the other, each on its own connection, without end. The kernel discards the bodies."""
    buffer = bytearray(CHUNK)
    with socket.create_server((HOST, port), backlog=64) as listening:
        while True:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(ConnectionError):
                head = _head(connection)
                if head:
                    total = b"%d" % _skip_body(connection, head, buffer)
                    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(total)
                    connection.sendall(head + total)


def _head(connection: socket.socket) -> bytes:
    """Receive a head, byte by byte; empty at the end of the stream."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connection.recv(1)
        if not data:
            return b""
        head += data
    return head


def _skip_body(connection: socket.socket, head: bytes, buffer: bytearray) -> int:
    """Return the number of bytes of the body. Raises ConnectionError if it is cut short."""
    length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n", head)
    left = size = int(length[1]) if length else 0
    while left:
        count = connection.recv_into(buffer, min(left, CHUNK), socket.MSG_TRUNC)
        if not count:
            raise ConnectionError("the body is cut short")
        left -= count
    return size


SERVE: Mapping[str, Callable[[int], None]] = {
    "sink": serve_sink,
    "http_sink": serve_http_sink,
    "source": serve_source,
}

if __name__ == "__main__":
    SERVE[sys.argv[1]](int(sys.argv[2]))
