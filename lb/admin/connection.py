"""A connection of the admin endpoint whose first request was allowed. Each read and each write has a deadline."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

import h11
import trio

from lb.admin.messages import AdminResponse, HttpError, head_of, last_response
from lb.net.tcp import end_with_reset

__all__ = ["HEAD_SIZE", "HEAD_TIMEOUT", "LINGER_TIMEOUT", "AdminConnection"]

HEAD_SIZE = 16_384
"""Maximum bytes of one read, and of the head of a request (h11 refuses a longer one)."""
MAX_BODY = 65_536
"""Maximum bytes of a request body."""
WRITE_SIZE = 65_536
"""Maximum bytes of one write."""
HEAD_TIMEOUT = 10.0
"""Seconds for the head of a request: from its first byte or, on a new connection, from the start."""
BODY_TIMEOUT = 10.0
"""Seconds for the body of a request."""
WRITE_TIMEOUT = 10.0
"""Seconds for one write. A client that does not read is cut off."""
IDLE_TIMEOUT = 75.0
"""Seconds that a connection may be idle between requests; longer than the usual scrape interval."""
LINGER_TIMEOUT = 1.0
"""Seconds that a client gets to read the last response: a close with unread bytes resets the connection at once."""


class AdminConnection:
    """Reads requests and writes responses, one after the other. ``protocol`` has parsed the head of the first request.

    ``client`` is the client's address, for the log.
    The methods raise trio.BrokenResourceError if the client has gone, trio.ClosedResourceError after :meth:`close`.
    """

    def __init__(self, sock: socket.socket, client: str, protocol: h11.Connection) -> None:
        self.client = client
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._protocol = protocol
        self.idle = False
        """It waits for a request, so it may be closed to make room."""

    def close(self) -> None:
        """Close the socket."""
        self._stream.socket.close()

    async def next_head(self) -> h11.Request | None:
        """Return the head of the next request; None if no further one comes. Raises HttpError if it is no HTTP."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            await self._linger()
            return None
        self._protocol.start_next_cycle()
        if not self._protocol.trailing_data[0]:
            self.idle = True
            with trio.move_on_after(IDLE_TIMEOUT):
                self._protocol.receive_data(await self._stream.receive_some(HEAD_SIZE))
                self.idle = False
            if self.idle:
                return None
        with _within(HEAD_TIMEOUT, "request"):
            event = await self._event()
        return event if isinstance(event, h11.Request) else None

    async def body(self) -> bytes:
        """Return the body of the request. Raises HttpError."""
        if self._protocol.they_are_waiting_for_100_continue:
            await self._write(self._encoded(h11.InformationalResponse(status_code=100, headers=[])))
        content = bytearray()
        with _within(BODY_TIMEOUT, "body"):
            while isinstance(event := await self._event(), h11.Data):
                content += event.data
                if len(content) > MAX_BODY:
                    raise HttpError(413, f"the body has more than {MAX_BODY} bytes")
        return bytes(content)

    async def _event(self) -> object:
        """Return the next event of the protocol, reading as needed. Raises HttpError."""
        try:
            while (event := self._protocol.next_event()) is h11.NEED_DATA:
                self._protocol.receive_data(await self._stream.receive_some(HEAD_SIZE))
        except h11.RemoteProtocolError as error:
            raise HttpError(error.error_status_hint, str(error)) from error
        return event

    async def respond(self, response: AdminResponse, *, with_body: bool) -> None:
        """Send a response. ``with_body`` is False for HEAD. Raises trio.TooSlowError if the client does not read."""
        head = self._encoded(head_of(response))
        if not with_body:
            await self._write(head + self._encoded(h11.EndOfMessage()))
        elif isinstance(response.body, bytes):
            for start in range(0, len(response.body), WRITE_SIZE):
                await self._write(head + self._encoded(h11.Data(response.body[start : start + WRITE_SIZE])))
                head = b""
            await self._write(head + self._encoded(h11.EndOfMessage()))
        else:
            await self._write(head)
            await self._send_stream(response.body)

    async def _send_stream(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """Send a stream without end, until the client goes or does not read."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_when_disconnected, nursery.cancel_scope)
                async with aclosing(pieces):
                    async for piece in pieces:
                        await self._write(self._encoded(h11.Data(piece)))
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass

    async def _cancel_when_disconnected(self, scope: trio.CancelScope) -> None:
        await self.disconnected()
        scope.cancel()

    async def disconnected(self) -> None:
        """Return once the client has closed the connection. Never returns if it has sent a further request before."""
        try:
            await trio.lowlevel.wait_readable(self._stream.socket)
            further = await self._stream.socket.recv(1, socket.MSG_PEEK)
        except (OSError, trio.ClosedResourceError):
            return
        if further:
            await trio.sleep_forever()

    def _encoded(self, event: h11.Event) -> bytes:
        return self._protocol.send(event) or b""

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        try:
            with trio.fail_after(WRITE_TIMEOUT):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            end_with_reset(self._stream.socket)  # else the kernel would keep what is not read
            raise

    async def end(self, response: AdminResponse, *, with_body: bool = True) -> None:
        """Send a last response, unless one has begun, and end the connection."""
        if self._protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._write(last_response(response, with_body=with_body))
        await self._linger()

    async def _linger(self) -> None:
        """Let the client read the last response; discard what it sends meanwhile."""
        with trio.move_on_after(LINGER_TIMEOUT):
            await self._stream.send_eof()
            while await self._stream.receive_some(HEAD_SIZE):
                pass


@contextmanager
def _within(seconds: float, what: str) -> Iterator[None]:
    """Raise HttpError 408 if the block takes longer."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise HttpError(408, f"no complete {what} in {seconds:g} s") from error
