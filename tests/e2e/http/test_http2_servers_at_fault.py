"""Servers of HTTP/2 that break the rules on one stream, or end at a bad moment."""

from __future__ import annotations

import signal

import h2.errors
import h11
import pytest
import trio

from tests.e2e.http.test_http2_servers import GET, POOL, balanced, get, say_path
from tests.support.balancer import balancer
from tests.support.http2_client import visiting
from tests.support.http2_origin import http2_origin
from tests.support.http_attacks import post
from tests.support.http_client import Ended, client
from tests.support.http_peers import lb_config
from tests.support.servers import reset_at_close, serving

pytestmark = pytest.mark.slow


async def test_a_trailer_that_is_none_ends_its_stream_only(tmp_path):
    go_on = trio.Event()

    async def answer(asked):
        if asked.path == "/sibling":
            await asked.head()
            await go_on.wait()
            await asked.data(b"whole", end=True)
        else:
            await asked.head()
            await asked.data(b"x")
            await trio.sleep(0.05)
            await asked.peer.send(asked.peer.h2.send_headers, asked.id, [("content-length", "1")], True)

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb, client(lb) as sibling:
        await sibling.send(get("/sibling"))
        await origin.has(1)
        async with client(lb) as visitor:
            await visitor.send(GET)
            with pytest.raises(h11.RemoteProtocolError):
                await visitor.answer()
        assert (await lb.event("http.request"))["reason"] == "bad_response"
        go_on.set()
        assert (await sibling.answer()).body == b"whole"


async def test_another_servers_connection_is_used_for_what_is_tried_again(tmp_path):
    async def ill(asked):
        await asked.answer(status=503)

    async with (
        http2_origin(ill, "a") as first,
        http2_origin(say_path, "b") as other,
        balanced(tmp_path, first, other, pool='strategy = "first"', http='retry_on = ["503"]') as lb,
        client(lb) as visitor,
    ):
        for _ in range(5):
            assert (await visitor.ask(get("/x"))).body == b"/x"
        assert other.connections == 1


@pytest.mark.parametrize("path", ["/short", "/long"])
async def test_a_body_of_another_length_than_said_does_not_look_complete(tmp_path, path):
    async def answer(asked):
        await asked.head(200, ("content-length", "10" if asked.path == "/short" else "2"))
        await asked.peer.send_raw(b"\0\0\5\0\1" + asked.id.to_bytes(4) + b"wrong")

    async with (
        http2_origin(answer) as origin,
        balancer(tmp_path, lb_config(origin, pool=POOL, listener="h2c = true")) as lb,
    ):
        async with client(lb) as visitor:
            await visitor.send(get(path))
            with pytest.raises((Ended, h11.RemoteProtocolError)):
                await visitor.answer()
        async with visiting(lb.port) as visitor:
            found = await visitor.ask(path)
            assert (found.ended, found.reset) == (False, h2.errors.ErrorCodes.INTERNAL_ERROR)
        records = [await lb.event("http.request", count=count) for count in (1, 2)]
        assert [record["reason"] for record in records] == ["bad_response"] * 2


async def test_a_server_that_answers_and_ends_while_it_gets_a_body_has_answered(tmp_path):
    """Its answer lies in the socket, and what it gets cannot be sent."""
    go_on = trio.Event()

    async def handler(stream):
        settings = b"\0\0\6\4\0\0\0\0\0\0\4\x7f\xff\xff\xff"
        await stream.send_all(settings + b"\0\0\4\x08\0\0\0\0\0\x7f\0\0\0")
        await stream.receive_some(100)
        await go_on.wait()
        lb.signal(signal.SIGSTOP)  # so it sees the answer and the end together
        await stream.send_all(b"\0\0\1\1\5\0\0\0\1\x8d")  # 404, and the end
        reset_at_close(stream)
        await stream.aclose()
        lb.signal(signal.SIGCONT)

    async with serving(handler) as origin, balanced(tmp_path, origin) as lb, client(lb) as visitor:
        with trio.move_on_after(1):
            await visitor.send(post(b"Content-Length: 90000000\r\n", bytes(90_000_000)))
        go_on.set()
        assert (await visitor.answer("POST")).status == 404


async def test_a_connection_that_ends_within_a_body_is_no_bug(tmp_path):
    async def answer(asked):
        await asked.head()
        await asked.data(b"some")
        await asked.peer.stream.aclose()

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb, client(lb) as visitor:
        await visitor.send(GET)
        with pytest.raises(h11.RemoteProtocolError):
            await visitor.answer()
        assert (await lb.event("http.request"))["reason"] == "server_reset"
        assert lb.of("fault") == []


async def test_trailers_count_against_max_header(tmp_path):
    async def answer(asked):
        await asked.answer(b"x", trailers=[("x-long", "a" * 3000)])

    config = {"pool": POOL, "listener": 'max_header = "2KiB"'}
    async with (
        http2_origin(answer) as origin,
        balancer(tmp_path, lb_config(origin, **config)) as lb,
        client(lb) as visitor,
    ):
        await visitor.send(GET)
        with pytest.raises(h11.RemoteProtocolError):
            await visitor.answer()
        assert (await lb.event("http.request"))["reason"] == "bad_response"
