"""The handshake with a parent proxy, which a test scripts: what is asked, what passes, and where bytes go."""

from __future__ import annotations

import math
import socket
import ssl
from contextlib import asynccontextmanager
from types import SimpleNamespace

import attrs
import pytest
import trio

from lb.forward.parent_handshake import LONGEST_ANSWER, ParentHandshake, login_line
from lb.model.address import Address, Client
from lb.model.tls import PoolTlsSpec
from lb.net.tcp import TCP_OPTIONS
from lb.proxy.server_handshake import SendProxy, StartTls
from lb.proxy_protocol.header import proxy_header
from tests.support.balancer import PATIENCE
from tests.support.servers import serving
from tests.support.splicing import Owner, connected_sockets, running_splicer
from tests.support.tls_peers import client_context, server_context, tls_server

NAME = "parent.example.org"
ASKED = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nVia: 1.1 trio-lb-0badcafe\r\n\r\n"
PASSED = b"HTTP/1.1 200 Connection established\r\n\r\n"
CLIENT, FRONT = Client("192.0.2.7", 5555), Client("198.51.100.1", 3128)


@attrs.define
class FakeClient:
    authority: str = "example.com:443"
    via: bytes = b""
    client: Client = CLIENT
    destination: Client = FRONT
    tlvs: bytes = b""


class Asked:
    """The connector of one attempt, which joins the client to the parent at its end. ``client`` is the client's end."""

    def __init__(self, bench, handshake, accepted, client):
        self.bench = bench
        self.owner = client
        self.backend = SimpleNamespace(spec=SimpleNamespace(name="p", address=Address.parse(f"{NAME}:3128")))
        self.speaks_for_others = False
        self.error = None
        self.passed = False
        self.relay_owner = Owner()
        self._handshake = handshake
        self._accepted = accepted
        self.ended = trio.Event()
        self._running = None

    def connected(self, server):
        self._handshake.begin(self, server)

    def connect_failed(self, error):
        raise AssertionError(error)

    def handshake(self, server, handshake):
        self._running = self.bench.splicer.handshake(server, handshake)

    def handshake_failed(self, error):
        assert not self.ended.is_set()
        self.error = error
        self._running.cancel()
        self.ended.set()

    def failed(self):
        raise AssertionError("a bug")

    def ready(self, server, tls=None):
        assert not self.ended.is_set()
        self.passed = True
        for level, option in TCP_OPTIONS:
            server.setsockopt(level, option, 1)
        idle, half_close = (self.bench.deadlines.queue(kind, math.inf) for kind in ("idle", "half_close"))
        self.relay_owner.relay = self.bench.splicer.relay(
            self._accepted, server, self.relay_owner, idle=idle, half_close=half_close, first_byte=None, server_tls=tls
        )
        self.ended.set()


@asynccontextmanager
async def asking(script, *, tls=False, client=None, login=b"", before=None):
    """Ask a parent that behaves as ``script(stream)``. Yield the attempt, and the client's stream, at its end."""
    handler = tls_server(script, server_context(NAME)) if tls else script
    if tls:
        before = StartTls(PoolTlsSpec(), client_context(), None)
    handshake = ParentHandshake(b"trio-lb-0badcafe", login, before)
    async with running_splicer() as bench, serving(handler) as parent:
        with connected_sockets() as (accepted, outer):
            attempt = Asked(bench, handshake, accepted, client or FakeClient())
            host, port = parent.address.rsplit(":", 1)
            bench.splicer.connect((socket.AF_INET, (host, int(port))), attempt)
            with trio.fail_after(PATIENCE):
                await attempt.ended.wait()
                yield attempt, trio.SocketStream(trio.socket.from_stdlib_socket(outer))
            if attempt.passed and attempt.relay_owner.ended is None:
                attempt.relay_owner.relay.close(reset=True)


async def receive(stream, count):
    received = b""
    while len(received) < count:
        piece = await stream.receive_some()
        assert piece, received
        received += piece
    return received


def answering(*pieces, wait=trio.lowlevel.checkpoint, asked=ASKED, then=None):
    """Return a script that reads the request and sends these pieces, then echoes."""

    async def script(stream):
        assert await receive(stream, len(asked)) == asked
        for piece in pieces:
            await stream.send_all(piece)
            await wait()
        if then is not None:
            await then(stream)
            return
        while data := await stream.receive_some():
            await stream.send_all(data)

    return script


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request):
    return request.param


async def test_bytes_flow_once_the_parent_has_agreed(tls):
    async with asking(answering(PASSED), tls=tls) as (attempt, client):
        assert attempt.passed
        assert attempt.speaks_for_others
        await client.send_all(b"hello")
        assert await receive(client, 5) == b"hello"


