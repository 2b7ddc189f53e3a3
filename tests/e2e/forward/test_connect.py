"""CONNECT: what becomes of the bytes, the ends and the resets of a tunnel, and of clients that must log in."""

from __future__ import annotations

import ipaddress

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, expect_reset
from tests.support.forwarding import (
    BASIC,
    STAFF,
    connect_head,
    forward_config,
    named_balancer,
    proxy_client,
    write_staff,
)
from tests.support.http_client import Ended
from tests.support.http_origin import content
from tests.support.servers import read_head, reset_at_close, serving

LARGE = 3_000_000


async def test_a_tunnel_carries_bytes_both_ways_and_leaves_one_record(tmp_path, server):
    async with balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            head = await client.connect(server.address)
            assert head == b"HTTP/1.1 200 Connection established\r\n\r\n"
            assert await client.talk(b"name") == b"s"
            assert await client.talk(b"echo hello") == b"hello"
        record = await lb.only_record()
    assert record["target"] == server.address
    assert (record["protocol"], record["user"]) == ("connect", None)
    assert (record["pool"], record["server"]) == ("", None)
    assert (record["bytes_in"], record["bytes_out"]) == (len(b"name\necho hello\n"), len(b"s\nhello\n"))
    assert (record["ended_by"], record["reason"], record["attempts"]) == ("client", "eof", [])
    assert record["connect_ms"] >= 0
    assert not lb.of("http.request")


@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("size", [5, 5000, 200_000])
async def test_bytes_that_a_client_sends_with_its_request_are_not_lost(tmp_path, size):
    received = []

    async def handler(stream):
        received.extend([data async for data in stream])

    body = content(size)
    async with serving(handler) as server, balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.connect(server.address, early=body)
            await client.stream.send_eof()
            assert await client.all() == b""
        record = await lb.only_record()
    assert b"".join(received) == body
    assert (record["bytes_in"], record["reason"]) == (size, "eof")


async def test_a_server_that_speaks_first_is_heard(tmp_path):
    async def handler(stream):
        await stream.send_all(b"220 ready\n")
        await read_head(stream)

    async with serving(handler) as server, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.connect(server.address)
        assert await client.line() == b"220 ready"


async def test_each_side_may_end_before_the_other(tmp_path):
    answer = content(LARGE)

    async def handler(stream):
        received = b"".join([data async for data in stream])
        assert received == b"question"
        await stream.send_all(answer)

    async with serving(handler) as server, balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.connect(server.address, early=b"quest")
            await client.send(b"ion")
            await client.stream.send_eof()
            assert await client.all() == answer
        record = await lb.only_record()
    assert (record["bytes_in"], record["bytes_out"], record["reason"]) == (8, LARGE, "eof")


async def test_the_reset_of_a_server_is_one_for_the_client(tmp_path, server):
    async with balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.connect(server.address)
            await client.send(b"half 10\n")
            await expect_reset(client.stream)
        record = await lb.only_record()
    assert (record["ended_by"], record["reason"]) == ("server", "reset")


async def test_the_reset_of_a_client_is_one_for_the_server(tmp_path):
    was_reset = trio.Event()

    async def handler(stream):
        await stream.send_all(b"hello\n")
        try:
            await stream.receive_some()
        except trio.BrokenResourceError:
            was_reset.set()

    async with serving(handler) as server, balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.connect(server.address)
            assert await client.line() == b"hello"
            reset_at_close(client.stream)
        with trio.fail_after(PATIENCE):
            await was_reset.wait()
        record = await lb.only_record()
    assert (record["ended_by"], record["reason"]) == ("client", "reset")


async def test_an_idle_tunnel_ends(tmp_path, server):
    async with balancer(tmp_path, forward_config('idle_timeout = "300ms"')) as lb:
        async with proxy_client(lb) as client:
            await client.connect(server.address)
            assert await client.all() == b""
        record = await lb.only_record()
    assert (record["ended_by"], record["reason"]) == ("lb", "idle_timeout")


async def test_http_1_0_clients_have_tunnels_too(tmp_path, server):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.connect(server.address, version=b"1.0")
        assert await client.talk(b"name") == b"s"


async def test_the_host_field_does_not_choose_the_target(tmp_path, server):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.send(b"CONNECT %s HTTP/1.1\r\nHost: other.example:1\r\n\r\n" % server.address.encode())
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        assert await client.talk(b"name") == b"s"


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_body_on_connect_is_refused(tmp_path, server, framing):
    """Some proxies would take it for the first bytes of the tunnel."""
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.send(connect_head(server.address, framing) + b"hello")
        answer = await client.answer("CONNECT")
        assert (answer.status, answer[b"connection"]) == (400, b"close")
        assert b"error=http_request_error" in answer[b"proxy-status"]
        assert await client.ended()
        record = await lb.only_record()
    assert (record["reason"], record["target"]) == ("bad_request", server.address)
    assert server.connections == 0


