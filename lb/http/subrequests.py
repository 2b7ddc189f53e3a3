"""Requests of the balancer itself to an HTTP server, beside those of clients: GET, over a few kept connections."""

from __future__ import annotations

import errno
import functools
import math
import ssl
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import attrs
import h11
import trio

from lb.events import ForwardAuthFailed, Sink
from lb.model.address import Address
from lb.model.request import HeaderFields
from lb.net.cached_name import CachedName
from lb.net.client_stream import agree_on_tls, connect_to_first, error_behind
from lb.net.deadlines import DeadlineQueue, Deadlines
from lb.net.errors import describe_error
from lb.net.tls import verifying_context
from lb.proxy.context import ConnectionContext

__all__ = ["Subrequests", "SubrequestsByUrl", "Subresponse"]

SUBREQUEST_TIMEOUT = 5.0
"""Seconds of a request, from the wait for a connection to the end of the body."""
MOST_CONNECTIONS = 64
"""A guess: at 10 ms a request, 6,400 requests a second."""
MAX_QUEUED = 1024
"""Requests that wait for a connection."""
KEPT_FOR = 30.0
"""Seconds that a connection stays open without a request."""
SILENT_FOR = 60.0
"""Seconds after a report of a failure in which there is no other."""
LONGEST_HEAD = 32 * 1024
LONGEST_BODY = 64 * 1024
_PIECE = 16 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}


@attrs.frozen
class Subresponse:
    """A response, with its body, whose transfer coding is undone."""

    status: int
    fields: HeaderFields
    """Names in lower case."""
    body: bytes


class Subrequests:
    """GET requests to one URL, for ``http`` or ``https``."""

    def __init__(self, url: str, deadlines: Deadlines, sink: Sink) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        self._name = CachedName(Address.of(host, parts.port or _DEFAULT_PORTS[parts.scheme]))
        self._tls = (_tls_context(), host) if parts.scheme == "https" else None
        self._host = parts.netloc.encode()
        self._target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}".encode()
        self._turns = trio.Semaphore(MOST_CONNECTIONS)
        self._idle: list[_Connection] = []
        """The one used last is at the end, and is used next, so that those too many expire."""
        self._kept = deadlines.queue("kept", KEPT_FOR)
        self._sink = sink
        self._shown = url.partition("?")[0]
        self._failures = 0
        self._silent_until = -math.inf

    async def get(self, fields: HeaderFields) -> Subresponse:
        """Make a request with these fields, besides Host. Raises OSError; TimeoutError if it takes too long.

        A connection that turns out to be closed before a byte of the response is replaced.
        """
        try:
            return await self._get_in_time(fields)
        except OSError as error:
            self._report(error)
            raise

    def _report(self, error: OSError) -> None:
        """Report failures, not each of them."""
        self._failures += 1
        now = trio.current_time()
        if now >= self._silent_until:
            self._sink(ForwardAuthFailed(self._shown, describe_error(error), self._failures))
            self._failures = 0
            self._silent_until = now + SILENT_FOR

    async def _get_in_time(self, fields: HeaderFields) -> Subresponse:
        if self._turns.statistics().tasks_waiting >= MAX_QUEUED:
            raise OSError("too many requests wait")
        request = h11.Request(method=b"GET", target=self._target, headers=[(b"Host", self._host), *fields])
        with trio.move_on_after(SUBREQUEST_TIMEOUT):
            async with self._turns:
                return await self._get(request)
        self._drop_idle()
        raise TimeoutError(errno.ETIMEDOUT, "timed out")

    async def _get(self, request: h11.Request) -> Subresponse:
        while self._idle:
            connection = self._idle.pop()
            self._kept.discard(connection)
            try:
                return await self._get_over(connection, request)
            except OSError:
                if connection.heard:
                    raise
        return await self._get_over(await self._connect(), request)

    async def _get_over(self, connection: _Connection, request: h11.Request) -> Subresponse:
        try:
            response = await connection.get(request)
        finally:
            if connection.reusable:
                self._idle.append(connection)
                self._kept.enter(connection, trio.current_time())
            else:
                connection.close()
        return response

    async def _connect(self) -> _Connection:
        plain = await connect_to_first(await self._name.targets())
        if self._tls is None:
            return _Connection(plain, plain, self._idle)
        context, host = self._tls
        return _Connection(await agree_on_tls(plain, context, host), plain, self._idle)

    def _drop_idle(self) -> None:
        """Close the idle connections: the server may have vanished without a word."""
        while self._idle:
            connection = self._idle.pop()
            self._kept.discard(connection)
            connection.close()


class _Connection:
    """A connection, for one request after the other. ``idle`` lists it while it has none."""

    def __init__(self, stream: trio.abc.Stream, plain: trio.SocketStream, idle: list[_Connection]) -> None:
        self._stream = stream
        self._plain = plain
        self._idle = idle
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        self.heard = False
        """The server has answered the latest request, with a byte at least."""
        self.reusable = False

    async def get(self, request: h11.Request) -> Subresponse:
        """Make a request. Raises OSError."""
        self.heard = self.reusable = False
        http = self._http
        try:
            await self._stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
            response = await self._read()
        except trio.BrokenResourceError as error:
            raise error_behind(error) from error
        except h11.RemoteProtocolError as error:
            raise OSError("not a valid HTTP response") from error
        if http.our_state is h11.DONE and http.their_state is h11.DONE and not http.trailing_data[0]:
            http.start_next_cycle()
            self.reusable = True
        return response

    async def _read(self) -> Subresponse:
        """Read a response. Interim ones before it are ignored."""
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > LONGEST_BODY:
                    raise OSError(f"a response of more than {LONGEST_BODY} bytes")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Subresponse(head.status_code, list(head.headers), bytes(body))

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._stream.receive_some(_PIECE)
            self.heard = self.heard or bool(data)
            self._http.receive_data(bytes(data))
        return event

    def expired(self, queue: DeadlineQueue) -> None:  # noqa: ARG002 - there is only one queue
        """It was idle for too long."""
        self._idle.remove(self)
        self.close()

    def close(self) -> None:
        self._plain.socket.close()


class SubrequestsByUrl:
    """The requests of a process: all to one URL share their connections, also over reloads."""

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        self._by_url: WeakValueDictionary[str, Subrequests] = WeakValueDictionary()

    def of(self, url: str) -> Subrequests:
        """Return those to this URL."""
        found = self._by_url.get(url)
        if found is None:
            found = self._by_url[url] = Subrequests(url, self._context.deadlines, self._context.sink)
        return found


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return a context that verifies servers by the CA certificates of the system, which take 50 ms to load."""
    return verifying_context(verify=True)
