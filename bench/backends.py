"""What stands behind the balancers: an nginx that answers cheaply, and a sink for uploads."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
from processes import HOST, LOAD_CORES, free_port, running

__all__ = ["LARGE", "MEDIUM", "TOTAL", "Ports", "backends"]

MEDIUM = 64 * 1024
"""Bytes of ``/medium``."""
LARGE = 200 * 1000 * 1000
"""Bytes of ``/large``."""
TOTAL = struct.Struct("!Q")
"""What the sink answers: the bytes that came."""

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
        listen {host}:{port} backlog=4096;
        root {directory}/files;
        location = /small {{ return 200 "ok"; }}
    }}
}}
"""


@attrs.frozen
class Ports:
    """Where the servers listen, or a balancer in front of them."""

    web: int
    """HTTP: ``/small`` (2 bytes), ``/medium`` and ``/large``."""
    sink: int
    """Reads to the end, then answers with :data:`TOTAL`."""


@contextlib.contextmanager
def backends(directory: Path) -> Iterator[Ports]:
    """Run both, with their files in ``directory``."""
    ports = Ports(web=free_port(), sink=free_port())
    files = directory / "files"
    files.mkdir()
    for name, size in (("medium", MEDIUM), ("large", LARGE)):
        with (files / name).open("wb") as file:
            file.truncate(size)
    config = directory / "web.conf"
    config.write_text(WEB_CONFIG.format(directory=directory, host=HOST, port=ports.web))
    web = ["nginx", "-c", str(config), "-p", str(directory), "-e", "stderr"]
    sink = [sys.executable, __file__, str(ports.sink)]
    with (
        running(web, ports=[ports.web], output=directory / "web.log", cores=LOAD_CORES),
        running(sink, ports=[ports.sink], output=directory / "sink.log", cores=LOAD_CORES),
    ):
        yield ports


def serve_sink(port: int) -> None:
    """Take one upload after the other, for ever."""
    buffer = bytearray(256 * 1024)
    with socket.create_server((HOST, port), backlog=64) as listening:
        while True:
            connection, _ = listening.accept()
            # The benchmark's own probes may be reset; an upload that is, is missed by its sender.
            with connection, contextlib.suppress(ConnectionError):
                total = 0
                while count := connection.recv_into(buffer):
                    total += count
                connection.sendall(TOTAL.pack(total))


if __name__ == "__main__":
    serve_sink(int(sys.argv[1]))
