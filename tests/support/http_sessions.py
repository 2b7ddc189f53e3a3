"""Sessions of an HTTP/1.1 client: requests over one connection, plain or TLS. h11 judges what comes."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import attrs
import h11
import trio

from tests.support.balancer import PATIENCE, connect

__all__ = ["Fetched", "HttpSession", "Incomplete", "KeptSessions", "fetch", "http_session", "name_at"]

PIECE = 64 * 1024
HOST = "web.example"


class Incomplete(ConnectionError):  # noqa: N818 - named for what the response is
    """The connection ended before the response did."""


@attrs.frozen
class Fetched:
    """A response. ``interim`` are the statuses before it."""

    status: int
    headers: dict
    body: bytes
    interim: tuple = ()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def closes(self):
        """The server ends the connection."""
        return self.headers.get("connection") == "close"

    @property
    def text(self):
        return self.body.decode()


class HttpSession:
    """``piece`` is the size of its reads and writes."""

    def __init__(self, stream, *, piece=PIECE):
        self.stream = stream
        self.piece = piece
        self.has_begun = False
        """A byte of the present response has come."""
        self._connection = h11.Connection(h11.CLIENT)

    async def ask(self, target, method="GET", body=None, *, headers=(), chunked=False):
        """Send a request and read its response, both at the same time. Raises Incomplete."""
        answer = failure = None
        with trio.fail_after(2 * PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, target, method, body, headers, chunked)
                try:
                    answer = await self.answer()
                except Incomplete as error:
                    failure = error
                nursery.cancel_scope.cancel()  # it may have come before the whole request was sent
        if failure is not None:
            raise failure
        return answer

    async def _send(self, target, method, body, headers, chunked):
        try:
            await self.send(target, method, body, headers=headers, chunked=chunked)
        except (trio.BrokenResourceError, OSError):
            return  # the answer tells more

    async def send(self, target, method="GET", body=None, *, headers=(), chunked=False):
        """Send a request."""
        connection = self._connection
        if connection.our_state is h11.DONE:
            connection.start_next_cycle()
        self.has_begun = False
        fields = [*headers] if any(name == "Host" for name, _ in headers) else [("Host", HOST), *headers]
        if chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        elif body is not None:
            fields.append(("Content-Length", str(len(body))))
        await self.stream.send_all(connection.send(h11.Request(method=method, target=target, headers=fields)))
        with memoryview(body or b"") as view:
            for start in range(0, len(view), self.piece):
                piece = bytes(view[start : start + self.piece])
                await self.stream.send_all(connection.send(h11.Data(data=piece)))
        await self.stream.send_all(connection.send(h11.EndOfMessage()))

    async def answer(self):
        """Read a response. Raises Incomplete."""
        interim, response, parts = [], None, []
        try:
            while not isinstance(event := await self._event(), h11.EndOfMessage):
                if isinstance(event, h11.InformationalResponse):
                    interim.append(event.status_code)
                elif isinstance(event, h11.Response):
                    response = event
                elif isinstance(event, h11.Data):
                    parts.append(event.data)
                else:
                    raise Incomplete(f"{event} after {response}")
        except (h11.RemoteProtocolError, trio.BrokenResourceError, OSError) as error:
            raise Incomplete(f"{error!r} after {response}") from error
        headers = {name.decode(): value.decode() for name, value in response.headers}
        return Fetched(response.status_code, headers, b"".join(parts), tuple(interim))

    async def _event(self):
        while (found := self._connection.next_event()) is h11.NEED_DATA:
            data = await self.stream.receive_some(self.piece)
            self.has_begun = self.has_begun or bool(data)
            self._connection.receive_data(data)
        return found


class KeptSessions:
    """Sessions for :class:`tests.support.load.Load`: one request each, over connections that are kept in between.

    A request over a kept connection that ends without a byte of the response is sent again over a new one, as RFC 9112
    (section 9.3.1) lets clients do: the server may close an idle connection at any time.
    """

    def __init__(self, target="/name"):
        self.target = target
        self.again = 0
        """Requests that were sent again."""
        self._idle = []

    async def __call__(self, port):
        client = self._idle.pop() if self._idle else None
        if client is not None:
            try:
                return await self._ask(client)
            except Incomplete:
                if client.has_begun:
                    raise
                self.again += 1
        return await self._ask(HttpSession(await connect(port)))

    async def _ask(self, client):
        answer = None
        try:
            answer = await _asked(client, self.target)
        finally:
            if answer is None or answer.closes:
                await trio.aclose_forcefully(client.stream)
            else:
                self._idle.append(client)
        return answer.body if answer.status == 200 else answer.status

    async def aclose(self):
        for client in self._idle:
            await trio.aclose_forcefully(client.stream)


@asynccontextmanager
async def http_session(port, host="127.0.0.1", **options):
    """Connect a client for the block."""
    async with await connect(port, host) as stream:
        yield HttpSession(stream, **options)


async def name_at(port):
    """A session for :class:`tests.support.load.Load`: one request on a connection of its own."""
    async with http_session(port) as client:
        answer = await _asked(client, "/name", headers=[("Connection", "close")])
    return answer.body if answer.status == 200 else answer.status


async def _asked(client, target, **options):
    """Send a request and return the response. The text of Incomplete begins with the client's address, for records."""
    address = "{}:{}".format(*client.stream.socket.getsockname())
    try:
        return await client.ask(target, **options)
    except Incomplete as error:
        raise Incomplete(f"{address}: {error}") from error


async def fetch(port, target="/name", method="GET", body=None, *, host="127.0.0.1", **options):
    """Return the answer to one request on a connection of its own."""
    async with http_session(port, host) as client:
        return await client.ask(target, method, body, **options)
