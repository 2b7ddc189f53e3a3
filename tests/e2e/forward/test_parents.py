"""Further proxies in front of the targets, and proxies that lead back to themselves."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager

import pytest
import trio

from tests.support.balancer import PATIENCE, QUICK_CHECKS, balancer, expect_reset
from tests.support.caching import response
from tests.support.forwarding import (
    OPEN,
    connect_head,
    forward_config,
    proxy_client,
    socks_greeting,
    socks_request,
)
from tests.support.http_client import scripted
from tests.support.http_origin import http_origin
from tests.support.servers import filled_backlog, free_port, read_head, refusing, serving
from tests.support.tls_peers import server_context, tls_server, write_authority, write_certificate

PARENTS = 'parents = "up"'
ESTABLISHED = b"HTTP/1.1 200 OK\r\n\r\n"
ASKS_FOR_LOGIN = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
)


def pool(*servers, lines="", tables="", health=None):
    """Return the lines of the pool of parents. ``health=None`` means none."""
    addresses = ", ".join(json.dumps(getattr(server, "address", server)) for server in servers)
    checks = "health = false" if health is None else ""
    return f"[pools.up]\nservers = [{addresses}]\n{lines}\n{checks}\n{tables}\n" + (
        f"[pools.up.health]\n{health}\n" if health else ""
    )


def with_parents(*servers, listener="", limits=OPEN, top="", **options):
    return forward_config(f"{PARENTS}\n{listener}", limits=limits, top=top, tables=pool(*servers, **options))


@asynccontextmanager
async def fake_parent(answer=ESTABLISHED, name="p", address=("127.0.0.1", 0)):
    """Run a parent that answers CONNECT with this, then echoes. ``heads`` has what it was asked."""
    heads = []

    async def handler(stream):
        head = await read_head(stream)
        if head is None:
            return
        heads.append(head)
        await stream.send_all(answer)
        if answer.startswith(b"HTTP/1.1 2"):
            async for data in stream:
                await stream.send_all(data.replace(b"name", name.encode()))

    async with serving(handler, name=name, address=address) as served:
        served.heads = heads
        yield served


@asynccontextmanager
async def real_parent(tmp_path, text=None):
    """Run another balancer, which is a proxy. Yield it and its address."""
    directory = tmp_path / "parent"
    directory.mkdir()
    async with balancer(directory, text or forward_config()) as lb:
        yield lb, f"127.0.0.1:{lb.port}"


def fields_of(head):
    lines = head.split(b"\r\n")[1:-2]
    return {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}


@pytest.mark.usefixtures("worker_count")
async def test_tunnels_and_requests_go_through_a_parent(tmp_path, server):
    async with (
        http_origin() as origin,
        real_parent(tmp_path) as (parent, address),
        balancer(tmp_path, with_parents(address)) as lb,
    ):
        async with proxy_client(lb) as client:
            await client.connect(server.address, early=b"name\n")
            assert await client.line() == b"s"
        async with proxy_client(lb) as client:
            assert await client.socks("127.0.0.1", int(server.address.rpartition(":")[2]), early=b"name\n") == 0
            assert await client.line() == b"s"
        async with proxy_client(lb) as client:
            for _ in range(2):
                seen = json.loads((await client.get(f"http://{origin.address}/request")).body)
        records = [await lb.event("connection.closed", count=count) for count in (1, 2)]
        request = await lb.event("http.request")
        asked = await parent.event("http.request")
        tunnels = [await parent.event("connection.closed", count=count) for count in (1, 2)]
    assert {record["protocol"] for record in records} == {"connect", "socks5"}
    for record in records:
        assert (record["pool"], record["server"], record["target"]) == ("up", address, server.address)
        assert (record["reason"], record["bytes_in"], record["bytes_out"]) == ("eof", 5, 2)
    assert {(record["protocol"], record["target"]) for record in tunnels} == {("connect", server.address)}
    assert (request["pool"], request["server"], request["host"]) == ("up", address, origin.address)
    assert (asked["host"], asked["status"]) == (origin.address, 200)
    via = ", ".join(value for name, value in seen["headers"] if name.lower() == "via").split(", ")
    assert via[0].startswith("1.1 trio-lb-")
    assert via[1] == "1.1 trio-lb"


async def test_what_a_parent_is_asked(tmp_path):
    (tmp_path / "password").write_text("sésame\n")
    login = '[pools.up.proxy]\nuser = "ann"\npassword_file = "password"'
    async with (
        fake_parent() as parent,
        balancer(tmp_path, with_parents(parent, tables=login)) as lb,
        proxy_client(lb) as client,
    ):
        await client.connect(
            "Example.COM:443", b"Via: 1.0 fred\r\nProxy-Authorization: Basic eDp5\r\nUser-Agent: x\r\n"
        )
        assert await client.talk(b"name") == b"p"
    (head,) = parent.heads
    assert head.startswith(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n")
    fields = fields_of(head)
    assert set(fields) == {b"host", b"via", b"proxy-authorization"}
    assert base64.b64decode(fields[b"proxy-authorization"].removeprefix(b"Basic ")).decode() == "ann:sésame"
    assert fields[b"via"].startswith(b"1.0 fred, 1.1 trio-lb-")


async def test_what_a_parent_is_asked_in_requests(tmp_path):
    (tmp_path / "password").write_text("sesame")
    login = '[pools.up.proxy]\nuser = "ann"\npassword_file = "password"'
    async with (
        scripted(response(b"hello")) as parent,
        balancer(tmp_path, with_parents(parent, tables=login)) as lb,
        proxy_client(lb) as client,
    ):
        for _ in range(2):
            answer = await client.get("http://Example.com:80/a?b", b"Proxy-Authorization: Basic eDp5\r\n")
            assert answer.body == b"hello"
        assert (await client.get("http://example.com:8080", method=b"OPTIONS")).status == 200
    request, _, options = parent.requests
    assert request.target == b"http://example.com/a?b"
    assert request[b"host"] == b"example.com"
    assert base64.b64decode(request[b"proxy-authorization"].removeprefix(b"Basic ")) == b"ann:sesame"
    assert request[b"via"].startswith(b"1.1 trio-lb-")
    assert (options.method, options.target) == (b"OPTIONS", b"http://example.com:8080")


async def test_bytes_of_the_target_that_come_with_the_answer_are_not_lost(tmp_path):
    async with fake_parent(ESTABLISHED + b"220 ready\n") as parent, balancer(tmp_path, with_parents(parent)) as lb:
        async with proxy_client(lb) as client:
            await client.connect("example.com:443")
            assert await client.line() == b"220 ready"
            assert await client.talk(b"name") == b"p"
        record = await lb.only_record()
    assert record["bytes_out"] == len(b"220 ready\np\n")


@pytest.mark.parametrize("first", ["refusing", "silent", "forbids", "talks nonsense", "hangs up"])
async def test_the_next_parent_is_asked_if_one_fails(tmp_path, first):
    parents = {
        "refusing": lambda: refusing("r"),
        "silent": lambda: filled_backlog("r"),
        "forbids": lambda: fake_parent(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
        "talks nonsense": lambda: fake_parent(b"SSH-2.0-x\r\n\r\n"),
        "hangs up": lambda: fake_parent(b""),
    }
    lines = 'strategy = "first"\nconnect_timeout = "500ms"'
    async with (
        parents[first]() as bad,
        fake_parent(name="good") as good,
        balancer(tmp_path, with_parents(bad, good, lines=lines)) as lb,
    ):
        async with proxy_client(lb) as client:
            await client.connect("example.com:443", early=b"name\n")
            assert await client.line() == b"good"
        record = await lb.only_record()
    assert (record["pool"], record["server"]) == ("up", good.address)
    assert [attempt["server"] for attempt in record["attempts"]] == [bad.address]


async def test_requests_go_to_the_next_parent_too(tmp_path):
    async with (
        refusing("r") as bad,
        scripted(response(b"hello")) as good,
        balancer(tmp_path, with_parents(bad, good, lines='strategy = "first"')) as lb,
        proxy_client(lb) as client,
    ):
        assert (await client.get("http://example.com/")).body == b"hello"
        record = await lb.event("http.request")
    assert (record["server"], record["pool"]) == (good.address, "up")
    assert [attempt["server"] for attempt in record["attempts"]] == [bad.address]


async def test_the_strategy_chooses_the_parent(tmp_path):
    async with fake_parent(name="a") as a, fake_parent(name="b") as b:
        async with balancer(tmp_path, with_parents(a, b, lines='strategy = "round-robin"')) as lb:
            for _ in range(4):
                async with proxy_client(lb) as client:
                    await client.connect("example.com:443")
                    assert await client.talk(b"name") in (b"a", b"b")
        assert (len(a.heads), len(b.heads)) == (2, 2)


async def test_a_parent_that_a_probe_finds_down_is_not_asked(tmp_path):
    async with fake_parent(name="a") as a, fake_parent(name="b") as b:
        text = with_parents(a, b, lines='strategy = "first"', health=QUICK_CHECKS)
        async with balancer(tmp_path, text) as lb:
            async with proxy_client(lb) as client:
                await client.connect("example.com:443")
                assert await client.talk(b"name") == b"a"
                a.stop_listening()
                await lb.event("backend.ejected", server=a.address)
                async with proxy_client(lb) as other:
                    await other.connect("example.com:443")
                    assert await other.talk(b"name") == b"b"
                assert await client.talk(b"name") == b"a"  # open tunnels go on
            records = [await lb.event("connection.closed", count=count) for count in (1, 2)]
    assert [(record["server"], record["attempts"]) for record in records] == [(b.address, []), (a.address, [])]


async def test_tunnels_end_with_their_parent_if_that_is_wanted(tmp_path):
    async with fake_parent(name="a") as a, fake_parent(name="b") as b:
        lines = 'strategy = "first"\non_down = "close"\non_remove = "close"'
        async with balancer(tmp_path, with_parents(a, b, lines=lines, health=QUICK_CHECKS)) as lb:
            async with proxy_client(lb) as client:
                await client.connect("example.com:443")
                a.stop_listening()
                await expect_reset(client.stream)
            record = await lb.event("connection.closed")
            assert (record["reason"], record["server"]) == ("server_down", a.address)
            async with proxy_client(lb) as client:
                await client.connect("example.com:443")
                assert (await lb.reload(with_parents(a, lines=lines)))["event"] == "config.applied"
                await expect_reset(client.stream)
            record = await lb.event("connection.closed", count=2)
            assert (record["reason"], record["server"]) == ("server_removed", b.address)


async def test_clients_may_wait_for_a_parent(tmp_path):
    """What they send meanwhile is not lost, and who leaves is gone."""
    address = ("127.0.0.1", free_port())
    lines = 'when_all_down = "hold"\nhold_timeout = "1m"'
    text = with_parents(f"127.0.0.1:{address[1]}", lines=lines, health=QUICK_CHECKS)
    async with balancer(tmp_path, text) as lb:
        await lb.event("backend.ejected")
        async with proxy_client(lb) as leaver, proxy_client(lb) as tunnel, proxy_client(lb) as socks:
            await tunnel.send(connect_head("example.com:443") + b"early\n")
            await socks.send(socks_greeting(0) + socks_request(b"example.com", 443) + b"early\n")
            await leaver.send(socks_greeting(0) + socks_request(b"left.example", 443))
            assert await leaver.exactly(2) == await socks.exactly(2) == b"\5\0"
            await leaver.stream.aclose()
            record = await lb.event("connection.closed")
            assert (record["target"], record["ended_by"]) == ("left.example:443", "client")
            async with fake_parent(address=address):
                assert (await tunnel.head()).startswith(b"HTTP/1.1 200 ")
                assert (await socks.socks_reply())[0] == 0
                assert await tunnel.line() == await socks.line() == b"early"


@pytest.mark.parametrize(
    ("answer", "error", "word"),
    [
        (
            ASKS_FOR_LOGIN,
            b"proxy_configuration_error",
            b"refuses this proxy",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", b"destination_unavailable", b"cannot connect"),
    ],
)
async def test_a_parent_that_refuses_is_a_502(tmp_path, answer, error, word):
    async with fake_parent(answer) as parent, balancer(tmp_path, with_parents(parent)) as lb:
        async with proxy_client(lb) as client:
            refused = await client.refused_connect("example.com:443", b"Accept: text/plain\r\n")
            assert (refused.status, refused[b"proxy-status"]) == (502, b"trio-lb; error=%s" % error)
            assert word in refused.body
            assert b"proxy-authenticate" not in refused
        async with proxy_client(lb) as client:
            assert await client.socks(b"example.com", 443) == 1
        record = await lb.event("connection.closed")
        assert (record["reason"], record["pool"], record["server"]) == ("connect_failed", "up", None)
        assert record["attempts"][0]["server"] == parent.address


async def test_a_parent_that_asks_for_a_login_does_not_ask_the_client(tmp_path):
    async with (
        fake_parent(ASKS_FOR_LOGIN) as parent,
        balancer(tmp_path, with_parents(parent)) as lb,
        proxy_client(lb) as client,
    ):
        answer = await client.get("http://example.com/")
        assert (answer.status, b"proxy-authenticate" in answer) == (502, False)
        assert answer[b"proxy-status"].startswith(b"trio-lb; error=")


async def test_without_a_parent_there_is_no_way(tmp_path):
    async with refusing("r") as down, balancer(tmp_path, with_parents(down, health=QUICK_CHECKS)) as lb:
        await lb.event("backend.ejected")
        async with proxy_client(lb) as client:
            assert (await client.get("http://example.com/")).status == 503
            answer = await client.refused_connect("example.com:443")
            assert (answer.status, answer[b"proxy-status"]) == (503, b"trio-lb; error=destination_unavailable")
        async with proxy_client(lb) as client:
            assert await client.socks(b"example.com", 443) == 1
        assert (await lb.event("connection.closed"))["reason"] == "no_server"


async def test_rules_are_judged_before_a_parent_is_asked(tmp_path):
    limits = 'deny_to = ["*.secret.example"]\nallow_to = ["*.example", "9.9.9.0/24"]\nprotocols = ["http", "socks5"]'
    async with fake_parent() as parent, balancer(tmp_path, with_parents(parent, limits=limits)) as lb:
        for target in (
            "a.secret.example:443",
            "a.example:22",
            "10.0.0.1:443",
            "other.test:443",
            "[::1]:443",
            "127.1:443",
        ):
            async with proxy_client(lb) as client:
                assert (await client.refused_connect(target)).status == 403, target
        for url in ("http://a.secret.example/", "http://10.0.0.1/", "http://0x7f.1/"):
            async with proxy_client(lb) as client:
                assert (await client.get(url)).status == 403, url
        async with proxy_client(lb) as client:
            assert await client.socks("127.0.0.1", 443) == 2
        assert not parent.heads
        for target in ("a.example:443", "9.9.9.9:443"):  # the name is the parent's to look up
            async with proxy_client(lb) as client:
                await client.connect(target)


@pytest.mark.parametrize("answer", [ESTABLISHED, ESTABLISHED + b"220 ready\n"])
async def test_a_parent_behind_tls(tmp_path, answer):
    ca = write_authority(tmp_path)
    tls = f'[pools.up.tls]\nca = "{ca}"\nserver_name = "parent.example"'

    async def parent(end):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await end.receive_some()
        await end.send_all(answer)
        while data := await end.receive_some():
            await end.send_all(data.upper())

    async with (
        serving(tls_server(parent, server_context("parent.example"))) as served,
        balancer(tmp_path, with_parents(served, tables=tls)) as lb,
        proxy_client(lb) as client,
    ):
        await client.connect("example.com:443", early=b"early\n")
        if answer != ESTABLISHED:
            assert await client.line() == b"220 ready"
        assert await client.line() == b"EARLY"
        assert await client.talk(b"hello") == b"HELLO"


async def test_a_real_parent_behind_tls(tmp_path, server):
    ca = write_authority(tmp_path)
    tls = f'[pools.up.tls]\nca = "{ca}"\nserver_name = "parent.example"'
    directory = tmp_path / "parent"
    directory.mkdir()
    own = "[listeners.web.tls]\n" + write_certificate(directory, "own", "parent.example")
    async with (
        http_origin() as origin,
        balancer(directory, forward_config(tables=own)) as parent,
        balancer(tmp_path, with_parents(f"127.0.0.1:{parent.port}", tables=tls)) as lb,
        proxy_client(lb) as client,
    ):
        assert (await client.get(f"http://{origin.address}/bytes?n=300000")).status == 200
        await client.connect(server.address)
        await client.send(b"bytes 3000000\n")
        assert await client.exactly(3_000_000) == bytes(3_000_000)


# Loops


@pytest.mark.parametrize("via", [b"1.1 trio-lb", b"1.0 fred, 1.1 TRIO-LB (x)", b"HTTP/1.1 trio-lb"])
async def test_a_request_that_has_come_through_here_is_refused(tmp_path, server, via):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        for _ in range(2):
            answer = await client.get(f"http://{server.address}/", b"Via: %s\r\n" % via)
            assert (answer.status, answer[b"proxy-status"]) == (508, b"trio-lb; error=proxy_loop_detected")
        answer = await client.refused_connect(server.address, b"Via: %s\r\n" % via)
        assert (answer.status, answer[b"proxy-status"]) == (508, b"trio-lb; error=proxy_loop_detected")
        assert (await lb.event("connection.closed"))["reason"] == "denied_target"
    assert server.connections == 0


async def test_a_request_that_has_come_through_others_passes(tmp_path, server):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.connect(server.address, b"Via: 1.1 trio-lb-00000000, 1.1 trio-lb.example, 1.1 x-trio-lb\r\n")


async def test_its_own_address_is_no_target_however_it_is_written(tmp_path):
    async with balancer(tmp_path, forward_config('allow = ["127.0.0.0/8", "::1"]', bind=":0")) as lb:
        port = lb.port
        for host in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "localhost", "0x7f.1"):
            async with proxy_client(lb) as client:
                assert (await client.get(f"http://{host}:{port}/")).status == 508, host
                assert (await client.refused_connect(f"{host}:{port}")).status == 508, host
        async with proxy_client(lb) as client:
            assert await client.socks("127.0.0.1", port) == 2


async def test_its_own_address_is_no_target_for_a_parent_either(tmp_path):
    async with real_parent(tmp_path) as (parent, address), balancer(tmp_path, with_parents(address)) as lb:
        async with proxy_client(lb) as client:
            assert (await client.get(f"http://127.0.0.1:{lb.port}/")).status == 508
            assert (await client.refused_connect(f"127.0.0.1:{lb.port}")).status == 508
        assert not parent.of("http.request")


async def test_its_own_address_is_no_parent(tmp_path):
    port = free_port()
    text = forward_config(PARENTS, bind=f"127.0.0.1:{port}", tables=pool(f"127.0.0.1:{port}"))
    async with balancer(tmp_path, text) as lb:
        async with proxy_client(lb) as client:
            answer = await client.refused_connect("example.com:443")
            assert (answer.status, answer[b"proxy-status"]) == (508, b"trio-lb; error=proxy_loop_detected")
        async with proxy_client(lb) as client:
            answer = await client.get("http://example.com/")
            assert (answer.status, answer[b"proxy-status"]) == (508, b"trio-lb; error=proxy_loop_detected")
        async with proxy_client(lb) as client:
            await client.send(socks_greeting(0) + socks_request(b"example.com", 443))
            assert await client.exactly(2) == b"\5\0"
            assert (await client.socks_reply())[0] == 2
        assert len(lb.of("connection.closed")) <= 2


async def test_two_proxies_that_are_each_others_parent_end_at_once(tmp_path):
    ports = [free_port(), free_port()]
    texts = [
        forward_config(
            PARENTS, bind=f"127.0.0.1:{own}", tables=pool(f"127.0.0.1:{other}", lines="passive.failures = 0")
        )
        for own, other in (ports, reversed(ports))
    ]
    async with real_parent(tmp_path, texts[1]) as (other, _address), balancer(tmp_path, texts[0]) as lb:
        with trio.fail_after(PATIENCE):
            async with proxy_client(lb) as client:
                answer = await client.get("http://example.com/")
                assert (answer.status, answer[b"proxy-status"]) == (508, b"trio-lb; error=proxy_loop_detected")
                await client.send(connect_head("example.com:443"))
                refused = await client.answer("CONNECT")
                assert refused.status in (502, 508)
            await lb.event("http.request", count=2)  # the client's, and what came back
            await other.event("connection.closed", protocol="connect")
        assert len(lb.of("http.request")) == 2
        assert len(other.of("http.request")) == 1


@pytest.mark.parametrize("kind", ["connect", "socks"])
async def test_a_parent_that_is_removed_while_it_is_asked_is_not_used(tmp_path, kind):
    asked = trio.Event()

    async def never_answers(stream):
        if await read_head(stream) is not None:
            asked.set()
            await trio.sleep_forever()

    async with serving(never_answers) as a, fake_parent(name="b") as b:
        lines = 'strategy = "first"\non_remove = "close"'
        async with balancer(tmp_path, with_parents(a, lines=lines)) as lb, proxy_client(lb) as client:
            if kind == "connect":
                await client.send(connect_head("example.com:443"))
            else:
                await client.send(socks_greeting(0) + socks_request("192.0.2.1", 443))
            with trio.fail_after(PATIENCE):
                await asked.wait()
            assert (await lb.reload(with_parents(b, lines=lines)))["event"] == "config.applied"
            if kind == "connect":
                assert (await client.head()).startswith(b"HTTP/1.1 200 ")
            else:
                await client.exactly(2 + 10)
            assert await client.talk(b"name") == b"b"
