"""What clients are told when they do not reach their target, what records and metrics say, and that no rule is told."""

from __future__ import annotations

from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer
from tests.support.disguises import ADDRESSES, MALFORMED
from tests.support.forwarding import (
    OPEN,
    ProxyClient,
    connect_head,
    forward_config,
    named_balancer,
    proxy_client,
    socks4_request,
    socks_greeting,
    socks_request,
)
from tests.support.operating import ADMIN, client_of, operated
from tests.support.servers import filled_backlog, refusing, serving


@attrs.frozen
class Case:
    """A target that is not reached. ``target`` may have ``{port}`` of a server that is there, or of another one."""

    target: str
    limits: str
    status: int
    error: str
    code: int
    reason: str
    result: str
    word: str


ANY = 'connect_ports = "any"\nprotocols = ["http", "socks5", "socks4"]'
CASES = {
    "port": Case(
        "127.0.0.1:{port}",
        ANY.replace('"any"', "[443]"),
        403,
        "http_request_denied",
        2,
        "denied_target",
        "denied_target",
        "does not allow this port",
    ),
    "denied name": Case(
        "secret.example:{port}",
        f'{OPEN}\ndeny_to = ["*.example"]',
        403,
        "http_request_denied",
        2,
        "denied_target",
        "denied_target",
        "denies this target",
    ),
    "denied network": Case(
        "here.example:{port}",
        f'{OPEN}\ndeny_to = ["127.0.0.0/8"]',
        403,
        "http_request_denied",
        2,
        "denied_target",
        "denied_target",
        "denies this target",
    ),
    "not allowed": Case(
        "here.example:{port}",
        f'{OPEN}\nallow_to = ["other.example"]',
        403,
        "http_request_denied",
        2,
        "denied_target",
        "denied_target",
        "allows other targets only",
    ),
    "private name": Case(
        "here.example:{port}",
        ANY,
        403,
        "destination_ip_prohibited",
        2,
        "denied_target",
        "denied_target",
        "address is private",
    ),
    "no such name": Case(
        "nowhere.example:{port}", OPEN, 502, "dns_error", 4, "resolve_failed", "resolve_failed", "cannot resolve"
    ),
    "broken zone": Case(
        "broken.example:{port}", OPEN, 502, "dns_error", 4, "resolve_failed", "resolve_failed", "cannot resolve"
    ),
    "refused": Case(
        "refusing.example:{refusing}",
        OPEN,
        502,
        "connection_refused",
        5,
        "connect_failed",
        "refused",
        "refused the connection",
    ),
    "no answer": Case(
        "here.example:{silent}",
        OPEN,
        504,
        "connection_timeout",
        6,
        "connect_failed",
        "timeout",
        "did not answer in time",
    ),
    "itself": Case(
        "here.example:{own}",
        OPEN,
        508,
        "proxy_loop_detected",
        2,
        "denied_target",
        "denied_target",
        "round in a circle",
    ),
}


def port_of(address):
    return address.rpartition(":")[2]


@asynccontextmanager
async def running(tmp_path, case):
    """Yield the balancer, its operator, the target, and a server that nobody may reach."""
    text = forward_config('connect_timeout = "300ms"', limits=case.limits, top=ADMIN)
    async with (
        serving() as server,
        refusing("r") as refused,
        filled_backlog("silent") as silent,
        named_balancer(tmp_path, text) as (lb, names),
        client_of(lb) as client,
    ):
        for name in ("here.example", "secret.example", "refusing.example"):
            names.has(name, "A", "127.0.0.1")
        names.fails("broken.example", "A")
        names.fails("broken.example", "AAAA")
        ports = {
            "refusing": refused.address,
            "silent": silent.address,
            "port": server.address,
            "own": lb.binds["web"][0],
        }
        target = case.target.format(**{name: port_of(address) for name, address in ports.items()})
        yield lb, client, target, server


async def forwarded(client):
    """Return the samples of lb_forward_total that are not 0, by protocol and result."""
    text = (await client.get("/metrics")).text
    found = {}
    for line in text.splitlines():
        labels, _, value = line.removeprefix("lb_forward_total{").partition("} ")
        if line.startswith("lb_forward_total{") and float(value):
            pairs = dict(pair.split("=", 1) for pair in labels.split(","))
            found[pairs["protocol"].strip('"'), pairs["result"].strip('"')] = float(value)
    return found


