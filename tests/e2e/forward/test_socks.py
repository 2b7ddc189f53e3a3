"""SOCKS 5, 4 and 4a: the negotiation, its refusals, and the tunnels behind it."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer
from tests.support.forwarding import (
    OPEN,
    STAFF,
    forward_config,
    named_balancer,
    proxy_client,
    socks4_request,
    socks_greeting,
    socks_login,
    socks_request,
    write_staff,
)
from tests.support.operating import ADMIN, operated
from tests.support.servers import filled_backlog, refusing, serving

NO_METHOD = b"\5\xff"
NOT_TOLD = (ip_address("0.0.0.0"), 0)
"""The balancer's own address towards the target: clients need not know it."""


def port_of(server):
    return int(server.address.rpartition(":")[2])


@pytest.fixture
def staff(tmp_path):
    """A configuration with a login: ``ann``, ``sesame``."""
    write_staff(tmp_path)
    return forward_config('auth = "staff"', top=STAFF)


@pytest.mark.usefixtures("worker_count")
async def test_a_tunnel_to_an_address(tmp_path, server):
    async with balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.send(socks_greeting(0))
            assert await client.exactly(2) == b"\5\0"
            await client.send(socks_request("127.0.0.1", port_of(server)))
            assert await client.socks_reply() == (0, NOT_TOLD)
            assert await client.talk(b"name") == b"s"
        record = await lb.only_record()
    assert (record["protocol"], record["user"], record["target"]) == ("socks5", None, server.address)
    assert (record["bytes_in"], record["bytes_out"], record["reason"]) == (5, 2, "eof")


async def test_a_tunnel_to_an_ipv6_address(tmp_path):
    async with serving(address=("::1", 0)) as server, balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.send(socks_greeting(0) + socks_request("::1", port_of(server)))
            assert await client.exactly(2) == b"\5\0"
            assert await client.socks_reply() == (0, NOT_TOLD)
            assert await client.talk(b"name") == b"s"
        record = await lb.only_record()
    assert record["target"] == server.address


async def test_a_tunnel_to_a_name(tmp_path, server):
    async with named_balancer(tmp_path, forward_config()) as (lb, names):
        names.has("web.example", "A", "127.0.0.1")
        async with proxy_client(lb) as client:
            assert await client.socks(b"Web.Example.", port_of(server), early=b"name\n") == 0
            assert await client.line() == b"s"
        record = await lb.only_record()
    assert record["target"] == f"web.example:{port_of(server)}"


@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("early", [b"name\n", b"name\n" + b"echo x\n" * 20_000])
async def test_everything_may_come_at_once(tmp_path, staff, server, early):
    async with balancer(tmp_path, staff) as lb:
        async with proxy_client(lb) as client:
            await client.send(
                socks_greeting(0, 2)
                + socks_login(b"ann", b"sesame")
                + socks_request("127.0.0.1", port_of(server))
                + early
            )
            await client.stream.send_eof()
            assert await client.exactly(4) == b"\5\2\1\0"
            assert (await client.socks_reply())[0] == 0
            assert await client.all() == b"s\n" + b"x\n" * early.count(b"echo")
        record = await lb.only_record()
    assert (record["user"], record["bytes_in"], record["reason"]) == ("ann", len(early), "eof")


async def test_everything_may_come_byte_by_byte(tmp_path, staff, server):
    message = (
        socks_greeting(2) + socks_login(b"ann", b"sesame") + socks_request("127.0.0.1", port_of(server)) + b"name\n"
    )
    async with balancer(tmp_path, staff) as lb, proxy_client(lb) as client:
        await client.send(*(bytes((byte,)) for byte in message))
        assert await client.exactly(4) == b"\5\2\1\0"
        assert (await client.socks_reply())[0] == 0
        assert await client.line() == b"s"