@pytest.mark.parametrize(
    "head", [PASSED, b"HTTP/1.0 200\r\n\r\n", b"HTTP/1.1 299 x\r\nContent-Length: 9\r\nA: b\r\n\r\n"]
)
async def test_bytes_behind_the_answer_reach_the_client(tls, head):
    async with asking(answering(head + b"early"), tls=tls) as (_, client):
        assert await receive(client, 5) == b"early"
        await client.send_all(b"hello")
        assert await receive(client, 5) == b"hello"


async def test_many_bytes_behind_the_answer_reach_the_client(tls):
    many = bytes(range(256)) * 400
    async with asking(answering(PASSED + many), tls=tls) as (_, client):
        assert await receive(client, len(many)) == many


async def test_an_end_behind_the_answer_reaches_the_client(tls):
    async def end(stream):
        await (stream.finish() if tls else stream.send_eof())
        await stream.receive_some()

    async with asking(answering(PASSED + b"all", then=end), tls=tls) as (_, client):
        assert await receive(client, 3) == b"all"
        assert await client.receive_some() == b""


async def test_an_answer_may_come_byte_by_byte(tls):
    pieces = [bytes([byte]) for byte in b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + PASSED + b"early"]

    async def wait():
        await trio.sleep(0.001)

    async with asking(answering(*pieces, wait=wait), tls=tls) as (_, client):
        assert await receive(client, 5) == b"early"


@pytest.mark.parametrize(
    ("head", "text", "speaks_for_others"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n", "the parent asks for a login", False),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n", "the parent answers 503", True),
        (b"HTTP/1.0 403 Forbidden\r\n", "the parent answers 403", True),
        (b"HTTP/1.1 101 Switching Protocols\r\n", "the parent answers 101", True),
        (b"HTTP/1.1 301 Moved\r\nLocation: x\r\n", "the parent answers 301", True),
    ],
)
async def test_a_refusal_is_told(tls, head, text, speaks_for_others):
    async with asking(answering(head + b"\r\nbody"), tls=tls) as (attempt, _):
        assert str(attempt.error) == text
        assert attempt.speaks_for_others == speaks_for_others


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * LONGEST_ANSWER, "the head is too long"),
        (b"HTTP/1.1 200 OK\n\n", "a line does not end with CRLF"),
        (b"\x05\0 this is SOCKS", "the first line does not begin with a token"),
        (b"220 ftp.example.org ready\r\n\r\n", "the status line is not of HTTP/1.1 or HTTP/1.0"),
        (b"HTTP/2 200\r\n\r\n", "the status line is not of HTTP/1.1 or HTTP/1.0"),
    ],
)
async def test_what_is_no_answer_is_malformed(tls, answer, text):
    async with asking(answering(answer), tls=tls) as (attempt, _):
        assert str(attempt.error) == f"the parent's answer is malformed: {text}"


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
async def test_a_parent_that_closes_before_its_answer_is_a_failure(tls, sent):
    async def end(stream):
        if tls:
            await stream.finish(fin=True)

    async with asking(answering(sent, then=end), tls=tls) as (attempt, _):
        assert str(attempt.error) == "the parent closed the connection before its answer"


async def test_endless_interim_responses_are_a_refusal(tls):
    async with asking(answering(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 100), tls=tls) as (attempt, _):
        assert str(attempt.error) == "the parent answers 100"


async def test_a_login_and_the_proxies_before_are_told(tls):
    login = login_line("mary", "pass:wörd")
    asked = (
        b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\nVia: 1.0 fred, 1.1 trio-lb-0badcafe\r\n"
        b"Proxy-Authorization: Basic bWFyeTpwYXNzOnfDtnJk\r\n\r\n"
    )
    client = FakeClient("[2001:db8::1]:8443", b"1.0 fred")
    async with asking(answering(PASSED, asked=asked), tls=tls, client=client, login=login) as (attempt, _):
        assert attempt.passed


async def test_a_proxy_header_comes_first():
    asked = proxy_header("v1", CLIENT, FRONT) + ASKED
    async with asking(answering(PASSED + b"early", asked=asked), before=SendProxy("v1")) as (_, client):
        assert await receive(client, 5) == b"early"


async def test_a_parent_whose_certificate_is_not_trusted_is_not_asked():
    async def never(stream):
        raise AssertionError("asked")

    before = StartTls(PoolTlsSpec(), ssl.create_default_context(), None)
    async with asking(tls_server(never, server_context(NAME)), before=before) as (attempt, _):
        assert isinstance(attempt.error, ssl.SSLCertVerificationError)
        assert not attempt.speaks_for_others
