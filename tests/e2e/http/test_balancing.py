"""Strategies, limits and sticky sessions count and judge requests, not connections."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, config
from tests.support.http_origin import http_backends, http_origin
from tests.support.http_sessions import KeptSessions, fetch, http_session
from tests.support.load import Load
from tests.support.operating import ADMIN, operated

pytestmark = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")
LISTENER = 'mode = "http"'
QUEUE = 'queue = 100\nqueue_timeout = "30s"'
STICKY = 'strategy = "round-robin"\nsticky = { cookie = "lb" }\n'


@asynccontextmanager
async def origins(*names):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(http_origin(name)) for name in names]


@asynccontextmanager
async def sent(port, target, count):
    """Send this request over ``count`` connections, one after another; yield the clients, which have no answer yet."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(http_session(port)) for _ in range(count)]
        for client in clients:
            await client.send(target)
        yield clients


async def they_have(servers, *counts):
    """Wait until the servers have got so many requests in all."""
    for server, count in zip(servers, counts, strict=True):
        await server.has(count)
    assert tuple(len(server.requests) for server in servers) == counts


KEYS = {
    "uri": lambda number: (f"/name?object={number}", []),
    "path": lambda number: (f"/name/{number}?x", []),
    "host": lambda number: ("/name", [("Host", f"{number}.example")]),
    "header:X-User": lambda number: ("/name", [("X-User", f"user {number}")]),
    "cookie:user": lambda number: ("/name", [("Cookie", f"a=b; user={number}; c=d")]),
    "query:id": lambda number: (f"/name?a=1&id={number}&b=2", []),
}


@pytest.mark.parametrize("key", KEYS)
async def test_requests_with_the_same_key_have_the_same_server_whoever_sends_them(tmp_path, key):
    async with origins("a", "b", "c") as servers:
        text = config(
            *servers,
            listener=LISTENER,
            pool=f'strategy = {{ name = "consistent-hash", key = "{key}" }}',
            health=None,
        )
        served = defaultdict(set)
        async with balancer(tmp_path, text) as lb:
            for _ in range(3):
                async with http_session(lb.port) as client:
                    for number in range(30):
                        target, headers = KEYS[key](number)
                        served[number].add((await client.ask(target, headers=headers)).text)
    assert {len(names) for names in served.values()} == {1}
    assert set.union(*served.values()) == {"a", "b", "c"}


async def test_keys_of_a_server_that_is_out_go_to_others_and_come_back(tmp_path):
    async def owners(port):
        async with http_session(port) as client:
            return [(await client.ask(f"/name?object={number}")).text for number in range(40)]

    strategy = 'strategy = { name = "consistent-hash", key = "uri" }'
    async with (
        http_backends("a", "b", "c") as servers,
        balancer(tmp_path, config(*servers, listener=LISTENER, pool=strategy)) as lb,
    ):
        before = await owners(lb.port)
        await servers[0].kill()
        await lb.event("backend.ejected", server="a")
        without = await owners(lb.port)
        assert [name for name in before if name != "a"] == [
            name for name, old in zip(without, before, strict=True) if old != "a"
        ]
        assert set(without) == {"b", "c"}
        await servers[0].start()
        await lb.event("backend.restored", server="a")
        assert await owners(lb.port) == before


def cookie_of(answer):
    return [("Cookie", answer.headers["set-cookie"].partition(";")[0])]


async def stays(client, cookie, name):
    for _ in range(6):
        answer = await client.ask("/name", headers=cookie)
        assert (answer.text, answer.headers.get("set-cookie")) == (name, None)


