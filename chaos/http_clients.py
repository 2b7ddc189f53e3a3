"""Clients of the http listener. Each of their requests is a session of the ledger."""

from __future__ import annotations

import random
import socket

import attrs
import h11
import trio

from chaos.clients import PATIENCE, EndedEarlyError
from chaos.http_service import BUSY
from chaos.http_talk import DIGEST, FRAMINGS, NUMBER, Ask
from chaos.ledger import ORDERLY_END, Ledger, RequestSession, source_of
from chaos.talk import Checked

__all__ = ["HTTP_KINDS", "HttpClients", "HttpKind"]

RESETS = b"\1\0\0\0\0\0\0\0"
"""SO_LINGER: a close resets the connection."""
READ = 1 << 16


@attrs.frozen
class HttpKind:
    """A kind of connection. Pairs are minimum and maximum."""

    weight: int
    requests: tuple[int, int] = (1, 1)
    methods: tuple[str, ...] = ("GET", "GET", "GET", "HEAD", "PUT", "POST", "DELETE")
    up: tuple[int, int] = (0, 2_000)
    down: tuple[int, int] = (1, 20_000)
    pause: float = 0.0
    """Maximum seconds before each request."""
    ahead: bool = False
    """All requests are sent before the first response is read."""
    rude: bool = False
    """The client resets the connection in the middle of the last response."""


HTTP_KINDS = {
    "single": HttpKind(6),
    "kept requests": HttpKind(6, requests=(2, 12), pause=0.02),
    "pipelined": HttpKind(3, requests=(2, 6), methods=("GET", "HEAD"), ahead=True),
    "upload": HttpKind(2, requests=(1, 3), methods=("PUT", "POST"), up=(0, 600_000)),
    "download": HttpKind(1, methods=("GET",), down=(0, 2_000_000)),
    "rude requests": HttpKind(1, requests=(1, 3), methods=("GET",), down=(1, 500_000), rude=True),
}


class HttpClients:
    """Runs connections to the http listener at ``port``. Seed and number determine what they ask."""

    def __init__(self, ledger: Ledger, port: int, seed: int) -> None:
        self._ledger = ledger
        self._port = port
        self._seed = seed

    async def one_after_another(self, until: trio.Event) -> None:
        """Run connections until ``until`` is set."""
        while not until.is_set():
            await self.session()

    async def session(self, kind: str | None = None) -> None:
        """Run a connection of this kind, or of a random one. Never raises: failures go into the ledger."""
        rng = random.Random(f"{self._seed} http {len(self._ledger.sessions)}")
        kind = kind or rng.choices([*HTTP_KINDS], [each.weight for each in HTTP_KINDS.values()])[0]
        await HttpConnection(self._ledger, self._port, kind, rng).run()


