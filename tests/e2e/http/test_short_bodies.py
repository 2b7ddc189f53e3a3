"""Bodies that end too early, on either side: nobody may take what came for the whole."""

from __future__ import annotations

from contextlib import suppress

import h11
import pytest
import trio

from tests.support.balancer import balancer
from tests.support.http_attacks import CHUNKED, post, request
from tests.support.http_client import Ended, client, scripted
from tests.support.http_peers import lb_config
from tests.support.servers import reset_at_close, serving

pytestmark = pytest.mark.slow

GET = request()
CUT = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "a large length": b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + bytes(1_000_000),
    "a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
    "between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
}


@pytest.mark.parametrize("what", CUT)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("end", ["orderly", "reset"])
async def test_a_response_that_is_cut_does_not_look_complete(tmp_path, what, version, end):
    async def answer(stream, _request):
        await stream.send_all(CUT[what])
        if end == "reset":
            await trio.sleep(0.05)
            reset_at_close(stream)
        return False

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor:
            await visitor.send(request(b"GET / HTTP/" + version))
            with pytest.raises((Ended, h11.RemoteProtocolError)):
                await visitor.answer()
        record = await lb.event("http.request")
        assert (record["reason"], record["status"]) == ("server_reset", 200)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_a_server_that_ends_before_its_head_is_502(tmp_path, head):
    async def answer(stream, _request):
        await stream.send_all(head)
        return False

    pool = "[pools.web.http]\nretry_on = []"
    async with scripted(answer) as server, balancer(tmp_path, lb_config(server, pool=pool)) as lb:
        async with client(lb) as visitor:
            assert (await visitor.ask(GET)).status == 502
        assert (await lb.event("http.request"))["reason"] == "server_reset"


CUT_REQUESTS = [
    post(b"Content-Length: 10\r\n", b"hello"),
    post(b"Content-Length: 10000000\r\n", bytes(100_000)),
    post(CHUNKED, b"a\r\nhello"),
    post(CHUNKED, b"5\r\nhello\r\n0\r\n"),
]


@pytest.mark.parametrize("asked", CUT_REQUESTS)
async def test_a_client_that_ends_within_a_body_is_noticed_even_if_its_end_came_with_the_head(tmp_path, asked):
    async with scripted(b"never") as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor:
            await visitor.send(asked)
            await visitor.stream.send_eof()
            assert await visitor.stream.receive_some() == b""
        assert (await lb.event("http.request"))["reason"] == "client_left"
        assert not server.requests


@pytest.mark.parametrize("asked", CUT_REQUESTS)
async def test_a_request_that_is_cut_reaches_no_server_as_a_whole(tmp_path, asked):
    ends = []

    async def handler(stream):
        received = b""
        try:
            async for chunk in stream:
                received += chunk
        except trio.BrokenResourceError:
            ends.append("reset")
        else:
            ends.append("orderly")

    async with serving(handler) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor:
            await visitor.send(asked)
            await server.until(lambda server: server.connections == 1)
        record = await lb.event("http.request")
        assert (record["reason"], record["status"]) == ("client_left", None)
        await server.until(lambda server: server.open == 0)
    assert len(ends) == 1


async def test_a_server_that_answers_and_closes_while_the_body_still_comes(tmp_path):
    async def handler(stream):
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        await stream.send_eof()
        await trio.sleep(0.1)

    async with serving(handler) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor, trio.open_nursery() as nursery:

            async def send():
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await visitor.stream.send_all(post(b"Content-Length: 100000000\r\n", bytes(100_000_000)))

            nursery.start_soon(send)
            found = await visitor.answer()
            assert (found.status, found.body) == (413, b"no")
            nursery.cancel_scope.cancel()
        assert (await lb.event("http.request"))["status"] == 413
