"""Other protocols over a connection of HTTP/1.1: only what both sides agreed on."""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, read_all
from tests.support.http_attacks import HOST, request
from tests.support.http_client import client, scripted
from tests.support.http_peers import lb_config
from tests.support.servers import serving

pytestmark = pytest.mark.slow

AGREED = HOST + b"Connection: Upgrade\r\nUpgrade: echo\r\n"
UPGRADE = request(fields=HOST + b"Connection: Upgrade\r\nUpgrade: echo, h2c\r\n")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Echo: 1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def read_head(stream):
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive_some()
    head, _, rest = received.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


@pytest.mark.parametrize("ahead", [b"", b"ahead"])
@pytest.mark.parametrize("greeting", [b"", b"welcome"])
async def test_bytes_pass_once_both_have_agreed_also_those_that_come_at_once(tmp_path, ahead, greeting):
    heads = []

    async def handler(stream):
        head, rest = await read_head(stream)
        heads.append(head)
        await stream.send_all(SWITCH + greeting + rest)
        async for chunk in stream:
            await stream.send_all(chunk)

    async with serving(handler) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        await visitor.send(UPGRADE + ahead)
        with trio.fail_after(PATIENCE):
            head, rest = await read_head(visitor.stream)
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"\r\nUpgrade: echo\r\n" in head
            assert b"\r\nX-Echo: 1\r\n" in head
            await visitor.send(b"GET / HTTP/1.1\r\n\r\n")
            await visitor.stream.send_eof()
            assert rest + await read_all(visitor.stream) == greeting + ahead + b"GET / HTTP/1.1\r\n\r\n"
        record = await lb.event("http.request")
        assert (record["status"], record["reason"]) == (101, "ok")
    (head,) = heads
    assert b"\r\nUpgrade: echo\r\n" in head, "h2c is not offered to the server"
    assert b"\r\nConnection: upgrade\r\n" in head.lower().replace(b"connection", b"Connection")


async def test_a_server_that_does_not_agree_answers_as_ever(tmp_path):
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        for _ in range(2):
            found = await visitor.ask(UPGRADE)
            assert (found.status, found.body) == (200, b"ok")
        assert server.connections == 1


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request(fields=HOST + b"Upgrade: echo\r\n"),
        request(fields=HOST + b"Connection: Upgrade\r\n"),
        request(fields=HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        request(b"GET / HTTP/1.0", HOST + b"Connection: Upgrade\r\nUpgrade: echo\r\n"),
    ],
)
async def test_a_101_that_nobody_asked_for_is_502(tmp_path, asked):
    async def handler(stream):
        head, _ = await read_head(stream)
        assert b"pgrade" not in head
        await stream.send_all(SWITCH + OK)
        async for _ in stream:
            pass

    async with serving(handler) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor:
            found = await visitor.ask(asked)
            assert found.status == 502
        assert (await lb.event("http.request"))["reason"] == "bad_response"
        await server.until(lambda server: server.open == 0)


async def test_a_relay_of_another_protocol_ends_with_either_side_and_has_no_limit_of_a_response(tmp_path):
    async def handler(stream):
        await read_head(stream)
        await stream.send_all(SWITCH)
        await trio.sleep(0.6)
        await stream.send_all(b"bye")

    pool = '[pools.web.http]\nresponse_timeout = "200ms"'
    async with (
        serving(handler) as server,
        balancer(
            tmp_path, lb_config(server, listener='keep_alive = "200ms"\nheader_timeout = "200ms"', pool=pool)
        ) as lb,
        client(lb) as visitor,
    ):
        await visitor.send(UPGRADE)
        with trio.fail_after(PATIENCE):
            await read_head(visitor.stream)
            assert await read_all(visitor.stream) == b"bye"


async def test_the_idle_timeout_of_a_request_with_a_body_ends_with_its_switch(tmp_path):
    async def handler(stream):
        _, body = await read_head(stream)
        while len(body) < 4:
            body += await stream.receive_some()
        await stream.send_all(SWITCH)
        async for chunk in stream:
            await stream.send_all(chunk)

    asked = request(b"POST / HTTP/1.1", AGREED + b"Content-Length: 4\r\n", b"ab")
    listener = 'idle_timeout = "300ms"'
    async with serving(handler) as server, balancer(tmp_path, lb_config(server, listener=listener)) as lb:
        async with client(lb) as visitor:
            await visitor.send(asked, b"cd")
            with trio.fail_after(PATIENCE):
                await read_head(visitor.stream)
                for _ in range(10):
                    await visitor.send(b"x")
                    assert await visitor.stream.receive_some() == b"x"
                    await trio.sleep(0.1)
        assert (await lb.event("http.request"))["reason"] == "ok"


async def test_a_switch_before_the_whole_body_is_502_as_the_rest_of_the_body_is_of_no_other_protocol(tmp_path):
    async def handler(stream):
        await read_head(stream)
        await stream.send_all(SWITCH)
        async for _ in stream:
            pass

    async with serving(handler) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor:
            await visitor.send(request(b"POST / HTTP/1.1", AGREED + b"Content-Length: 4\r\n", b"ab"))
            assert (await visitor.answer()).status == 502
        assert (await lb.event("http.request"))["reason"] == "bad_response"
        await server.until(lambda server: server.open == 0)


async def test_a_relay_to_a_server_that_is_removed_ends_at_its_drain_timeout(tmp_path):
    async def handler(stream):
        await read_head(stream)
        await stream.send_all(SWITCH)
        async for _ in stream:
            pass

    pool = 'drain_timeout = "100ms"'
    async with (
        serving(handler, name="a") as old,
        scripted(OK, name="b") as new,
        balancer(tmp_path, lb_config(old, pool=pool)) as lb,
        client(lb) as visitor,
    ):
        await visitor.send(UPGRADE)
        with trio.fail_after(PATIENCE):
            await read_head(visitor.stream)
            await lb.reload(lb_config(new, pool=pool))
            with pytest.raises(trio.BrokenResourceError):
                await visitor.stream.receive_some()
        await old.until(lambda server: server.open == 0)
        assert (await lb.event("http.request"))["reason"] == "server_down"


async def test_a_relay_of_another_protocol_keeps_the_limit_of_its_connections_bandwidth(tmp_path):
    async def handler(stream):
        await read_head(stream)
        await stream.send_all(SWITCH)
        await stream.receive_some()
        await stream.send_all(bytes(30_000))

    async with (
        serving(handler) as server,
        balancer(tmp_path, lb_config(server, listener='bandwidth = "20KiB"')) as lb,
        client(lb) as visitor,
    ):
        began = trio.current_time()
        await visitor.send(UPGRADE)
        with trio.fail_after(PATIENCE):
            await read_head(visitor.stream)
            await visitor.send(b"go")
            assert len(await read_all(visitor.stream)) == 30_000
        assert trio.current_time() - began > 0.8