@pytest.mark.parametrize(("user", "password"), [(b"ann", b"wrong"), (b"eve", b"sesame"), (b"", b""), (b"a:b", b"c")])
async def test_a_wrong_login_ends_the_connection(tmp_path, staff, server, user, password):
    async with balancer(tmp_path, staff) as lb:
        async with proxy_client(lb) as client:
            request = socks_request("127.0.0.1", port_of(server))
            await client.send(socks_greeting(2) + socks_login(user, password) + request)
            assert await client.exactly(4) == b"\5\2\1\1"
            assert await client.ended()
        record = await lb.only_record()
    assert (record["ended_by"], record["reason"], record["user"]) == ("lb", "auth", user.decode())
    assert record["target"] == ""
    assert server.connections == 0


@pytest.mark.parametrize(
    "message", [socks_greeting(0), socks_greeting(), socks_greeting(1, 3), socks4_request("127.0.0.1", 80)]
)
async def test_who_offers_no_login_is_told_so(tmp_path, staff, message):
    async with balancer(tmp_path, staff) as lb:
        async with proxy_client(lb) as client:
            await client.send(message)
            assert await client.all() == (NO_METHOD if message[0] == 5 else b"\0\x5b" + bytes(6))
        record = await lb.only_record()
    assert (record["ended_by"], record["reason"], record["user"]) == ("lb", "auth", None)


async def test_without_auth_nobody_is_asked_for_a_login(tmp_path):
    async with balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.send(socks_greeting(2))
            assert await client.all() == NO_METHOD
        record = await lb.only_record()
    assert record["reason"] == "bad_request"


async def test_a_refusal_is_sent_once_however_much_the_client_sends(tmp_path):
    text = forward_config(top=ADMIN)
    async with operated(tmp_path, text) as (lb, operator):
        async with proxy_client(lb) as client, trio.open_nursery() as nursery:

            async def pour():
                with suppress(trio.BrokenResourceError):
                    await client.stream.send_all(socks_greeting(2) + bytes(8_000_000))
                    await client.stream.send_eof()

            nursery.start_soon(pour)
            assert await client.all() == NO_METHOD
        await lb.event("connection.closed")
        refused = 'lb_forward_total{listener="web",protocol="socks5",result="bad_request"}'
        assert (await operator.metrics())[refused] == 1


@pytest.mark.parametrize("command", [2, 3, 0, 255])
async def test_connect_is_the_only_command(tmp_path, command):
    """2 is BIND, 3 UDP ASSOCIATE."""
    async with balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.send(socks_greeting(0) + socks_request("127.0.0.1", 80, command))
            assert await client.exactly(2) == b"\5\0"
            assert (await client.socks_reply())[0] == 7
            assert await client.ended()
        record = await lb.only_record()
    assert (record["reason"], record["protocol"]) == ("bad_request", "socks5")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\5\1\0\2", 8),
        (b"\5\1\0\3\0\0\x50", 1),
        (socks_request(b"a b", 80), 1),
        (socks_request("10.0.0.1", 0), 1),
        (b"\4\1\0\1\1\1\1\1\0\x50", 1),
    ],
)
async def test_what_is_no_request_has_a_reply(tmp_path, message, code):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.send(socks_greeting(0) + message + bytes(8))
        assert await client.exactly(2) == b"\5\0"
        assert (await client.socks_reply())[0] == code
        assert await client.ended()


async def test_a_target_that_refuses_has_a_reply(tmp_path):
    async with refusing("r") as server, balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            assert await client.socks("127.0.0.1", port_of(server)) == 5
            assert await client.ended()
        record = await lb.only_record()
    assert (record["reason"], record["ended_by"]) == ("connect_failed", "lb")
    (attempt,) = record["attempts"]
    assert (attempt["server"], attempt["error"]) == (server.address, "connection refused")


