"""Limits of requests: time and size of heads and bodies, idle connections, servers that do not answer."""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import balancer
from tests.support.http_attacks import CHUNKED, HOST, post, request
from tests.support.http_client import Ended, client, scripted, until_ended
from tests.support.http_peers import lb_config
from tests.support.servers import serving

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = request()


@pytest.mark.parametrize("part", [b"G", b"GET / HTTP/1.1\r\nHost: a.example\r\n", b"\r\nGET / HT"])
@pytest.mark.parametrize("first", [b"", GET])
async def test_a_head_that_does_not_come_in_time_gets_408(tmp_path, part, first):
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, listener='header_timeout = "300ms"')) as lb,
        client(lb) as visitor,
    ):
        if first:
            assert (await visitor.ask(first)).body == b"ok"
        began = trio.current_time()
        await visitor.send(part)
        found = await visitor.answer()
        assert (found.status, found[b"connection"]) == (408, b"close")
        assert trio.current_time() - began >= 0.3
        assert await visitor.ended()
        record = await lb.event("http.request", count=1 + bool(first))
        assert (record["reason"], record["status"]) == ("timeout", 408)


async def test_a_head_that_comes_byte_by_byte_has_no_more_time_than_another(tmp_path):
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, listener='header_timeout = "300ms"')) as lb,
        client(lb) as visitor,
    ):
        began = trio.current_time()
        with trio.move_on_after(2):
            while True:
                try:
                    await visitor.send(b"a")
                except trio.BrokenResourceError:
                    break
                if trio.current_time() - began > 1:
                    break
                await trio.sleep(0.02)
        assert (await visitor.answer()).status == 408
        assert server.connections == 0


async def test_a_connection_that_says_nothing_is_closed_without_a_word(tmp_path):
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, listener='keep_alive = "300ms"\nheader_timeout = "100ms"')) as lb,
        client(lb) as fresh,
        client(lb) as used,
    ):
        began = trio.current_time()
        assert (await used.ask(GET)).body == b"ok"
        assert await used.ended()
        assert trio.current_time() - began >= 0.3
        assert await fresh.ended()
        await lb.event("http.request")
        assert len(lb.of("http.request")) == 1


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 2000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 500 + b"\r\n", 431),
        (b"GET /" + b"a" * 100_000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000, 431),
    ],
)
@pytest.mark.parametrize("step", [100, 1_000_000])
async def test_a_head_that_is_too_long_is_refused_and_the_client_learns_it_while_it_still_sends(
    tmp_path, asked, status, step
):
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, listener='max_header = "1KiB"')) as lb,
        client(lb) as visitor,
        trio.open_nursery() as nursery,
    ):

        async def send():
            for at in range(0, len(asked), step):
                await visitor.stream.send_all(asked[at : at + step])

        nursery.start_soon(send)
        found = await visitor.answer()
        assert (found.status, found[b"connection"]) == (status, b"close")
        assert (await lb.event("http.request"))["reason"] == "too_large"
        assert server.connections == 0


async def test_a_head_of_the_longest_length_is_served(tmp_path):
    asked = b"GET / HTTP/1.1\r\n" + HOST + b"X: "
    asked += b"a" * (1024 - len(asked) - 4) + b"\r\n\r\n"
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, listener='max_header = "1KiB"')) as lb,
        client(lb) as visitor,
    ):
        assert (await visitor.ask(asked)).status == 200
        assert (await visitor.ask(asked[:-4] + b"a\r\n\r\n")).status == 431