@one_process_or_two
async def test_a_sticky_client_keeps_its_server_over_reloads_and_upgrades(tmp_path):
    async with origins("a", "b", "c") as servers:
        text = config(*servers, listener=LISTENER, pool=STICKY, health=None)
        async with balancer(tmp_path, text) as lb:
            port = lb.port
            answer = await fetch(port)
            cookie = cookie_of(answer)
            async with http_session(port) as client:
                await stays(client, cookie, answer.text)
                assert len({(await client.ask("/name")).text for _ in range(6)}) == 3, "who has no cookie is spread"
            await lb.reload(config(*reversed(servers), listener=LISTENER, pool=STICKY, health=None))
            async with http_session(port) as client:
                await stays(client, cookie, answer.text)
            assert (await lb.upgrade())["event"] == "upgrade.done"
            async with http_session(port) as client:
                await stays(client, cookie, answer.text)


@one_process_or_two
async def test_a_sticky_client_whose_server_is_out_moves_and_stays(tmp_path):
    async with http_backends("a", "b") as servers:
        text = config(*servers, listener=LISTENER, pool=STICKY)
        async with balancer(tmp_path, text) as lb, http_session(lb.port) as client:
            answer = await fetch(lb.port)
            cookie, first = cookie_of(answer), answer.text
            other = {"a": "b", "b": "a"}[first]
            server = next(each for each in servers if each.name == first)
            await server.kill()
            moved = await client.ask("/name", headers=cookie)
            assert moved.text == other
            await stays(client, cookie_of(moved), other)
            await lb.event("backend.ejected", server=first)
            moved = await client.ask("/name", headers=cookie)
            assert moved.text == other
            await server.start()
            await lb.event("backend.restored", server=first)
            await stays(client, cookie_of(moved), other)


SHARED = 'strategy = "round-robin"\nsticky = { cookie = "lb", secret_file = "sticky.secret" }\n'


@one_process_or_two
async def test_the_cookie_of_one_balancer_holds_at_another_with_the_same_secret_file(tmp_path):
    homes = [tmp_path / name for name in ("lb1", "lb2", "lb3")]
    for home, secret in zip(homes, ("a secret\n", "  a secret", "another"), strict=True):
        home.mkdir()
        (home / "sticky.secret").write_text(secret)
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(origins("a", "b", "c", "d", "e"))
        text = config(*servers, listener=LISTENER, pool=SHARED, health=None)
        one, same, other = [await stack.enter_async_context(balancer(home, text)) for home in homes]
        for _ in range(3):
            answer = await fetch(one.port)
            async with http_session(same.port) as client:
                await stays(client, cookie_of(answer), answer.text)
            async with http_session(other.port) as client:
                moved = await client.ask("/name", headers=cookie_of(answer))
                assert "set-cookie" in moved.headers, "another secret: the cookie means nothing there"


async def test_a_cookie_that_was_not_given_means_nothing(tmp_path):
    async with (
        origins("a", "b") as servers,
        balancer(tmp_path, config(*servers, listener=LISTENER, pool=STICKY, health=None)) as lb,
        http_session(lb.port) as client,
    ):
        for value in ("a", "b", "", "x" * 22, '"'):
            answer = await client.ask("/name", headers=[("Cookie", f"lb={value}")])
            await stays(client, cookie_of(answer), answer.text)


async def test_max_connections_counts_requests_and_not_idle_connections(tmp_path):
    async with origins("a", "b") as (a, b):
        servers = [(each, "max_connections = 1") for each in (a, b)]
        text = config(*servers, listener=LISTENER, pool='strategy = "first"', health=None)
        async with balancer(tmp_path, text) as lb, AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(http_session(lb.port)) for _ in range(5)]
            assert [(await client.ask("/name")).text for client in idle] == ["a"] * 5
            await idle[0].send("/wait")
            await a.has(6)
            assert [(await client.ask("/name")).text for client in idle[1:]] == ["b"] * 4
            await idle[1].send("/wait")
            await b.has(5)
            full = await idle[2].ask("/name")
            assert (full.status, full.closes) == (503, False)
            for server in (a, b):
                server.go_on.set()
            assert [(await client.answer()).text for client in idle[:2]] == ["a", "b"]
            assert (await idle[2].ask("/name")).text == "a"
            records = [await lb.event("http.request", count=count) for count in range(1, 14)]
    assert Counter(record["reason"] for record in records) == {"ok": 12, "no_server": 1}


