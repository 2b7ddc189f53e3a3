"""A balancer with an admin endpoint, and a client for it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import httpx
import trio

from tests.support.balancer import PATIENCE, balancer, connect

ADMIN = '[admin]\nbind = "127.0.0.1:0"'


class Operator:
    """A client of the admin endpoint with all permissions."""

    def __init__(self, lb, client):
        self.lb = lb
        self.client = client

    async def get(self, path, **parameters):
        """Return the JSON of a GET."""
        answer = await self.client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path, body=None, *, status=200):
        """Return the JSON of a POST, which must have this status."""
        answer = await self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def status(self):
        return await self.get("/api/v1/status")

    async def servers(self, pool="web"):
        """Return the servers of the status, by name."""
        return (await self.status())["pools"][pool]["servers"]

    async def server(self, name, pool="web"):
        """Return one server of the status."""
        return (await self.servers(pool))[name]

    async def all_know(self):
        """Wait until all workers know of what the status shows: they answer after they have handled it."""
        await self.get("/api/v1/connections")

    async def do(self, server, what, body=None, *, pool="web", status=200):
        return await self.post(f"/api/v1/pools/{pool}/servers/{server}/{what}", body, status=status)

    async def metrics(self):
        """Return the value of each sample, by name with labels."""
        text = (await self.client.get("/metrics")).text
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def until(self, request, condition):
        """Repeat a request until its response meets the condition; return the response."""
        answer = None
        with trio.move_on_after(PATIENCE):
            while not condition(answer := await request()):  # noqa: ASYNC110 - no event for a changed figure
                await trio.sleep(0.02)
        assert condition(answer), answer
        return answer

    @asynccontextmanager
    async def event_stream(self, last_event_id=None):
        """Open an event stream; yield a function that returns the next (id, event, data)."""
        port = int((await self.lb.event("admin.started"))["bind"].rpartition(":")[2])
        async with await connect(port) as stream:
            known = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id is not None else ""
            await stream.send_all(f"GET /api/v1/events HTTP/1.0\r\nHost: localhost\r\n{known}\r\n".encode())
            blocks = Blocks(stream)
            assert "text/event-stream" in await blocks.next("\r\n\r\n")
            yield blocks.event


class Blocks:
    """Reads a stream in blocks that end with a separator."""

    def __init__(self, stream):
        self._stream = stream
        self._rest = b""

    async def next(self, separator):
        with trio.fail_after(PATIENCE):
            while separator.encode() not in self._rest:
                chunk = await self._stream.receive_some()
                assert chunk, "the stream has ended"
                self._rest += chunk
        block, _, self._rest = self._rest.partition(separator.encode())
        return block.decode()

    async def event(self):
        while (block := await self.next("\n\n")).startswith(":"):
            pass
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        return int(fields["id"]), fields["event"], json.loads(fields["data"])


@asynccontextmanager
async def operated(tmp_path, text, *, token="", **options):
    """:func:`tests.support.balancer.balancer` with an admin endpoint, and its operator. ``top=ADMIN`` gives it one."""
    async with balancer(tmp_path, text, **options) as lb, client_of(lb, token=token) as client:
        yield lb, Operator(lb, client)


@asynccontextmanager
async def client_of(lb, *, token=""):
    """An HTTP client of the admin endpoint of a running balancer, over TCP or a Unix socket."""
    bind = (await lb.event("admin.started"))["bind"]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    socket_path = bind.removeprefix("unix:") if bind.startswith("unix:") else None
    transport = httpx.AsyncHTTPTransport(uds=socket_path)
    base = "http://localhost" if socket_path else f"http://{bind}"
    async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers, timeout=PATIENCE) as client:
        yield client
