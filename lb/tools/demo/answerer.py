"""A server of the demo, run as a separate process: ``python answerer.py NAME DESCRIPTOR SECONDS``.

It answers each HTTP request with its name and the path, after so many seconds, on the listening socket that it
inherits. Exits when its standard input closes, so it never outlives the demo. Of the standard library only a little, so
that a restart is quick.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from io import BufferedReader
from time import sleep  # noqa: TID251 - each client has a thread

LONGEST_LINE = 8192
"""Maximum bytes of a line of a request."""
MOST_HEADERS = 100
CHECKED = b"/"
"""The path of health checks, which is never slow."""


def main(name: str, descriptor: int, delay: float) -> None:
    """Serve. ``delay`` is in seconds."""
    listening = socket.socket(fileno=descriptor)
    threading.Thread(target=accept, args=(name.encode(), listening, delay), daemon=True).start()
    os.read(sys.stdin.fileno(), 1)


def accept(name: bytes, listening: socket.socket, delay: float) -> None:
    while True:
        client, _ = listening.accept()
        threading.Thread(target=answer, args=(name, client, delay), daemon=True).start()


def answer(name: bytes, client: socket.socket, delay: float) -> None:
    """Answer requests until the client closes, asks to close, or sends what this small server does not understand."""
    with client, client.makefile("rb") as stream:
        try:
            while (request := read_request(stream)) is not None:
                method, path, more = request
                if path != CHECKED:
                    sleep(delay)
                body = b"This is %s. You asked for %s.\n" % (name, path)
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n" % len(
                    body
                )
                head += b"\r\n" if more else b"Connection: close\r\n\r\n"
                client.sendall(head if method == b"HEAD" else head + body)
                if not more:
                    return
        except ConnectionError:  # the client or the health check has disconnected
            return


def read_request(stream: BufferedReader) -> tuple[bytes, bytes, bool] | None:
    """Return the method, the path, and whether another request may follow. None if there is no valid request."""
    line = stream.readline(LONGEST_LINE).split()
    if len(line) != 3:
        return None
    method, path, version = line
    more = version == b"HTTP/1.1"
    for _ in range(MOST_HEADERS):
        field = stream.readline(LONGEST_LINE)
        if field in (b"\r\n", b"\n"):
            return method, path, more
        name, colon, value = field.partition(b":")
        if not colon:
            return None
        if name.lower() in (b"content-length", b"transfer-encoding") or value.strip().lower() == b"close":
            more = False  # a body is not read
    return None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
