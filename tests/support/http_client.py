"""Both ends of HTTP/1.1 for tests: requests as bytes, answers judged by h11, servers that follow a script."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress

import attrs
import h11
import trio

from tests.support.balancer import PATIENCE, connect
from tests.support.servers import serving

__all__ = [
    "Answer",
    "Ended",
    "Headed",
    "HttpClient",
    "Received",
    "client",
    "receive_request",
    "scripted",
    "until_ended",
]


class Ended(Exception):  # noqa: N818 - a test outcome, not an error of the program
    """The connection ended in place of an answer."""


class Headed:
    """A message with ``headers``."""

    def __getitem__(self, name):
        """Return the value of the only header of this name, None if there is none."""
        values = [value for each, value in self.headers if each == name]
        assert len(values) <= 1, values
        return values[0] if values else None

    def __contains__(self, name):
        return self[name] is not None


@attrs.frozen
class Answer(Headed):
    """A response as the client sees it. Names are in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    trailers: list[tuple[bytes, bytes]]
    interim: list[int]


class HttpClient:
    """A client's connection. It sends bytes as they are, and reads one answer after the other."""

    def __init__(self, stream):
        self.stream = stream
        self._rest = b""

    async def send(self, *pieces):
        """Send pieces, so that each is likely to be received alone."""
        for piece in pieces:
            await self.stream.send_all(piece)
            await trio.sleep(0.002 * (len(pieces) > 1))

    async def ask(self, data, method="GET"):
        await self.send(data)
        return await self.answer(method)

    async def answer(self, method="GET"):
        """Return the next answer, which is one to a request of this method. Raises Ended, h11.RemoteProtocolError."""
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        if self._rest:
            connection.receive_data(self._rest)
        response, body, interim = None, b"", []
        with trio.fail_after(PATIENCE):
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    data = await self._receive()
                    if not data and response is None:
                        raise Ended
                    connection.receive_data(data)
                elif isinstance(event, h11.InformationalResponse):
                    interim.append(event.status_code)
                elif isinstance(event, h11.Response):
                    response = event
                elif isinstance(event, h11.Data):
                    body += event.data
        self._rest = connection.trailing_data[0]
        return Answer(response.status_code, [*response.headers], body, [*event.headers], interim)

    async def _receive(self):
        try:
            return await self.stream.receive_some()
        except trio.BrokenResourceError:
            raise Ended from None

    async def ended(self):
        """Wait until the balancer has ended the connection. Return whether that was orderly."""
        assert self._rest == b""
        with trio.fail_after(PATIENCE):
            try:
                assert await self.stream.receive_some() == b""
            except trio.BrokenResourceError:
                return False
            return True


@asynccontextmanager
async def client(lb):
    """Connect to the listener ``web``."""
    async with await connect(lb.port) as stream:
        yield HttpClient(stream)


@attrs.frozen
class Received(Headed):
    """A request as the server sees it. Names are in lower case."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    trailers: list[tuple[bytes, bytes]]


async def receive_request(stream, proceed=b"HTTP/1.1 100 Continue\r\n\r\n"):
    """Return the next request on a server's stream; None at its end. ``proceed`` is sent to who expects 100."""
    connection, request, body = h11.Connection(h11.SERVER), None, b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                await stream.send_all(proceed)
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            return None
    return Received(request.method, request.target, [*request.headers], body, [*event.headers])


async def until_ended(stream):
    """Wait until the balancer ends a server's connection, in whichever way."""
    with suppress(trio.BrokenResourceError):
        async for _ in stream:
            pass


@asynccontextmanager
async def scripted(*responses, name="s"):
    """Run a server that answers each request with the next of these, and from then on with the last one.

    A response is bytes, or a function of the stream and the request; after one that returns False, the connection ends.
    Yield the server; ``requests`` has what it received.
    """
    requests, left = [], list(responses)

    async def handler(stream):
        while (request := await receive_request(stream)) is not None:
            requests.append(request)
            response = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(response, bytes):
                await stream.send_all(response)
            elif await response(stream, request) is False:
                return

    async with serving(handler, name=name) as served:
        served.requests = requests
        yield served
