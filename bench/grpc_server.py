"""A server of gRPC for the benchmark: it answers each call with the same short message. ``python grpc_server.py PORT``.

It is built on the balancer's own core of HTTP/2, so that it is quick enough: slower, it would be what is measured.
"""

from __future__ import annotations

import select
import socket
import sys
import time

from lb.http2.connection import Http2Connection
from lb.http2.errors import Http2Error
from lb.http2.field_section import FieldSection
from lb.http2.hpack_reader import FieldSections
from lb.http2.hpack_writer import encode_fields, encode_status
from lb.http2.limits import Http2Limits
from lb.http2.stream import Http2Stream

HEAD = encode_status(200) + encode_fields([(b"content-type", b"application/grpc")])
MESSAGE = b"\0\0\0\0\x0bhello world"
TRAILERS = encode_fields([(b"grpc-status", b"0")])
LIMITS = Http2Limits(max_streams=1000, max_heads_in_turn=1000)
SECTIONS = FieldSections()


class Connection:
    """Implements :class:`lb.http2.receiver.Http2Receiver`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._core = Http2Connection(self, LIMITS, SECTIONS, is_client=False)
        self._flush()

    def serve(self) -> bool:
        """Take what has come. Return False at the end."""
        try:
            data = self._sock.recv(65_536)
            self._core.feed(data, time.monotonic())
            self._flush()
        except (OSError, Http2Error):  # a balancer that ends resets what it has kept
            return False
        return bool(data)

    def _flush(self) -> None:
        while output := self._core.take_output():
            self._sock.sendall(output)
            self._core.resume(time.monotonic())

    def _answer(self, stream: Http2Stream) -> None:
        core = self._core
        core.send_headers(stream, HEAD, ended=False)
        core.send_data(stream, MESSAGE, ended=False)
        core.send_headers(stream, TRAILERS, ended=True)

    def head_received(self, stream: Http2Stream, section: FieldSection, *, ended: bool) -> None:  # noqa: ARG002
        if ended:
            self._answer(stream)

    def data_received(self, stream: Http2Stream, data: memoryview, *, ended: bool) -> None:
        self._core.consumed(stream, len(data))
        if ended:
            self._answer(stream)

    def trailers_received(self, stream: Http2Stream, section: FieldSection) -> None:  # noqa: ARG002
        self._answer(stream)

    def _ignore(self, *_: object, **__: object) -> None:
        """Nothing of this happens in the benchmark, or matters."""

    head_too_large = stream_malformed = stream_reset = can_send = _ignore
    goaway_received = settings_received = _ignore


def main() -> None:
    """Serve until the process is ended."""
    listening = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1000)
    epoll = select.epoll()
    epoll.register(listening, select.EPOLLIN)
    connections: dict[int, tuple[socket.socket, Connection]] = {}
    while True:
        for fd, _ in epoll.poll():
            if fd == listening.fileno():
                sock, _address = listening.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = sock, Connection(sock)
                epoll.register(sock, select.EPOLLIN)
            elif not connections[fd][1].serve():
                epoll.unregister(fd)
                connections.pop(fd)[0].close()


if __name__ == "__main__":
    main()