@pytest.mark.parametrize(
    "asked",
    [
        post(b"Content-Length: 1025\r\n"),
        post(b"Content-Length: 1025\r\nExpect: 100-continue\r\n"),
        post(CHUNKED, b"401\r\n"),
        post(CHUNKED, b"5\r\nhello\r\n3fc\r\n"),
        post(CHUNKED, b"80\r\n" + bytes(128) + b"\r\n") + (b"80\r\n" + bytes(128) + b"\r\n") * 7 + b"1\r\n",
        post(CHUNKED, b"fffffffffffffff\r\n"),
    ],
)
@pytest.mark.parametrize("step", [100, 10_000])
async def test_a_body_that_is_too_large_is_refused_before_it_is_sent(tmp_path, asked, step):
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server, listener='max_body = "1KiB"')) as lb:
        async with client(lb) as visitor:
            await visitor.send(*(asked[at : at + step] for at in range(0, len(asked), step)))
            found = await visitor.answer()
            assert (found.status, found.interim) == (413, [])
        assert (await lb.event("http.request"))["reason"] == "too_large"
        assert not server.requests


async def test_a_body_of_the_largest_size_is_served(tmp_path):
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, listener='max_body = "1KiB"')) as lb,
        client(lb) as visitor,
    ):
        body, half = bytes(1024), b"200\r\n" + bytes(512) + b"\r\n"
        assert (await visitor.ask(post(b"Content-Length: 1024\r\n", body))).status == 200
        assert (await visitor.ask(post(CHUNKED, half + half + b"0\r\n\r\n"))).status == 200
        assert [seen.body for seen in server.requests] == [body] * 2


async def test_a_body_that_stands_still_gets_408(tmp_path):
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, listener='idle_timeout = "300ms"')) as lb,
        client(lb) as visitor,
    ):
        await visitor.send(post(b"Content-Length: 10\r\n", b"01234"))
        found = await visitor.answer()
        assert (found.status, found[b"connection"]) == (408, b"close")
        assert (await lb.event("http.request"))["reason"] == "timeout"
        await server.until(lambda server: server.open == 0)


async def test_a_body_that_is_to_be_dropped_and_does_not_come_holds_no_connection(tmp_path):
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, listener='keep_alive = "300ms"\nmax_body = "1KiB"')) as lb,
        client(lb) as visitor,
    ):
        assert (await visitor.ask(post(b"Content-Length: 2000\r\n"))).status == 413
        assert await visitor.ended()
        assert server.connections == 0


async def test_a_response_that_stands_still_does_not_look_complete(tmp_path):
    async def answer(stream, _request):
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await trio.sleep_forever()

    async with (
        scripted(answer) as server,
        balancer(tmp_path, lb_config(server, listener='idle_timeout = "300ms"')) as lb,
        client(lb) as visitor,
    ):
        await visitor.send(GET)
        with pytest.raises(Ended):
            await visitor.answer()
        assert (await lb.event("http.request"))["reason"] == "timeout"


async def test_a_server_that_thinks_is_not_idle(tmp_path):
    async def answer(stream, _request):
        await trio.sleep(0.8)
        await stream.send_all(OK)

    async with (
        scripted(answer) as server,
        balancer(tmp_path, lb_config(server, listener='idle_timeout = "200ms"\nkeep_alive = "200ms"')) as lb,
        client(lb) as visitor,
    ):
        assert (await visitor.ask(GET)).body == b"ok"
        assert (await visitor.ask(post(b"Content-Length: 2\r\n", b"hi"))).body == b"ok"


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\nX:"])
async def test_a_server_that_does_not_answer_in_time_is_504(tmp_path, first):
    async def answer(stream, _request):
        await stream.send_all(first)
        await until_ended(stream)

    pool = '[pools.web.http]\nresponse_timeout = "300ms"'
    async with (
        scripted(answer) as server,
        balancer(tmp_path, lb_config(server, pool=pool)) as lb,
        client(lb) as visitor,
    ):
        began = trio.current_time()
        found = await visitor.ask(GET)
        assert found.status == 504
        assert trio.current_time() - began >= 0.3
        assert (await lb.event("http.request"))["reason"] == "timeout"
        await server.until(lambda server: server.open == 0)


async def test_a_long_body_has_all_the_time_it_needs_before_the_response_is_due(tmp_path):
    pool = '[pools.web.http]\nresponse_timeout = "300ms"'
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server, pool=pool)) as lb, client(lb) as visitor:
        await visitor.send(post(b"Content-Length: 10\r\n"))
        for _ in range(10):
            await trio.sleep(0.06)
            await visitor.send(b"a")
        assert (await visitor.answer()).status == 200


