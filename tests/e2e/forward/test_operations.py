"""What operators do while clients have tunnels: reload, drain, stop, upgrade; TLS, limits and other keys."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from tests.support.balancer import balancer, connect, expect_reset, read_all
from tests.support.forwarding import (
    BASIC,
    OPEN,
    STAFF,
    ProxyClient,
    connect_head,
    forward_config,
    get_head,
    named_balancer,
    proxy_client,
    socks_greeting,
    socks_request,
    write_staff,
)
from tests.support.http_origin import content, http_origin
from tests.support.operating import ADMIN, operated
from tests.support.servers import serving
from tests.support.tls_peers import connect_tls, write_certificate

DEBUG = '[log]\nlevel = "debug"'
"""Connections that asked for nothing have records at this level."""
TUNNELS = 20
RELOADS = 50


def port_of(server):
    return int(server.address.rpartition(":")[2])


@asynccontextmanager
async def tunnels(lb, server, count=TUNNELS):
    """Open tunnels, half of them by SOCKS. Each has carried a line. Yield the clients."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy_client(lb)) for _ in range(count)]
        for number, client in enumerate(clients):
            if number % 2:
                await client.connect(server.address)
            else:
                assert await client.socks("127.0.0.1", port_of(server)) == 0
            assert await client.talk(b"name") == b"s"
        yield clients


async def all_live(clients):
    for number, client in enumerate(clients):
        assert await client.talk(b"echo %d" % number) == b"%d" % number


@pytest.mark.usefixtures("worker_count")
async def test_fifty_reloads_lose_no_tunnel(tmp_path, server):
    async with balancer(tmp_path, forward_config()) as lb, tunnels(lb, server) as clients:
        for number in range(RELOADS):
            ports = '"any"' if number % 2 else "[443]"  # what is open goes on though it would not be let in now
            text = forward_config(limits=OPEN.replace('"any"', ports))
            assert (await lb.reload(text))["event"] == "config.applied"
            if number % 10 == 0:
                await all_live(clients)
        await all_live(clients)
        assert not lb.of("connection.closed")


@pytest.mark.usefixtures("worker_count")
async def test_fifty_reloads_lose_no_tunnel_through_a_parent(tmp_path, server):
    def text(retries):
        return forward_config(
            'parents = "up"', tables=f'[pools.up]\nservers = ["{address}"]\nhealth = false\nretries = {retries}\n'
        )

    directory = tmp_path / "parent"
    directory.mkdir()
    async with balancer(directory, forward_config()) as parent:
        address = f"127.0.0.1:{parent.port}"
        async with balancer(tmp_path, text(0)) as lb, tunnels(lb, server) as clients:
            for number in range(RELOADS):
                assert (await lb.reload(text(number % 2)))["event"] == "config.applied"
            await all_live(clients)
            assert not lb.of("connection.closed")


async def test_a_reload_applies_to_the_next_request_and_tunnel(tmp_path, server):
    async with http_origin() as origin, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        assert (await client.get(f"http://{origin.address}/")).status == 200
        assert (await lb.reload(forward_config(limits=f'{OPEN}\ndeny_to = ["127.0.0.0/8"]')))[
            "event"
        ] == "config.applied"
        assert (await client.get(f"http://{origin.address}/")).status == 403
        assert (await client.refused_connect(server.address)).status == 403
        async with proxy_client(lb) as other:
            assert await other.socks("127.0.0.1", port_of(server)) == 2
        assert (await lb.reload(forward_config()))["event"] == "config.applied"
        async with proxy_client(lb) as other:
            await other.connect(server.address)
    assert origin.served.connections == 1  # the kept one was closed, or was never used again


async def test_answers_on_their_way_survive_a_reload(tmp_path):
    async with http_origin() as origin, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.send(get_head(f"http://{origin.address}/wait"))
        await origin.has(1)
        for _ in range(5):
            assert (await lb.reload(forward_config("hide_client = false")))["event"] == "config.applied"
        origin.go_on.set()
        assert (await client.answer()).body == b"a"
        assert (await client.get(f"http://{origin.address}/")).body == b"a"