@pytest.mark.parametrize("name", CASES)
async def test_each_refusal_has_its_words(tmp_path, name):
    case = CASES[name]
    async with running(tmp_path, case) as (lb, admin, target, server):
        host, _, port = target.rpartition(":")
        async with proxy_client(lb) as client:
            answer = await client.refused_connect(target, b"Accept: text/plain\r\n")
            assert answer.status == case.status
            assert answer[b"proxy-status"] == b"trio-lb; error=%s" % case.error.encode()
            assert case.word in answer.body.decode()
            shown = answer.body + b"".join(value for _, value in answer.headers)
            assert not [secret for secret in (b"*.example", b"127.0.0", b"other.example") if secret in shown]
        host_or_address = host if host.startswith("127.") else host.encode()
        async with proxy_client(lb) as client:
            assert await client.socks(host_or_address, int(port)) == case.code
            assert await client.ended()
        async with proxy_client(lb) as client:
            await client.send(socks4_request(host_or_address, int(port)))
            assert await client.socks4_reply() == 91
            assert await client.ended()
        records = [await lb.event("connection.closed", count=count, reason=case.reason) for count in (1, 2, 3)]
        assert {record["protocol"] for record in records} == {"connect", "socks5", "socks4"}
        assert {(record["target"], record["ended_by"]) for record in records} == {(target, "lb")}
        assert await forwarded(admin) == {(protocol, case.result): 1 for protocol in ("connect", "socks5", "socks4")}
        assert server.connections == 0


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"port"}))
async def test_each_refusal_of_a_request_has_its_words(tmp_path, name):
    case = CASES[name]
    async with running(tmp_path, case) as (lb, admin, target, server):
        async with proxy_client(lb) as client:
            for _ in range(2):  # the connection goes on
                answer = await client.get(f"http://{target}/", b"Accept: text/plain\r\n")
                assert answer.status == case.status
                assert answer[b"proxy-status"] == b"trio-lb; error=%s" % case.error.encode()
                assert case.word in answer.body.decode()
        record = await lb.event("http.request", count=2)
        expected = "timeout" if case.status == 504 else case.reason
        assert (record["status"], record["reason"], record["host"]) == (case.status, expected, target)
        assert await forwarded(admin) == {("http", case.result): 2}
        assert server.connections == 0


async def test_a_name_without_an_answer_is_told_in_time(tmp_path):
    async with named_balancer(tmp_path, forward_config()) as (lb, names):
        for kind in ("A", "AAAA"):
            names.is_silent("silent.example", kind)
        async with proxy_client(lb) as tunnel, proxy_client(lb) as request, proxy_client(lb) as socks:
            await tunnel.send(connect_head("silent.example:443"))
            await socks.send(socks_greeting(0) + socks_request(b"silent.example", 443))
            answers = [await request.get("http://silent.example/"), await tunnel.answer("CONNECT")]
            for answer in answers:
                assert (answer.status, answer[b"proxy-status"]) == (504, b"trio-lb; error=dns_timeout")
            assert await socks.exactly(2) == b"\5\0"
            assert (await socks.socks_reply())[0] == 4
        assert (await lb.event("http.request"))["reason"] == "resolve_failed"
        await lb.event("connection.closed", reason="resolve_failed", count=2)
        assert len([query for query in names.asked if query.startswith("silent.example. A ")]) <= 3


async def test_a_network_that_is_not_there(tmp_path):
    """The balancer has no network at all; clients come over a unix socket."""
    path = tmp_path / "proxy.sock"
    text = forward_config(bind=f"unix:{path}")
    async with balancer(tmp_path, text, through=("unshare", "--net")) as lb:
        async with await trio.open_unix_socket(path) as stream:
            client = ProxyClient(stream)
            answer = await client.refused_connect("9.9.9.9:443")
            assert (answer.status, answer[b"proxy-status"]) == (502, b"trio-lb; error=destination_ip_unroutable")
            assert b"unreachable" in answer.body
        async with await trio.open_unix_socket(path) as stream:
            client = ProxyClient(stream)
            assert await client.socks("2600::1", 443) == 3
        async with await trio.open_unix_socket(path) as stream:
            answer = await ProxyClient(stream).get("http://9.9.9.9/")
            assert (answer.status, answer[b"proxy-status"]) == (502, b"trio-lb; error=destination_ip_unroutable")
        assert (await lb.event("connection.closed"))["client"] in ("unix:", "unix", "")


