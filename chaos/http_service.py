"""What a server of a storm does with a connection that speaks HTTP, well or badly, as its mode says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import h11
import trio

from chaos.http_talk import NUMBER, Ask
from chaos.talk import Checked

__all__ = ["BUSY", "HttpService"]

BUSY = b"busy\n"
"""The body of a response with the status 503."""


class HttpService:
    """Answers the requests of one connection. ``mode`` is that of the server; see :mod:`chaos.server`."""

    def __init__(
        self,
        stream: trio.SocketStream,
        mode: Callable[[], str],
        report: Callable[[str], None],
        send_slowly: Callable[[trio.SocketStream, bytes], Awaitable[None]],
        cut: type[Exception],
    ) -> None:
        self._stream = stream
        self._mode = mode
        self._report = report
        self._send_slowly = send_slowly
        self._cut = cut

    async def serve(self, start: bytes) -> None:
        """Answer requests to the end of the connection. ``start`` has been read already. Raises ``cut`` to reset it."""
        while start or (start := await self._stream.receive_some()):
            ask = await self._request(start)
            if ask is None:
                return
            await self._answer(ask)
            if ask.framing == "close":
                return
            start = b""

    async def _request(self, start: bytes) -> Ask | None:
        """Read a request and check it; None if the connection ends before it does."""
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(start)
        ask, checked = None, Checked(b"")
        try:
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    connection.receive_data(await self._stream.receive_some())
                elif isinstance(event, h11.Request):
                    ask = Ask.of(event.method, event.target)
                    checked = Checked(ask.upload)
                elif isinstance(event, h11.Data):
                    if not ask or not ask.is_foreign:
                        self._complain(ask, checked.take(event.data))
                else:
                    return None
        except h11.RemoteProtocolError as error:
            if "closed" not in str(error):  # the balancer has given the request up
                self._complain(ask, f"not HTTP: {error}")
            return None
        self._complain(ask, "" if checked.complete or (ask and ask.is_foreign) else f"a body of {checked.count} bytes")
        if connection.trailing_data[0]:
            self._complain(ask, "more bytes than one request")
        return ask

    def _complain(self, ask: Ask | None, text: str) -> None:
        if text:
            self._report(f"wrong {ask.number if ask else 0} {text}")
            raise self._cut

    async def _answer(self, ask: Ask) -> None:
        mode = self._mode()
        head, body = ask.response()
        if mode in ("half", "reset"):
            self._report(f"cut {ask.number}")
            if mode == "half":
                await self._stream.send_all(head + body[: len(body) // 2])
            raise self._cut
        if mode == "busy":
            self._report(f"busy {ask.number}")
            fields = NUMBER + b": %d\r\nContent-Length: %d" % (ask.number, len(BUSY))
            head = b"HTTP/1.1 503 Busy\r\n" + fields + b"\r\nConnection: close" * (ask.framing == "close") + b"\r\n\r\n"
            await self._stream.send_all(head + BUSY * (ask.method != "HEAD"))
        elif mode == "slow":
            await self._send_slowly(self._stream, head + body)
        else:
            await self._stream.send_all(head + body)