@pytest.mark.parametrize(
    "message",
    [b"\5", b"\5\3\0", socks_greeting(0), socks_greeting(0) + b"\5\1\0", b"\4\1", socks4_request(b"x", 80)[:-1]],
)
async def test_a_slow_negotiation_ends_in_time(tmp_path, message):
    async with balancer(tmp_path, forward_config('header_timeout = "300ms"')) as lb:
        async with proxy_client(lb) as client:
            await client.send(message)
            with trio.fail_after(PATIENCE):
                while data := await client.stream.receive_some():
                    assert data == b"\5\0"
        record = await lb.only_record()
    assert (record["ended_by"], record["reason"]) == ("lb", "idle_timeout")


async def test_the_time_for_the_negotiation_does_not_limit_the_tunnel(tmp_path, server):
    async with (
        balancer(tmp_path, forward_config('header_timeout = "400ms"')) as lb,
        proxy_client(lb) as slow,
        proxy_client(lb) as client,
    ):
        assert await client.socks("127.0.0.1", port_of(server)) == 0
        await slow.send(b"\5")  # its time begins now, and ends after that of the other
        with trio.fail_after(PATIENCE):
            assert await slow.stream.receive_some() == b""
        assert await client.talk(b"name") == b"s"


async def test_a_connection_that_says_nothing_is_idle(tmp_path):
    async with balancer(tmp_path, forward_config('keep_alive = "300ms"')) as lb, proxy_client(lb) as client:
        assert await client.ended()


@pytest.mark.parametrize("user", [b"", b"nobody"])
async def test_socks_4_and_4a(tmp_path, server, user):
    async with named_balancer(tmp_path, forward_config()) as (lb, names):
        names.has("web.example", "A", "127.0.0.1")
        for host in ("127.0.0.1", b"web.example"):
            async with proxy_client(lb) as client:
                await client.send(socks4_request(host, port_of(server), user=user) + b"name\n")
                assert await client.socks4_reply() == 90
                assert await client.line() == b"s"
                assert await client.talk(b"echo more") == b"more"
        records = [await lb.event("connection.closed", count=count) for count in (1, 2)]
    assert [(record["protocol"], record["user"]) for record in records] == [("socks4", None)] * 2
    assert {record["target"] for record in records} == {server.address, f"web.example:{port_of(server)}"}


@pytest.mark.parametrize(
    "message",
    [socks4_request("127.0.0.1", 1), socks4_request("127.0.0.1", 80, command=2), socks4_request("0.0.0.0", 80)],
)
async def test_socks_4_has_one_refusal(tmp_path, message):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.send(message)
        assert await client.socks4_reply() == 91
        assert await client.ended()


async def test_protocols_that_are_not_spoken(tmp_path, server):
    text = forward_config(limits=OPEN.replace('["http", "socks5", "socks4"]', '["socks5"]'))
    async with balancer(tmp_path, text) as lb:
        async with proxy_client(lb) as client:
            await client.send(socks4_request("127.0.0.1", port_of(server)))
            assert await client.socks4_reply() == 91
            assert await client.ended()
        async with proxy_client(lb) as client:
            refused = await client.get(f"http://{server.address}/")
            assert refused.status == 400
            assert await client.ended()
        text = forward_config(limits=OPEN.replace('["http", "socks5", "socks4"]', '["http"]'))
        assert (await lb.reload(text))["event"] == "config.applied"
        async with proxy_client(lb) as client:
            await client.send(socks_greeting(0))
            assert await client.all() == NO_METHOD
    assert server.connections == 0


async def test_a_client_that_leaves_during_its_connect_leaves_nothing_behind(tmp_path):
    text = forward_config('connect_timeout = "1m"')
    async with filled_backlog("silent") as server, balancer(tmp_path, text) as lb:
        async with proxy_client(lb) as client:
            await client.send(socks_greeting(0) + socks_request("127.0.0.1", port_of(server)))
            assert await client.exactly(2) == b"\5\0"
        record = await lb.event("connection.closed")
        assert (record["ended_by"], record["target"]) == ("client", server.address)
        assert await lb.stop() == 0
