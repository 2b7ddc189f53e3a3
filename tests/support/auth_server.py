"""A small HTTP server whose answers a test writes, byte by byte."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress

import trio


class AuthServer:
    """Answers each request with ``answer``: bytes, or a function of the request's lines that returns bytes or None.

    With None, it does not answer. After an answer that ends with ``CLOSE``, and instead of an empty one, it closes the
    connection.
    """

    CLOSE = b"\0close"

    def __init__(self, port, answer):
        self.port = port
        self.answer = answer
        self.requests = []
        """The lines of each request."""
        self.connections = 0
        self.open = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/check?from=lb"

    def fields(self, number=-1):
        """Return the fields of a request: names in lower case -> list of values."""
        fields = {}
        for line in self.requests[number][1:]:
            name, _, value = line.partition(b": ")
            fields.setdefault(name.lower(), []).append(value)
        return fields

    async def serve(self, stream):
        self.connections += 1
        self.open += 1
        try:
            with suppress(trio.BrokenResourceError):
                await self._answer_all(stream)
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)

    async def _answer_all(self, stream):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = await stream.receive_some()
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            self.requests.append(head.split(b"\r\n"))
            answer = self.answer(self.requests[-1]) if callable(self.answer) else self.answer
            if answer is None:
                await stream.receive_some()
                return
            await stream.send_all(answer.removesuffix(self.CLOSE))
            if not answer or answer.endswith(self.CLOSE):
                return


def response(status, *lines, body=b""):
    """Return an answer with a length."""
    head = b"".join(
        line + b"\r\n" for line in (b"HTTP/1.1 %d Some" % status, b"Content-Length: %d" % len(body), *lines)
    )
    return head + b"\r\n" + body


@asynccontextmanager
async def auth_server(answer, *, tls=None):
    """Yield a running server."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = AuthServer(listener.socket.getsockname()[1], answer)

        async def serve(stream):
            await server.serve(
                stream if tls is None else trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            )

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()