@pytest.mark.usefixtures("worker_count")
async def test_a_stop_waits_for_tunnels_and_ends_idle_connections(tmp_path, server):
    async with http_origin() as origin, balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as idle, proxy_client(lb) as fresh, tunnels(lb, server, 2) as clients:
            assert (await idle.get(f"http://{origin.address}/")).status == 200
            lb.signal(15)
            await lb.event("listener.stopped")
            assert await idle.ended()
            assert await fresh.ended()
            await all_live(clients)
        assert await lb.exit_code() == 0
    assert {record["reason"] for record in lb.of("connection.closed")} == {"eof"}


async def test_a_stop_cuts_tunnels_when_its_time_is_over(tmp_path, server):
    text = forward_config(top='[process]\nstop_timeout = "300ms"')
    async with balancer(tmp_path, text) as lb, tunnels(lb, server, 2):
        assert await lb.stop() == 0
    assert [record["reason"] for record in lb.of("connection.closed")] == ["stopped"] * 2


async def test_a_stop_cuts_clients_that_wait_for_a_name(tmp_path):
    text = forward_config(top='[process]\nstop_timeout = "200ms"')
    async with named_balancer(tmp_path, text) as (lb, names):
        for kind in ("A", "AAAA"):
            names.is_silent("silent.example", kind)
        async with proxy_client(lb) as tunnel, proxy_client(lb) as request, proxy_client(lb) as socks:
            await tunnel.send(connect_head("silent.example:443"))
            await request.send(get_head("http://silent.example/"))
            await socks.send(socks_greeting(0) + socks_request(b"silent.example", 443))
            assert await socks.exactly(2) == b"\5\0"
            await names.has_been_asked(2)
            with trio.fail_after(4):  # a look-up takes 5 s
                assert await lb.stop() == 0


@pytest.mark.slow
@pytest.mark.usefixtures("real_command", "worker_count")
async def test_an_upgrade_interrupts_no_tunnel(tmp_path, server):
    async with balancer(tmp_path, forward_config()) as lb, tunnels(lb, server) as clients:
        port = lb.port
        assert (await lb.upgrade())["event"] == "upgrade.done"
        await lb.event("server.started", count=2)
        assert lb.port == port
        await all_live(clients)
        async with tunnels(lb, server, 2) as more:
            await all_live(more)
        await all_live(clients)


@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("size", [100, 5_000_000])
async def test_an_https_proxy(tmp_path, size):
    """Clients reach the proxy itself through TLS."""
    tls = "[listeners.web.tls]\n" + write_certificate(tmp_path, "own", "proxy.example")
    body = content(size)

    async def handler(stream):
        async for data in stream:
            await stream.send_all(data)

    async with (
        serving(handler) as server,
        http_origin() as origin,
        balancer(tmp_path, forward_config(tables=tls)) as lb,
    ):
        for begin in (connect_head(server.address), socks_greeting(0) + socks_request("127.0.0.1", port_of(server))):
            end = await connect_tls(lb.port, "proxy.example")
            client = ProxyClient(end)
            await end.send_all(begin + body[:50])
            if begin[0] == 5:
                assert await client.exactly(2) == b"\5\0"
                assert (await client.socks_reply())[0] == 0
            else:
                assert (await client.head()).startswith(b"HTTP/1.1 200 ")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end.send_all, body[50:])
                assert await client.exactly(size) == body
            await end.finish()
            assert await client.all() == b""
            await end.aclose()
        end = await connect_tls(lb.port, "proxy.example")
        client = ProxyClient(end)
        assert (await client.get(f"http://{origin.address}/bytes?n={size}")).body == body
        await end.aclose()
        records = [await lb.event("connection.closed", count=count) for count in (1, 2)]
        assert {(record["reason"], record["bytes_in"], record["bytes_out"]) for record in records} == {
            ("eof", size, size)
        }


async def test_a_proxy_header_names_the_client(tmp_path, server):
    text = forward_config("accept_proxy = true\nhide_client = false", limits=f'{OPEN}\nallow = ["192.0.2.0/24"]')
    header = b"PROXY TCP4 192.0.2.%d 198.51.100.9 5555 443\r\n"
    async with http_origin() as origin, balancer(tmp_path, text) as lb:
        async with proxy_client(lb) as client:
            await client.send(header % 7 + connect_head(server.address) + b"name\n")
            assert (await client.head()).startswith(b"HTTP/1.1 200 ")
            assert await client.line() == b"s"
        record = await lb.event("connection.closed")
        assert (record["client"], record["target"]) == ("192.0.2.7:5555", server.address)
        assert record["peer"].startswith("127.0.0.1:")
        async with proxy_client(lb) as client:
            await client.send(header % 8 + socks_greeting(0) + socks_request("127.0.0.1", port_of(server)))
            assert await client.exactly(2) == b"\5\0"
            assert (await client.socks_reply())[0] == 0
        async with proxy_client(lb) as client:
            await client.send(header % 9)
            answer = await client.get(f"http://{origin.address}/request")
            assert b'"192.0.2.9"' in answer.body


