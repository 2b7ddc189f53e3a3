"""The clients of the demo: short and long sessions, classified when they end, or request by request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count, cycle

import trio

from lb.events import ConnectionClosed
from lb.model.address import Client
from lb.net.errors import describe_error
from lb.tools.demo.kinds import DEMOS, Ask, DemoKind
from lb.tools.demo.ledger import Ledger
from lb.tools.demo.loopback import connect
from lb.tools.demo.process import ServerProcess

__all__ = ["Load"]

SHORT_CLIENTS, LONG_CLIENTS = 4, 3
LONG_REQUESTS = 20
LONG_PAUSE = 0.1
"""Seconds between the requests of a long session."""
SHORT_PAUSE = 0.02
"""Seconds between two short sessions of a client. The load is light."""
REPLY_TIMEOUT = 5.0
"""Seconds to wait for a reply."""
RECORD_GRACE = 1.0
"""Seconds to wait for the ``connection.closed`` event of a broken session and for the exit of its server."""


RESPONSE = re.compile(rb"HTTP/1\.1 (\d+) .*\r\n(?:.+\r\n)*?Content-Length: (\d+)\r\n(?:.+\r\n)*\r\n")
CACHED = re.compile(rb"\r\nX-Cache-Status: (\w+)\r\n")
REPLY = re.compile(r"This is (\w+)\. You asked for (\S+)\.\n")
"""The head and the body of a response, see ``answerer.py``."""


class WrongReplyError(Exception):
    """An error, a reply to another request, or extra bytes."""


class EndedEarlyError(Exception):
    """The stream ended before a complete reply."""


class Load:
    """Clients of the balancer. Pass each ``connection.closed`` event to :meth:`closed`."""

    def __init__(self, servers: Mapping[str, ServerProcess], ledger: Ledger, kind: DemoKind = DEMOS["tcp"]) -> None:
        self._servers = servers
        self._ledger = ledger
        self._by_request = kind.by_request
        self._asks = cycle(kind.asks)
        self._numbers = count(1)
        self._broken: dict[str, ConnectionClosed] = {}
        """Events, by client, of connections that the client did not end. Each session should be ended by its client."""
        self._recorded = trio.Event()

    async def run(self, port: int) -> None:
        """Run sessions until cancelled. Interrupted sessions are not counted."""
        async with trio.open_nursery() as nursery:
            for _ in range(SHORT_CLIENTS):
                nursery.start_soon(self._client, port, 1, SHORT_PAUSE)
            for _ in range(LONG_CLIENTS):
                nursery.start_soon(self._client, port, LONG_REQUESTS, LONG_PAUSE)

    async def _client(self, port: int, requests: int, pause: float) -> None:
        while True:
            await self._session(port, requests, pause)
            await trio.sleep(pause)

    async def _session(self, port: int, requests: int, pause: float) -> None:
        """Run one session and count its result in the ledger."""
        started = trio.current_time()
        try:
            stream = await connect(port)
        except OSError as error:
            self._ledger.failures[f"cannot connect: {describe_error(error)}"] += 1
            return
        client = str(Client(*stream.socket.getsockname()))
        try:
            async with stream:
                await self._exchange(stream, requests, pause)
        except (EndedEarlyError, trio.BrokenResourceError):
            await self._judge_broken(client, started)
        except WrongReplyError as error:
            self._ledger.failures[f"wrong reply: {error}"] += 1
        except trio.TooSlowError:
            self._ledger.failures[f"no reply in {REPLY_TIMEOUT:g} s"] += 1
        else:
            self._ledger.ok += not self._by_request

    async def _exchange(self, stream: trio.SocketStream, requests: int, pause: float) -> None:
        """Send requests and read replies, half-close, read to the end.

        One server must send all replies, unless each request has its own.
        """
        replied_by = set()
        for number in range(requests):
            if number:
                await trio.sleep(pause)
            replied_by.add(await self._request(stream, next(self._asks)))
            if self._by_request:
                self._ledger.ok += 1
            elif len(replied_by) > 1:
                raise WrongReplyError(f"replies of {' and '.join(sorted(replied_by))}")
        with trio.fail_after(REPLY_TIMEOUT):
            await stream.send_eof()
            if rest := await stream.receive_some():
                raise WrongReplyError(f"{rest!r} after the last request")

    async def _request(self, stream: trio.SocketStream, ask: Ask) -> str:
        """Send a request, read its reply, and return the name of the server."""
        number = next(self._numbers) % ask.numbers
        path = ask.path.format(number)
        with trio.fail_after(REPLY_TIMEOUT):
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {ask.host}\r\n\r\n".encode())
            reply, status = await _read_reply(stream)
        match = REPLY.fullmatch(reply)
        server, seen = match.groups() if match else ("", "")
        if seen != ask.seen.format(number) or server not in ask.servers or server not in self._servers:
            raise WrongReplyError(f"{reply!r} to {path!r}")
        if status:
            self._ledger.cached[status] += 1
        return server

    def closed(self, record: ConnectionClosed) -> None:
        """Note the ``connection.closed`` event of a connection."""
        if record.ended_by != "client":
            self._broken[str(record.client)] = record
            self._recorded.set()
            self._recorded = trio.Event()

    async def _judge_broken(self, client: str, started: float) -> None:
        """Count a broken session as cut by a kill or as failed. Both of its ends are closed.

        A session counts as cut if its connection reached a server that died after the session started: a connection
        to a dead server is refused and retried on another one. All other broken sessions are failures of the balancer.
        """
        reason = "broken without a record"
        with trio.move_on_after(RECORD_GRACE):
            while client not in self._broken:
                await self._recorded.wait()
            record = self._broken.pop(client)
            reason = f"{record.reason}, ended by {record.ended_by}"
            if record.server is not None:
                await self._servers[record.server].dead_since(started)
                self._ledger.cut += 1
                return
        self._ledger.failures[reason] += 1


async def _read_reply(stream: trio.SocketStream) -> tuple[str, str]:
    """Return the body of an HTTP response, and what the cache did, empty without one.

    Raises EndedEarlyError, and WrongReplyError if it is an error.
    """
    received = b""
    while not (match := RESPONSE.match(received)) or len(received) < match.end() + int(match[2]):
        chunk = await stream.receive_some()
        if not chunk:
            raise EndedEarlyError
        received += chunk
    if match[1] != b"200":
        raise WrongReplyError(f"status {match[1].decode()}")
    cached = CACHED.search(match[0])
    return received[match.end() :].decode(errors="replace"), cached[1].decode() if cached else ""
