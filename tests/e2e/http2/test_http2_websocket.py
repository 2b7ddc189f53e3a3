"""WebSocket over HTTP/2 (RFC 8441), to servers that speak HTTP/1.1."""

from __future__ import annotations

import base64

import h2.settings
import pytest
import trio

from tests.support.balancer import PATIENCE
from tests.support.http2_client import H2C, visited
from tests.support.http_client import scripted
from tests.support.http_origin import content, http_origin
from tests.support.servers import serving

pytestmark = pytest.mark.slow

SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Mine: 1\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n"
)
CANCEL = 8


def asks(protocol="websocket", path="/chat"):
    return [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "http"),
        (":path", path),
        (":authority", "lb.example"),
        ("sec-websocket-version", "13"),
    ]


class Echo:
    """A server that agrees, and sends back what comes. ``heads`` are what it got."""

    def __init__(self, greeting=b""):
        self.heads = []
        self.greeting = greeting
        self.ended = trio.Event()

    async def serve(self, stream):
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        self.heads.append(head)
        await stream.send_all(SWITCH + self.greeting)
        async for data in stream:
            await stream.send_all(data)
        self.ended.set()


async def test_bytes_pass_in_both_directions_until_each_side_ends(tmp_path):
    echo = Echo(b"welcome")
    async with serving(echo.serve) as server, visited(tmp_path, server) as (lb, visitor):
        await visitor.until(lambda: visitor.h2.remote_settings.enable_connect_protocol)
        stream_id = await visitor.send(pseudo=asks(), ends=False)
        answer = visitor.answers[stream_id]
        await visitor.until(lambda: bytes(answer.body) == b"welcome")
        assert (answer.status, answer[b"x-mine"]) == (200, b"1")
        assert b"sec-websocket-accept" not in answer
        for count in (1, 3, 100_000, 2_000_000):
            del answer.body[:]
            await visitor.send_body(stream_id, content(count), ends=False)
            await visitor.until(lambda count=count: len(answer.body) == count)
            assert bytes(answer.body) == content(count)
        visitor.h2.end_stream(stream_id)
        await visitor.flush()
        assert (await visitor.answer(stream_id)).ended
        record = await lb.event("http.request")
        assert (record["method"], record["status"], record["version"], record["reason"]) == ("GET", 200, "2", "ok")
        assert record["bytes_in"] == 2_100_004
        assert record["bytes_out"] == 2_100_011
    (head,) = echo.heads
    assert head.startswith(b"GET /chat HTTP/1.1\r\nHost: lb.example\r\n")
    fields = dict(line.split(b": ") for line in head.split(b"\r\n")[1:-2])
    assert fields[b"Connection"].lower() == b"upgrade"
    assert (fields[b"Upgrade"], fields[b"sec-websocket-version"]) == (b"websocket", b"13")
    assert len(base64.b64decode(fields[b"Sec-WebSocket-Key"])) == 16


async def test_a_client_that_resets_its_stream_ends_the_server_too(tmp_path):
    echo = Echo()
    async with serving(echo.serve) as server, visited(tmp_path, server) as (lb, visitor):
        stream_id = await visitor.send(pseudo=asks(), ends=False)
        await visitor.until(lambda: visitor.answers[stream_id].headers)
        visitor.h2.reset_stream(stream_id, CANCEL)
        await visitor.flush()
        record = await lb.event("http.request")
        assert record["reason"] == "client_left"
        assert (await visitor.ask("/a/../../b")).status == 400, "the connection goes on"


async def test_a_server_that_ends_ends_the_stream(tmp_path):
    async def handler(stream):
        await stream.receive_some()
        await stream.send_all(SWITCH + b"bye")

    async with serving(handler) as server, visited(tmp_path, server) as (lb, visitor):
        stream_id = await visitor.send(pseudo=asks(), ends=False)
        answer = visitor.answers[stream_id]
        await visitor.until(lambda: answer.ended)
        assert (answer.status, bytes(answer.body)) == (200, b"bye")
        visitor.h2.end_stream(stream_id)
        await visitor.flush()
        assert (await lb.event("http.request"))["reason"] == "ok"


async def test_an_idle_tunnel_ends(tmp_path):
    echo = Echo()
    listener = f'{H2C}\nidle_timeout = "200ms"'
    async with serving(echo.serve) as server, visited(tmp_path, server, listener=listener) as (lb, visitor):
        stream_id = await visitor.send(pseudo=asks(), ends=False)
        assert (await visitor.answer(stream_id)).reset == CANCEL
        with trio.fail_after(PATIENCE):
            assert (await lb.event("http.request"))["reason"] == "timeout"


@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden"])
async def test_a_server_that_does_not_agree_never_looks_as_if_it_had(tmp_path, status):
    response = b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\nok" % status
    async with scripted(response) as server, visited(tmp_path, server) as (_lb, visitor):
        stream_id = await visitor.send(pseudo=asks(), ends=False)
        answer = await visitor.answer(stream_id)
        assert answer.status == (502 if status.startswith(b"200") else 403)


async def test_neither_files_nor_texts_agree_and_other_protocols_are_not_known(tmp_path):
    listener = f'{H2C}\nroutes = [{{ path = "/text", respond = "x" }}]'
    async with http_origin() as a, visited(tmp_path, a, listener=listener) as (_lb, visitor):
        for head in (asks(path="/text"), asks(protocol="connect-udp")):
            stream_id = await visitor.send(pseudo=head, ends=False)
            assert (await visitor.answer(stream_id)).status == 501
    assert h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL in visitor.h2.remote_settings