async def test_requests_wait_in_the_queue_for_a_server_with_room(tmp_path, worker_count):
    async with origins("a") as (a,):
        text = config((a, "max_connections = 2"), listener=LISTENER, pool=QUEUE, health=None, top=ADMIN)
        async with operated(tmp_path, text) as (lb, operator), sent(lb.port, "/wait", 10) as clients:
            await a.has(2)
            live = partial(operator.get, "/api/v1/connections")
            await operator.until(live, lambda found: sum(each["bytes_in"] > 0 for each in found["connections"]) == 10)
            assert len(a.requests) == 2
            a.go_on.set()
            assert [(await client.answer()).text for client in clients] == ["a"] * 10
            assert a.served.most_open <= 2 * worker_count  # each worker may keep idle ones
            await operator.until(operator.servers, lambda servers: servers["a"]["active"] == 0)


async def test_least_conn_counts_requests(tmp_path):
    async with origins("a", "b") as servers:
        text = config(*servers, listener=LISTENER, pool='strategy = "least-conn"', health=None)
        async with balancer(tmp_path, text) as lb, AsyncExitStack() as stack:
            # many idle connections to either server change nothing
            clients = [await stack.enter_async_context(http_session(lb.port)) for _ in range(8)]
            for client in clients:
                assert (await client.ask("/name")).status == 200
            before = [len(each.requests) for each in servers]
            for client in clients[:6]:
                await client.send("/wait")
            await they_have(servers, before[0] + 3, before[1] + 3)
            servers[0].go_on.set()
            answered = Counter()

            async def answer(client):
                answered[(await client.answer()).text] += 1
                if answered["a"] == 3:
                    nursery.cancel_scope.cancel()

            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    for client in clients[:6]:
                        nursery.start_soon(answer, client)
            assert answered == {"a": 3}
            for client in clients[6:]:
                assert (await client.ask("/name")).text == "a"


@one_process_or_two
@pytest.mark.parametrize("retry_on", ["reset", "503"])
async def test_statuses_eject_a_server(tmp_path, retry_on):
    """Whether the client gets them, or the answer of another server."""

    async def fail(connection, stream, request, **query):
        await a._answer(connection, stream, b"broken", status=503)

    passive = 'strategy = "round-robin"\npassive = { failures = 3, statuses = ["500-599"] }\n'
    passive += f'[pools.web.http]\nretry_on = ["{retry_on}"]'
    async with origins("a", "b") as (a, b):
        a._name = fail
        async with (
            balancer(tmp_path, config(a, b, listener=LISTENER, pool=passive, health=None)) as lb,
            http_session(lb.port) as client,
        ):
            statuses = Counter()
            with trio.fail_after(PATIENCE):
                while not lb.of("backend.ejected"):
                    statuses[(await client.ask("/name")).status] += 1
            ejected = await lb.known("backend.ejected")
            assert ejected["server"] == "a"
            assert "503" in ejected["reason"]
            assert (statuses[503] >= 3) == (retry_on == "reset")
            assert {*statuses} <= {200, 503}
            assert [(await client.ask("/name")).text for _ in range(10)] == ["b"] * 10


@one_process_or_two
async def test_a_server_that_comes_back_gets_few_requests_at_first(tmp_path):
    async with http_backends("a", "b") as (a, b):
        pool = 'strategy = "weighted"\nslow_start = "10m"'
        async with balancer(tmp_path, config(a, b, listener=LISTENER, pool=pool)) as lb:
            await a.kill()
            await lb.event("backend.ejected", server="a")
            await a.start()
            await lb.event("backend.restored", server="a")
            served = Counter()

            async def session(port):
                answer = await sessions(port)
                served[answer] += 1
                return answer

            sessions = KeptSessions()
            load = Load(lb.port, {b"a", b"b"}, 4, session=session)
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(load.client)
                await load.sessions(200)
                nursery.cancel_scope.cancel()
            await sessions.aclose()
            assert not load.failures
            assert served[b"a"] <= 20