async def test_a_head_of_a_response_that_is_too_long_is_502(tmp_path):
    async def answer(stream, _request):
        await stream.send_all(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2000 + b"\r\n\r\n")

    async with (
        scripted(answer) as server,
        balancer(tmp_path, lb_config(server, listener='max_header = "1KiB"')) as lb,
        client(lb) as visitor,
    ):
        assert (await visitor.ask(GET)).status == 502
        assert (await lb.event("http.request"))["reason"] == "bad_response"


async def test_a_server_that_reads_no_body_holds_back_the_client(tmp_path):
    """Memory is bounded: what the client may send is what sockets hold."""

    async def handler(stream):
        await trio.sleep_forever()

    size = 200_000_000
    async with (
        serving(handler) as server,
        balancer(tmp_path, lb_config(server)) as lb,
        client(lb) as visitor,
    ):
        await visitor.send(post(b"Content-Length: %d\r\n" % size))
        sent = 0
        with trio.move_on_after(2):
            while True:
                await visitor.send(bytes(100_000))
                sent += 100_000
    assert sent < 60_000_000


LIMITED = """
idle_timeout = "300ms"
[[listeners.web.routes]]
path = "/"
limit_rate = "20KiB"
"""


@pytest.mark.parametrize("source", ["server", "file"])
async def test_a_response_that_only_its_limit_slows_down_is_not_idle(tmp_path, source):
    async def answer(stream, _request):
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n")
        await trio.sleep(0.05)
        await stream.send_all(bytes(30000))

    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(bytes(30000))
    target = 'pool = "web"' if source == "server" else f'files = "{tmp_path}/www"'
    async with scripted(answer) as server, balancer(tmp_path, lb_config(server, listener=LIMITED + target)) as lb:
        async with client(lb) as visitor:
            assert len((await visitor.ask(request(b"GET /file HTTP/1.1"))).body) == 30000
        assert (await lb.event("http.request"))["duration_ms"] > 1000


async def test_a_response_that_began_before_the_whole_request_came_has_no_response_timeout(tmp_path):
    async def handler(stream):
        received = b""
        while not received.endswith(b"\r\n\r\nab"):
            received += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert await stream.receive_some() == b"cd"
        for _ in range(5):
            await trio.sleep(0.1)
            await stream.send_all(b"!")
        await until_ended(stream)

    pool = '[pools.web.http]\nresponse_timeout = "200ms"'
    async with (
        serving(handler) as server,
        balancer(tmp_path, lb_config(server, pool=pool)) as lb,
        client(lb) as visitor,
    ):
        await visitor.send(post(b"Content-Length: 4\r\n", b"ab"))
        await server.until(lambda server: server.connections == 1)
        await trio.sleep(0.1)
        await visitor.send(b"cd")
        assert (await visitor.answer()).body == b"hello!!!!!"


async def test_interim_responses_without_end_are_502(tmp_path):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with scripted(hints * 10 + OK, hints * 20_000 + OK) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor:
            found = await visitor.ask(GET)
            assert (found.status, found.interim) == (200, [103] * 10)
            assert (await visitor.ask(GET)).status == 502
        assert (await lb.event("http.request", count=2))["reason"] == "bad_response"


@pytest.mark.parametrize("asked", [GET, post(b"Content-Length: 3000\r\n", bytes(3000))], ids=["response", "request"])
async def test_bodies_that_come_at_once_come_under_the_limit_of_the_bandwidth_too(tmp_path, asked):
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + bytes(3000)
    async with (
        scripted(response if asked is GET else OK) as server,
        balancer(tmp_path, lb_config(server, listener='bandwidth = "20KiB"')) as lb,
        client(lb) as visitor,
    ):
        began = trio.current_time()
        for _ in range(10):
            assert (await visitor.ask(asked)).status == 200
        assert trio.current_time() - began > 0.8