@pytest.fixture
async def trap():
    """A server on all addresses of this host, at one port, that nobody may reach."""
    async with serving(address=("::", 0)) as served:
        async with await trio.open_tcp_stream("127.0.0.1", int(port_of(served.address))):
            await served.until(lambda served: served.connections)  # it is open for IPv4 too
        served.connections = 0
        yield served


def disguised(way, disguise, port):
    """Return what a client sends."""
    host = disguise.encode()
    if way == "connect":
        return b"CONNECT %s:%d HTTP/1.1\r\nHost: a\r\n\r\n" % (host, port)
    if way == "request":
        return b"GET http://%s:%d/ HTTP/1.1\r\nHost: a\r\n\r\n" % (host, port)
    return socks_greeting(0) + socks_request(host.removeprefix(b"[").removesuffix(b"]"), port)


async def told(lb, data):
    """Return what a client of its own gets until the end."""
    async with proxy_client(lb) as client:
        await client.send(data)
        await client.stream.send_eof()
        return await client.all()


@pytest.mark.parametrize(
    ("way", "private"),
    [
        ("connect", b"Proxy-Status: trio-lb; error=destination_ip_prohibited\r\n"),
        ("request", b"Proxy-Status: trio-lb; error=destination_ip_prohibited\r\n"),
        ("socks", b"\5\0\5\2\0\1"),
    ],
)
async def test_no_disguise_of_a_private_address_is_reached(tmp_path, trap, way, private):
    port = int(port_of(trap.address))
    text = forward_config(limits=ANY)
    async with balancer(tmp_path, text) as lb:
        for disguise in ADDRESSES:
            assert private in await told(lb, disguised(way, disguise, port)), disguise
        for disguise in MALFORMED:
            answer = await told(lb, disguised(way, disguise, port))
            assert not answer.startswith((b"HTTP/1.1 2", b"\5\0\5\0")), disguise
    assert trap.connections == 0


async def test_no_name_leads_to_a_private_address(tmp_path, trap):
    port = int(port_of(trap.address))
    private = {
        "A": ["127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "169.254.169.254", "100.64.0.1", "192.168.0.1"],
        "AAAA": ["::1", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1", "fd00:ec2::254", "2002:7f00:1::"],
    }
    async with named_balancer(tmp_path, forward_config(limits=ANY)) as (lb, names):
        for kind, addresses in private.items():
            for number, address in enumerate(addresses):
                name = f"n{number}.{kind.lower()}.example"
                names.has(name, kind, address)
                async with proxy_client(lb) as client:
                    assert (await client.get(f"http://{name}:{port}/")).status == 403, address
                    answer = await client.refused_connect(f"{name}:{port}")
                    assert answer[b"proxy-status"] == b"trio-lb; error=destination_ip_prohibited", address
                async with proxy_client(lb) as client:
                    assert await client.socks(name.encode(), port) == 2, address
        async with proxy_client(lb) as client:
            assert (await client.refused_connect(f"localhost:{port}")).status == 403
    assert trap.connections == 0


async def test_a_denied_network_is_denied_inside_other_addresses(tmp_path):
    limits = f'{OPEN}\ndeny_to = ["127.0.0.0/8", "localhost"]'
    async with serving(address=("::", 0)) as server, balancer(tmp_path, forward_config(limits=limits)) as lb:
        port = port_of(server.address)
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "0x7f.1", "[64:ff9b::7f00:1]", "LOCALHOST."):
            async with proxy_client(lb) as client:
                assert (await client.refused_connect(f"{host}:{port}")).status == 403, host
        async with proxy_client(lb) as client:
            await client.connect(f"[::1]:{port}")
            await server.until(lambda served: served.connections)
        assert server.connections == 1


async def test_ports_are_for_tunnels_only(tmp_path):
    async with serving() as server, balancer(tmp_path, forward_config(limits="private = true")) as lb:
        async with proxy_client(lb) as client:
            await client.send(b"GET http://%s/ HTTP/1.0\r\n\r\n" % server.address.encode())
            await client.answer()
        assert server.connections == 1


async def test_results_that_are_no_refusals_are_counted(tmp_path):
    async with serving() as server, operated(tmp_path, forward_config(top=ADMIN)) as (lb, operator):
        async with proxy_client(lb) as client:
            await client.connect(server.address)
        async with proxy_client(lb) as client:
            await client.ask(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS")
        await lb.event("http.request")
        with trio.fail_after(PATIENCE):
            assert await forwarded(operator.client) == {("connect", "ok"): 1, ("http", "ok"): 1}
