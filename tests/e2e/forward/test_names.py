"""Names of targets: looked up once, judged once, and what was judged is what is connected to."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager

import pytest
import trio

from tests.support.balancer import PATIENCE
from tests.support.caching import response
from tests.support.forwarding import OPEN, connect_head, forward_config, get_head, named_balancer, proxy_client
from tests.support.http_client import receive_request
from tests.support.servers import free_port, serving

OK = response(b"hello", b"Server: x\r\n")
DENIED = f'{OPEN}\ndeny_to = ["127.0.0.3"]'
"""127.0.0.3 stands for a private address, which a name must not lead to."""


def port_of(server):
    return int(server.address.rpartition(":")[2])


@asynccontextmanager
async def same_port(*hosts, handler=None):
    """Run servers on several addresses at the same port. Yield them."""
    port = free_port()
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(handler, name=host, address=(host, port))) for host in hosts]


@contextmanager
def silent_at(host, port):
    """Reserve an address where connects are not answered: its backlog is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening, socket.socket(family) as first:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(0)
        first.connect((host, port))
        yield


async def web(stream):
    while await receive_request(stream) is not None:
        await stream.send_all(OK)


async def connected(lb, target):
    """Return the name of the server that a tunnel leads to."""
    async with proxy_client(lb) as client:
        await client.connect(target)
        return (await client.talk(b"name")).decode()


async def test_a_name_that_changes_to_a_denied_address_is_refused_once_it_is_looked_up_again(tmp_path):
    async with same_port("127.0.0.2", "127.0.0.3") as (good, bad):
        async with named_balancer(tmp_path, forward_config(limits=DENIED)) as (lb, names):
            names.has("rebind.example", "A", "127.0.0.2", ttl=1)
            target = f"rebind.example:{port_of(good)}"
            assert await connected(lb, target) == "127.0.0.2"
            assert sorted(names.asked) == [
                "rebind.example A udp",
                "rebind.example AAAA udp",
            ]  # and not again to connect
            names.has("rebind.example", "A", "127.0.0.3", ttl=1)
            with trio.fail_after(PATIENCE):
                while True:
                    async with proxy_client(lb) as client:
                        await client.send(connect_head(target))
                        if (await client.head()).startswith(b"HTTP/1.1 403 "):
                            break
        assert bad.connections == 0


async def test_a_name_that_changes_between_judging_and_connecting_gains_nothing(tmp_path):
    """The name has the other address as soon as it has been asked for."""
    async with same_port("127.0.0.2", "127.0.0.3") as (good, bad):
        async with named_balancer(tmp_path, forward_config(limits=DENIED)) as (lb, names):
            names.has("rebind.example", "A", "127.0.0.2", ttl=0)
            target = f"rebind.example:{port_of(good)}"
            held = names.holds("rebind.example", "AAAA")
            async with proxy_client(lb) as client:
                await client.send(connect_head(target))
                await names.has_been_asked(2)
                names.has("rebind.example", "A", "127.0.0.3", ttl=0)
                held.set()
                assert (await client.head()).startswith(b"HTTP/1.1 200 ")
                assert await client.talk(b"name") == b"127.0.0.2"
        assert bad.connections == 0


async def test_a_kept_connection_serves_nobody_once_its_name_leads_elsewhere(tmp_path):
    async with same_port("127.0.0.2", "127.0.0.3", handler=web) as (good, bad):
        async with named_balancer(tmp_path, forward_config(limits=DENIED)) as (lb, names), proxy_client(lb) as client:
            names.has("rebind.example", "A", "127.0.0.2", ttl=1)
            url = f"http://rebind.example:{port_of(good)}/"
            assert (await client.get(url)).body == b"hello"
            names.has("rebind.example", "A", "127.0.0.3", ttl=1)
            with trio.fail_after(PATIENCE):
                while (answer := await client.get(url)).status == 200:  # noqa: ASYNC110 - until the name is looked up
                    await trio.sleep(0.05)
            assert answer.status == 403
        assert (good.connections, bad.connections) == (1, 0)


async def test_of_several_addresses_those_are_used_that_may_be(tmp_path):
    async with same_port("127.0.0.2", "127.0.0.3") as (good, bad):
        async with named_balancer(tmp_path, forward_config(limits=DENIED)) as (lb, names):
            for number in range(5):
                names.has(f"n{number}.example", "A", "127.0.0.3", "127.0.0.2", "127.0.0.3")
                assert await connected(lb, f"n{number}.example:{port_of(good)}") == "127.0.0.2"
        assert bad.connections == 0


async def test_answers_are_kept_and_shared(tmp_path, server):
    async with named_balancer(tmp_path, forward_config()) as (lb, names):
        names.has("web.example", "A", "127.0.0.1", ttl=60)
        held = names.holds("web.example", "A")
        target = f"web.example:{port_of(server)}"
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(connected, lb, target)
            await names.has_been_asked(2)
            held.set()
        assert await connected(lb, target.upper()) == "s"
        for _ in range(3):
            async with proxy_client(lb) as client:
                assert (await client.get("http://nowhere.example/")).status == 502
        assert len(names.asked) == 4