class HttpConnection:
    """One connection of a client, and its requests."""

    def __init__(self, ledger: Ledger, port: int, name: str, rng: random.Random) -> None:
        self._ledger = ledger
        self._port = port
        self._name = name
        self._kind = HTTP_KINDS[name]
        self._rng = rng
        self._left = b""
        """Bytes behind the last response."""
        ledger.http_connections += 1
        self._number = ledger.http_connections
        self._connected = trio.current_time()
        self._closes = False
        """The last response has closed the connection."""

    async def run(self) -> None:
        """Send the requests and check their responses."""
        requests: list[tuple[RequestSession, Ask]] = []
        count = self._rng.randint(*self._kind.requests)
        try:
            with trio.fail_after(PATIENCE), trio.socket.socket() as sock:
                await sock.bind((source_of(len(self._ledger.sessions)), 0))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await sock.connect(("127.0.0.1", self._port))
                if self._kind.ahead:
                    requests += (self._next_ask() for _ in range(count))
                    await _send(sock, b"".join(ask.request(close=False) for _, ask in requests))
                for number in range(count):
                    last = number + 1 == count
                    if not self._kind.ahead:
                        await trio.sleep(self._rng.uniform(0, self._kind.pause))
                        requests.append(self._next_ask())
                        await self._request(sock, *requests[-1], close=last and not self._kind.rude)
                    if last and self._kind.rude:
                        requests[-1][0].rude = True
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
                        await sock.recv(100)
                        break
                    await self._response(sock, *requests[number])
                    if self._closes:
                        break
        except trio.TooSlowError:
            self._end(requests, f"stuck for {PATIENCE:g} s")
        except EndedEarlyError as error:
            self._end(requests, str(error))
        except OSError as error:
            self._end(requests, error.strerror or str(error))
        self._end(requests, None)

    def _next_ask(self) -> tuple[RequestSession, Ask]:
        rng, kind = self._rng, self._kind
        session = self._ledger.begin_request(self._name, trio.current_time(), self._number, self._connected)
        method = rng.choice(kind.methods)
        up = _size(rng, kind.up) if method in ("PUT", "POST") else 0
        ask = Ask(
            session.number, method, up, _size(rng, kind.down), rng.choice(FRAMINGS), bool(up) and rng.random() < 0.5
        )
        session.method, session.up, session.chunked = method, up, ask.chunked
        return session, ask

    def _end(self, requests: list[tuple[RequestSession, Ask]], failure: str | None) -> None:
        """End the requests that have not ended: the first of them has failed, and the others were not served."""
        now, behind = trio.current_time(), self._closes
        for session, _ in requests:
            if session.ended is None:
                session.ended, session.failure = now, failure
                if behind:
                    session.unserved = True
                    session.closed_before = failure is None
                behind = True

    async def _request(self, sock: trio.socket.SocketType, session: RequestSession, ask: Ask, *, close: bool) -> None:
        """Send a request. A response that comes before its end is no error: it is read afterwards."""
        try:
            await _send(sock, ask.request(close=close))
        except (BrokenPipeError, ConnectionResetError):
            if not ask.up:
                raise
        session.sent = ask.up

    async def _response(self, sock: trio.socket.SocketType, session: RequestSession, ask: Ask) -> None:
        """Read a response and check it."""
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=ask.method, target=ask.target, headers=[("Host", "chaos.example")]))
        reader.send(h11.EndOfMessage())
        if self._left:
            reader.receive_data(self._left)
        checked = Checked(b"")
        try:
            while not isinstance(event := reader.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    data = await sock.recv(READ)
                    if not data and session.status is None:
                        raise EndedEarlyError(ORDERLY_END)
                    reader.receive_data(data)
                elif isinstance(event, h11.Response):
                    checked = self._head(session, ask, event)
                elif isinstance(event, h11.Data):
                    self._check(session, checked.take(event.data) if session.is_answer else "")
                    session.received += len(event.data)
        except h11.RemoteProtocolError as error:
            if "closed" not in str(error):
                self._check(session, f"not HTTP: {error}")
            raise EndedEarlyError("an unfinished response") from None
        if session.is_answer and ask.method != "HEAD" and not checked.complete:
            self._check(session, f"a response of {checked.count} bytes that looks complete")
        self._left = bytes(reader.trailing_data[0])
        session.ended = trio.current_time()
        session.failure = None if session.status == 200 else f"status {session.status}"

    def _head(self, session: RequestSession, ask: Ask, response: h11.Response) -> Checked:
        """Check the head of a response; return the checks of its body."""
        session.status = response.status_code
        fields = dict(response.headers)
        self._closes = self._closes or b"close" in fields.get(b"connection", b"")
        number = fields.get(NUMBER.lower())
        session.is_answer = number is not None
        if number is None:  # of the balancer itself
            self._check(session, "200 without a number" if session.status == 200 else "")
            return Checked(b"")
        self._check(session, f"the response of request {number!r}" if int(number) != ask.number else "")
        if session.status != 200:
            return Checked(BUSY)
        self._check(session, "" if fields.get(DIGEST.lower()) == ask.digest else "the server had another body")
        return Checked(ask.download)

    def _check(self, session: RequestSession, wrong: str) -> None:
        if wrong:
            self._ledger.wrong.append(f"request {session.number}, at its client: {wrong}")
            raise EndedEarlyError("wrong bytes")


async def _send(sock: trio.socket.SocketType, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[await sock.send(rest) :]


def _size(rng: random.Random, bounds: tuple[int, int]) -> int:
    return min(rng.randint(*bounds) for _ in range(3))