@pytest.mark.parametrize(
    "target", ["example.com", "example.com:0", "a b:1", "user@a.example:1", "[::1%25lo]:1", "/", ""]
)
async def test_what_is_no_target_is_refused(tmp_path, target):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        answer = await client.refused_connect(target)
        assert answer.status == 400
        assert await client.ended()


async def test_requests_come_before_a_tunnel_on_the_same_connection(tmp_path, server):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        assert (await client.ask(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS")).status == 200
        assert (await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).status == 400
        await client.connect(server.address)
        assert await client.talk(b"name") == b"s"


async def test_who_must_log_in_may_do_so_on_the_same_connection(tmp_path, server):
    write_staff(tmp_path)
    async with balancer(tmp_path, forward_config('auth = "staff"', top=STAFF)) as lb:
        async with proxy_client(lb) as client:
            for lines in (b"", b"Proxy-Authorization: Basic YW5uOndyb25n\r\n", b"Proxy-Authorization: Bearer x\r\n"):
                asked = await client.refused_connect(server.address, lines)
                assert asked.status == 407
                assert asked[b"proxy-authenticate"] == b'Basic realm="Staff only", charset="UTF-8"'
                assert asked[b"proxy-status"] == b"trio-lb; error=http_request_denied"
                assert b"connection" not in asked
            assert server.connections == 0
            await client.connect(server.address, BASIC)
            assert await client.talk(b"name") == b"s"
        record = await lb.only_record()
    assert (record["user"], record["reason"]) == ("ann", "eof")


async def test_the_record_of_who_does_not_log_in_says_so(tmp_path, server):
    write_staff(tmp_path)
    async with balancer(tmp_path, forward_config('auth = "staff"', top=STAFF)) as lb:
        async with proxy_client(lb) as client:
            asked = await client.refused_connect(server.address, b"Proxy-Authorization: Basic ZXZlOng=\r\n")
            assert asked.status == 407
        record = await lb.only_record()
    assert (record["reason"], record["user"], record["target"]) == ("auth", "eve", server.address)
    assert (record["ended_by"], record["bytes_out"]) == ("lb", 0)


async def test_the_login_is_looked_at_before_the_target(tmp_path):
    """Who may not use the proxy learns nothing of what it can reach."""
    write_staff(tmp_path)
    text = forward_config('auth = "staff"', top=STAFF, limits="")
    async with balancer(tmp_path, text) as lb, proxy_client(lb) as client:
        assert (await client.refused_connect("10.0.0.1:443")).status == 407
        assert (await client.refused_connect("10.0.0.1:443", BASIC)).status == 403


async def test_a_client_that_leaves_during_the_look_up_leaves_nothing_behind(tmp_path):
    async with named_balancer(tmp_path, forward_config()) as (lb, names):
        names.is_silent("silent.example", "A")
        names.is_silent("silent.example", "AAAA")
        async with proxy_client(lb) as client:
            await client.send(connect_head("silent.example:443"))
            await names.has_been_asked(2)
        record = await lb.event("connection.closed")
        assert (record["ended_by"], record["target"]) == ("client", "silent.example:443")
        assert await lb.stop() == 0


async def test_an_ipv6_target_is_reached(tmp_path):
    async with serving(address=("::1", 0)) as server, balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.connect(server.address)
            assert await client.talk(b"name") == b"s"
        record = await lb.only_record()
    assert record["target"] == server.address


async def test_its_connections_come_from_the_configured_address(tmp_path):
    peers = []

    async def handler(stream):
        peers.append(stream.socket.getpeername()[0])
        await stream.send_all(b"hello\n")

    async with (
        serving(handler) as server,
        balancer(tmp_path, forward_config('source_address = "127.0.0.9"')) as lb,
        proxy_client(lb) as client,
    ):
        await client.connect(server.address)
        assert await client.line() == b"hello"
    assert [ipaddress.ip_address(peer) for peer in peers] == [ipaddress.ip_address("127.0.0.9")]


async def test_a_target_that_refuses_ends_the_connection_with_an_answer(tmp_path):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        answer = await client.refused_connect("127.0.0.1:1")
        assert (answer.status, answer[b"connection"]) == (502, b"close")
        with pytest.raises(Ended):
            await client.answer()


async def test_bytes_behind_a_connect_without_a_login_are_no_requests(tmp_path, server):
    write_staff(tmp_path)
    text = forward_config('auth = "staff"', tables=STAFF)
    async with balancer(tmp_path, text) as lb, proxy_client(lb) as client:
        behind = b"GET http://%s/ HTTP/1.1\r\nHost: a\r\n%s\r\n" % (server.address.encode(), BASIC)
        await client.send(connect_head(server.address) + behind)
        answer = await client.all()
        assert answer.startswith(b"HTTP/1.1 407 ")
        assert answer.count(b"HTTP/1.1 ") == 1
    assert server.connections == 0
