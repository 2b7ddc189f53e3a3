"""An HTTP/1.1 server for tests, in the test's process or alone: ``main NAME PORT``. It answers by path.

============================================  ==========================================================
``/name``, ``/status?code=N``                 its name, with that status
``/bytes?n=N&framing=F&seed=S``               random bytes; F is ``length``, ``chunked`` or ``close``
``/cut?n=N&framing=F&how=H``                  half of them, then the end by H: ``fin`` or ``reset``
``/echo``, ``/digest``                        the request's body in its framing; its SHA-256
``/early``                                    403 before the body is read
``/request``                                  the request's head as JSON
``/wait``, ``/hang``                          its name once ``go_on`` is set; nothing
============================================  ==========================================================
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from urllib.parse import parse_qsl, urlsplit

import h11
import trio

from tests.support.balancer import PATIENCE
from tests.support.servers import backends, reset_at_close, serving

__all__ = ["Origin", "content", "http_backends", "http_origin"]

CHUNK = 32 * 1024
READ = 64 * 1024


@cache
def content(count, seed=1):
    """Return random bytes that are the same in each process."""
    return random.Random(seed).randbytes(count)


class Origin:
    """``requests`` are the targets of the requests whose head has come."""

    def __init__(self, name):
        self.name = name
        self.address = None
        self.served = None
        self.requests = []
        self._came = trio.Event()
        self.go_on = trio.Event()
        self.sent = 0
        """Bytes of bodies that the sockets have taken."""

    async def has(self, count):
        """Wait until the heads of so many requests have come."""
        with trio.fail_after(PATIENCE):
            while len(self.requests) < count:
                await self._came.wait()

    async def serve(self, stream):
        connection = h11.Connection(h11.SERVER)
        with suppress(h11.RemoteProtocolError, trio.BrokenResourceError, ConnectionError):
            while await self._serve_one(connection, stream):
                connection.start_next_cycle()

    async def _serve_one(self, connection, stream):
        """Serve a request. Return False if the connection ends."""
        request = await event(connection, stream)
        if not isinstance(request, h11.Request):
            return False
        self.requests.append(request.target.decode())
        self._came.set()
        self._came = trio.Event()
        url = urlsplit(request.target.decode())
        query = dict(parse_qsl(url.query))
        handler = getattr(self, f"_{url.path.strip('/').partition('/')[0] or 'name'}")
        await handler(connection, stream, request, **query)
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _answer(self, connection, stream, body, *, framing="length", status=200, length=None, end=True):
        fields = [("X-Server", self.name)]
        if framing == "close":
            await self._until_close(connection, stream, body)
            return
        if framing == "length":
            fields.append(("Content-Length", str(len(body) if length is None else length)))
        else:
            fields.append(("Transfer-Encoding", "chunked"))
        head = connection.send(h11.Response(status_code=status, headers=fields))
        if framing == "length" and not end:
            body = body[: len(body) // 2]
        if len(body) <= CHUNK and end:  # at once, so that no kill can cut it short
            await stream.send_all(head + connection.send(h11.Data(data=body)) + connection.send(h11.EndOfMessage()))
            return
        await stream.send_all(head)
        for piece in pieces(body):
            await stream.send_all(connection.send(h11.Data(data=piece)))
            self.sent += len(piece)
        if end:
            await stream.send_all(connection.send(h11.EndOfMessage()))

    async def _until_close(self, connection, stream, body):
        """Answer with a body that ends with the connection. h11 would send it in chunks."""
        await stream.send_all(b"HTTP/1.1 200 OK\r\nX-Server: %b\r\n\r\n" % self.name.encode())
        for piece in pieces(body):
            await stream.send_all(piece)
            self.sent += len(piece)
        connection.send_failed()

    async def _name(self, connection, stream, request, **query):
        await whole_body(connection, stream)
        await self._answer(connection, stream, self.name.encode())

    async def _bytes(self, connection, stream, request, n, framing="length", seed="1", **query):
        await whole_body(connection, stream)
        body = content(int(n), int(seed))
        if request.method == b"HEAD":
            await self._answer(connection, stream, b"", framing=framing, length=len(body))
        else:
            await self._answer(connection, stream, body, framing=framing)

    async def _cut(self, connection, stream, request, n, framing, how, **query):
        await whole_body(connection, stream)
        await self._answer(connection, stream, content(int(n)), framing=framing, end=False)
        if how == "reset":
            reset_at_close(stream)
        connection.send_failed()

    async def _echo(self, connection, stream, request, **query):
        body = await whole_body(connection, stream)
        chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        await self._answer(connection, stream, body, framing="chunked" if chunked else "length")

    async def _digest(self, connection, stream, request, **query):
        body = await whole_body(connection, stream)
        await self._answer(connection, stream, hashlib.sha256(body).hexdigest().encode())

    async def _early(self, connection, stream, request, **query):
        await self._answer(connection, stream, b"early", status=403)

    async def _request(self, connection, stream, request, **query):
        await whole_body(connection, stream)
        headers = [(name.decode(), value.decode()) for name, value in request.headers]
        seen = {"method": request.method.decode(), "target": request.target.decode(), "headers": headers}
        await self._answer(connection, stream, json.dumps(seen).encode())

    async def _wait(self, connection, stream, request, **query):
        await self.go_on.wait()
        await self._answer(connection, stream, self.name.encode())

    async def _status(self, connection, stream, request, code, **query):
        await whole_body(connection, stream)
        await self._answer(connection, stream, self.name.encode(), status=int(code))

    async def _hang(self, connection, stream, request, **query):
        while await stream.receive_some():
            pass
        connection.send_failed()


def pieces(body):
    with memoryview(body) as view:
        for start in range(0, len(body), CHUNK):
            yield bytes(view[start : start + CHUNK])


async def event(connection, stream):
    """Return the next event of a connection."""
    while (found := connection.next_event()) is h11.NEED_DATA:
        if connection.they_are_waiting_for_100_continue:
            await stream.send_all(connection.send(h11.InformationalResponse(status_code=100, headers=[])))
        connection.receive_data(await stream.receive_some(READ))
    return found


async def whole_body(connection, stream):
    """Return the body of the message that has begun."""
    parts = []
    while isinstance(part := await event(connection, stream), h11.Data):
        parts.append(part.data)
    return b"".join(parts)


@asynccontextmanager
async def http_origin(name="a", *, through=lambda serve: serve, **options):
    """Run an origin in this process. Its ``served`` counts connections. ``through`` makes another handler of its."""
    origin = Origin(name)
    async with serving(through(origin.serve), name=name, **options) as origin.served:
        origin.address = origin.served.address
        yield origin


def http_backends(*names):
    """Run origins in processes of their own during the block."""
    return backends(*names, module=sys.modules[__name__])


async def serve_all(name, port):
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=1000)
    print("listening", flush=True)
    await trio.serve_listeners(Origin(name).serve, listeners)


def main():
    trio.run(partial(serve_all, sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