async def test_a_name_without_an_answer_stalls_only_those_who_ask_for_it(tmp_path, server):
    names_asked = 100
    async with named_balancer(tmp_path, forward_config()) as (lb, names), AsyncExitStack() as stack:
        names.has("web.example", "A", "127.0.0.1", ttl=60)
        for number in range(names_asked):
            for kind in ("A", "AAAA"):
                names.is_silent(f"s{number}.example", kind)
        for number in range(3 * names_asked):
            client = await stack.enter_async_context(proxy_client(lb))
            await client.send(connect_head(f"s{number % names_asked}.example:443"))
        await names.has_been_asked(2 * names_asked)
        with trio.fail_after(3):  # a look-up takes 5 s
            assert await connected(lb, f"web.example:{port_of(server)}") == "s"


@pytest.mark.parametrize("silent", ["A", "AAAA"])
async def test_one_family_without_an_answer_delays_nobody(tmp_path, silent):
    address, kind = ("127.0.0.1", "A") if silent == "AAAA" else ("::1", "AAAA")
    async with serving(address=(address, 0)) as server, named_balancer(tmp_path, forward_config()) as (lb, names):
        names.has("web.example", kind, address)
        names.is_silent("web.example", silent)
        with trio.fail_after(3):
            assert await connected(lb, f"web.example:{port_of(server)}") == "s"


async def test_an_address_that_is_silent_delays_for_a_moment(tmp_path):
    async with (
        serving(handler=web) as server,
        named_balancer(tmp_path, forward_config('connect_timeout = "1m"')) as (
            lb,
            names,
        ),
    ):
        names.has("web.example", "AAAA", "::1")
        names.has("web.example", "A", "127.0.0.1")
        with silent_at("::1", port_of(server)), trio.fail_after(20):
            async with proxy_client(lb) as client:
                await client.connect(f"web.example:{port_of(server)}")
            async with proxy_client(lb) as client:
                assert (await client.get(f"http://web.example:{port_of(server)}/")).body == b"hello"
        record = await lb.event("connection.closed")
        assert 240 < record["connect_ms"] < 5000


async def test_an_address_that_refuses_delays_nobody(tmp_path, server):
    async with named_balancer(tmp_path, forward_config()) as (lb, names):
        names.has("web.example", "AAAA", "::1")
        names.has("web.example", "A", "127.0.0.1")
        assert await connected(lb, f"web.example:{port_of(server)}") == "s"
        assert (await lb.event("connection.closed"))["reason"] == "eof"


async def test_if_all_addresses_fail_the_record_has_each(tmp_path):
    with ExitStack() as stack:
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        async with named_balancer(tmp_path, forward_config()) as (lb, names):
            names.has("web.example", "AAAA", "::1")
            names.has("web.example", "A", "127.0.0.1")
            async with proxy_client(lb) as client:
                assert (await client.refused_connect(f"web.example:{port}")).status == 502
            record = await lb.event("connection.closed")
    assert [attempt["server"] for attempt in record["attempts"]] == [f"[::1]:{port}", f"127.0.0.1:{port}"]
    assert {attempt["error"] for attempt in record["attempts"]} == {"connection refused"}


async def test_names_of_the_hosts_file_need_no_name_server(tmp_path, server):
    async with named_balancer(tmp_path, forward_config()) as (lb, names):
        assert await connected(lb, f"localhost:{port_of(server)}") == "s"
        assert await connected(lb, f"a.localhost:{port_of(server)}") == "s"
        assert not names.asked


async def test_rules_with_a_name_look_it_up_only_if_they_must(tmp_path, server):
    limits = f'{OPEN}\nallow_to = ["web.example", "*.ok.example", "127.0.0.9"]\ndeny_to = ["*.bad.example"]'
    async with named_balancer(tmp_path, forward_config(limits=limits)) as (lb, names):
        for name in ("web.example", "a.b.ok.example", "x.bad.example", "other.example", "ok.example"):
            names.has(name, "A", "127.0.0.1")
        port = port_of(server)
        assert await connected(lb, f"web.example:{port}") == "s"
        assert await connected(lb, f"a.b.ok.example:{port}") == "s"
        for name in ("x.bad.example", "other.example", "ok.example"):
            async with proxy_client(lb) as client:
                assert (await client.refused_connect(f"{name}:{port}")).status == 403
        asked = {query.partition(" ")[0] for query in names.asked}
        assert asked == {"web.example", "a.b.ok.example", "other.example", "ok.example"}  # 127.0.0.9 might match


@pytest.mark.parametrize("kind", ["request", "tunnel"])
async def test_who_waits_for_a_name_during_a_reload_is_answered_and_judged_by_the_new_rules(tmp_path, kind):
    async with (
        same_port("127.0.0.2", handler=web) as (good,),
        named_balancer(tmp_path, forward_config()) as (lb, names),
    ):
        names.has("held.example", "A", "127.0.0.2", ttl=1)
        target = f"held.example:{port_of(good)}"
        head = get_head(f"http://{target}/") if kind == "request" else connect_head(target)
        async with proxy_client(lb) as client, proxy_client(lb) as other:
            assert (await client.get(f"http://{target}/")).status == 200
            await trio.sleep(1.1)  # the answer is old then
            held = names.holds("held.example", "A"), names.holds("held.example", "AAAA")
            asked = len(names.asked)
            await other.send(head)
            await names.has_been_asked(asked + 2)
            denied = forward_config(limits=f'{OPEN}\ndeny_to = ["127.0.0.0/8"]')
            assert (await lb.reload(denied))["event"] == "config.applied"
            for each in held:
                each.set()
            assert (await other.head()).startswith(b"HTTP/1.1 403 ")
        assert not lb.of("fault")