async def test_who_may_not_connect_gets_nothing(tmp_path, server):
    text = forward_config(limits=f'{OPEN}\ndeny = ["127.0.0.1"]', top=DEBUG)
    async with balancer(tmp_path, text) as lb:
        async with await connect(lb.port) as stream:
            assert await read_all(stream) == b""
        record = await lb.event("connection.closed")
    assert record["reason"] == "denied"


@pytest.mark.usefixtures("worker_count")
async def test_tunnels_count_for_the_limit_per_source_until_they_end(tmp_path, server):
    async with balancer(tmp_path, forward_config("max_per_source = 4", top=DEBUG)) as lb:
        for number in (1, 2):
            async with tunnels(lb, server, 4), await connect(lb.port) as stream:
                assert await read_all(stream) == b""
            await lb.event("connection.closed", reason="denied", count=number)
            await lb.event("connection.closed", reason="eof", count=4 * number)


async def test_the_limit_of_connections_counts_tunnels(tmp_path, server):
    async with balancer(tmp_path, forward_config("max_connections = 1")) as lb:
        async with proxy_client(lb) as waiting:
            async with proxy_client(lb) as first:
                ...
            await waiting.connect(server.address)
            assert await waiting.talk(b"name") == b"s"
        assert first is not waiting


@pytest.mark.parametrize("kind", ["connect", "socks", "request"])
async def test_a_limit_of_bandwidth_slows_all_protocols(tmp_path, kind):
    """400 KB at 200 KiB a second: two seconds, less what may pass at once."""
    size = 400_000
    async with (
        http_origin() as origin,
        balancer(tmp_path, forward_config('bandwidth = "200KiB"')) as lb,
        proxy_client(lb) as client,
    ):
        began = trio.current_time()
        if kind == "connect":
            await client.connect(origin.address)
            await client.send(b"GET /bytes?n=%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
        elif kind == "socks":
            assert await client.socks("127.0.0.1", port_of(origin)) == 0
            await client.send(b"GET /bytes?n=%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
        else:
            await client.send(get_head(f"http://{origin.address}/bytes?n={size}"))
        assert len((await client.answer()).body) == size
        assert trio.current_time() - began > 0.8


async def test_live_tunnels_are_shown_and_can_be_ended(tmp_path, server):
    async with operated(tmp_path, forward_config(top=ADMIN)) as (lb, operator):
        async with tunnels(lb, server, 2) as clients:
            shown = (await operator.get("/api/v1/connections", listener="web"))["connections"]
            assert [(each["state"], each["bytes_in"], each["bytes_out"]) for each in shown] == [("open", 5, 2)] * 2
            await operator.post(f"/api/v1/connections/{shown[0]['id']}/close")
            await expect_reset(clients[0].stream)
            await all_live(clients[1:])
            assert (await lb.event("connection.closed"))["ended_by"] == "lb"
        gone = 'lb_connections_active{listener="web"}'
        await operator.until(operator.metrics, lambda metrics: not metrics[gone])


async def test_users_change_with_a_reload_and_open_tunnels_stay(tmp_path, server):
    write_staff(tmp_path)
    text = forward_config('auth = "staff"', top=STAFF)
    async with balancer(tmp_path, text) as lb, proxy_client(lb) as client, proxy_client(lb) as other:
        await client.connect(server.address, BASIC)
        (tmp_path / "staff.htpasswd").write_text("eve:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n")
        assert (await lb.reload(text))["event"] == "config.applied"
        assert (await other.refused_connect(server.address, BASIC)).status == 407
        assert await client.talk(b"name") == b"s"


async def test_without_access_log_requests_have_no_records_and_tunnels_have(tmp_path, server):
    async with http_origin() as origin, balancer(tmp_path, forward_config("access_log = false")) as lb:
        async with proxy_client(lb) as client:
            assert (await client.get(f"http://{origin.address}/")).status == 200
            await client.connect(server.address)
        await lb.event("connection.closed")
        assert await lb.stop() == 0
        assert not lb.of("http.request")
