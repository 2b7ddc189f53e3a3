"""An origin for tests of caches: it answers as it is told to, counts what it is asked, and can die."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from email.utils import formatdate

import attrs
import h11
import trio

from tests.support.balancer import PATIENCE
from tests.support.http_origin import event, whole_body
from tests.support.servers import address_text

__all__ = ["Answer", "CacheOrigin", "cache_origin"]

PIECE = 64 * 1024


@attrs.define
class Answer:
    """What the origin answers for a path."""

    body: bytes = b""
    fields: tuple[tuple[str, str], ...] = ()
    status: int = 200
    tag: str = ""
    """An ETag: a request with it gets 304."""
    ranges: bool = False
    """Requests for one range get it, with 206."""
    held: bool = False
    """Nothing is sent until the origin's ``go_on`` is set."""
    pause: int | None = None
    """After so many bytes of the body, nothing more is sent until then."""


class CacheOrigin:
    """Listens from :meth:`start` to :meth:`stop`, which ends its connections too, as the death of a process does."""

    def __init__(self, nursery):
        self.answers = {}
        """By path, without the query. Others get 404."""
        self.requests = []
        """Pairs of a method and a target, with the header fields as the third, of all requests whose head has come."""
        self.go_on = trio.Event()
        self.address = ""
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._came = trio.Event()

    async def start(self):
        """Listen; again on the same port after :meth:`stop`."""
        host, _, port = self.address.rpartition(":")
        [listener] = await trio.open_tcp_listeners(int(port or 0), host=host or "127.0.0.1")
        self.address = address_text(listener.socket.getsockname())
        self._scope = trio.CancelScope()
        self._ended = await self._nursery.start(self._run, listener)

    async def _run(self, listener, *, task_status):
        ended = trio.Event()
        task_status.started(ended)
        with self._scope:
            await trio.serve_listeners(self._serve, [listener])
        ended.set()

    async def stop(self):
        """End, with all connections; returns when they are closed."""
        self._scope.cancel()
        await self._ended.wait()

    def asked(self, path, method="GET"):
        """Return the header fields of the requests for a path, with names in lower case."""
        return [fields for verb, target, fields in self.requests if (verb, target) == (method, path)]

    async def has(self, path, count):
        """Wait until so many requests for a path have come."""
        with trio.fail_after(PATIENCE):
            while len(self.asked(path)) < count:
                await self._came.wait()

    async def _serve(self, stream):
        connection = h11.Connection(h11.SERVER)
        async with stream:
            with suppress(h11.RemoteProtocolError, trio.BrokenResourceError):
                while isinstance(request := await event(connection, stream), h11.Request):
                    await whole_body(connection, stream)
                    await self._answer(connection, stream, request)
                    if connection.our_state is h11.MUST_CLOSE:
                        break
                    connection.start_next_cycle()

    async def _answer(self, connection, stream, request):
        fields = joined(request.headers)
        target = request.target.decode()
        self.requests.append((request.method.decode(), target, fields))
        self._came.set()
        self._came = trio.Event()
        answer = self.answers.get(target.partition("?")[0], Answer(b"nothing", status=404))
        if answer.held:
            await self.go_on.wait()
        head, body = response(answer, fields)
        if request.method == b"HEAD":
            body = b""
        await stream.send_all(connection.send(head))
        for start in range(0, len(body), PIECE):
            if answer.pause is not None and start >= answer.pause:
                await self.go_on.wait()
            await stream.send_all(connection.send(h11.Data(data=body[start : start + PIECE])))
        await stream.send_all(connection.send(h11.EndOfMessage()))


def joined(headers):
    """Return header fields by their names in lower case; several of one name are a list."""
    fields = {}
    for name, value in headers:
        fields.setdefault(name.decode().lower(), []).append(value.decode())
    return {name: ", ".join(values) for name, values in fields.items()}


def response(answer, fields):
    """Return the head and the body for a request with these header fields."""
    own = [("Date", formatdate(usegmt=True)), *answer.fields]
    if answer.tag:
        own.append(("ETag", answer.tag))
        if fields.get("if-none-match") == answer.tag:
            return h11.Response(status_code=304, headers=own), b""
    status, body = answer.status, answer.body
    unit, _, asked = fields.get("range", "").partition("=")
    if answer.ranges and unit == "bytes" and fields.get("if-range", answer.tag) == answer.tag:
        first, _, last = asked.partition("-")
        end = min(int(last or len(body) - 1), len(body) - 1)
        own.append(("Content-Range", f"bytes {first}-{end}/{len(body)}"))
        status, body = 206, body[int(first) : end + 1]
    if answer.ranges:
        own.append(("Accept-Ranges", "bytes"))
    return h11.Response(status_code=status, headers=[*own, ("Content-Length", str(len(body)))]), body


@asynccontextmanager
async def cache_origin(answers=()):
    """Run an origin in this process."""
    async with trio.open_nursery() as nursery:
        origin = CacheOrigin(nursery)
        origin.answers.update(answers)
        await origin.start()
        yield origin
        nursery.cancel_scope.cancel()
