"""Requests while servers die and operators act: none is lost, and each has one record."""

from __future__ import annotations

import itertools
import signal
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio

from lb.http.frontend import DRAIN_GRACE
from tests.support.balancer import PATIENCE, balancer, config, connect
from tests.support.effort import DEEP
from tests.support.http_origin import http_backends, http_origin
from tests.support.http_sessions import HttpSession, KeptSessions, fetch, http_session, name_at
from tests.support.load import Load
from tests.support.operating import ADMIN, operated
from tests.support.two_workers import BOTH, TWO, pids

pytestmark = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")
kept_or_not = pytest.mark.parametrize("kept", [True, False], ids=["kept", "a connection each"])
LISTENER = 'mode = "http"'
RELOADS = 50 if DEEP else 12
UPGRADES = 10 if DEEP else 1
IMPATIENT = 'strategy = "first"\npassive = { failures = 0 }\n[pools.web.http]\nresponse_timeout = "300ms"\n'
ROUTE = '[[listeners.web.routes]]\npool = "web"'


@asynccontextmanager
async def requests(port, answers, *, kept, clients=10):
    """Run clients during the block: GET requests of ``/name`` whose answers must be among these."""
    sessions = KeptSessions() if kept else name_at
    running = Load(port, answers, clients, session=sessions)
    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(running.client)
        try:
            yield running
        finally:
            nursery.cancel_scope.cancel()
            if kept:
                with trio.CancelScope(shield=True):
                    await sessions.aclose()


async def test_both_workers_serve_and_each_request_has_one_record(tmp_path):
    async with http_origin("a") as a:
        text = config(a, listener=LISTENER, health=None, top=f"{TWO}\n{ADMIN}")
        async with operated(tmp_path, text) as (lb, operator):
            async with AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(http_session(lb.port)) for _ in range(40)]
                for client in clients * 5:  # all are open at once, so that each worker has some
                    assert (await client.ask("/name")).text == "a"
            records = [await lb.event("http.request", count=count) for count in range(1, 201)]
            assert len({record["id"] for record in records}) == 200
            name = 'lb_http_requests_total{{listener="web",route="{}",status="2xx"}}'.format(records[0]["route"])
            await operator.until(operator.metrics, lambda metrics: metrics.get(name) == 200)
            await operator.until(operator.status, lambda found: found["listeners"]["web"]["requests"]["total"] == 200)
            assert await lb.stop() == 0
        assert len(lb.of("http.request")) == 200
    assert 2 <= a.served.connections <= 32, "a kept connection, or some, of each worker"
    assert set(pids(lb)) == BOTH


def routes(a, b):
    """Yield configurations with all kinds of differences in their routes. Each request for ``/name`` gets a name."""
    yield config(a, b, listener=LISTENER)
    yield config(
        a, b, listener=f'{LISTENER}\n{ROUTE}\npath = "/name"\nresponse_headers = {{ set = {{ X-A = "{{path}}" }} }}'
    )
    yield config(b, listener=f'{LISTENER}\n{ROUTE}\nhost = "web.example"\nname = "other"')
    yield config(
        a, b, listener=f'{LISTENER}\n{ROUTE}\nhost = "*.example"\nstrip_prefix = "/name"\nadd_prefix = "/name"'
    )
    yield config(b, a, listener=f'{LISTENER}\n{ROUTE}\npath = "=/name"\nrequest_headers = {{ remove = ["Accept"] }}')
    yield config(
        a, listener=f'{LISTENER}\n{ROUTE}\nhost = "nobody.example"\nrate = "1/s"', pool='strategy = "least-conn"'
    )
    yield config(
        a, b, listener=f'{LISTENER}\naccess_log = false\nkeep_alive = "20s"', pool="[pools.web.http]\nkeep_alive = 2"
    )


@one_process_or_two
@kept_or_not
async def test_reloads_of_changing_routes_under_load_lose_no_request(tmp_path, kept):
    async with http_backends("a", "b") as (a, b), balancer(tmp_path, next(routes(a, b))) as lb:
        async with requests(lb.port, {b"a", b"b"}, kept=kept) as load:
            for text in itertools.islice(itertools.cycle(routes(a, b)), RELOADS):
                assert (await lb.reload(text))["event"] == "config.applied"
                await load.sessions(5)
        assert not load.failures
        assert load.seen == {b"a", b"b"}
        assert {record["reason"] for record in lb.of("http.request", status=200)} == {"ok"}


@one_process_or_two
@kept_or_not
async def test_upgrades_under_load_lose_no_request(tmp_path, kept):
    async with http_backends("a", "b") as (a, b), balancer(tmp_path, config(a, b, listener=LISTENER)) as lb:
        async with requests(lb.port, {b"a", b"b"}, kept=kept) as load:
            for _ in range(UPGRADES):
                assert (await lb.upgrade())["event"] == "upgrade.done"
                await load.sessions(30)
        assert not load.failures
        done = {record["reason"] for record in lb.of("http.request")}
        assert done <= {"ok", "client_left"}, "the clients leave at the end"


@one_process_or_two
@kept_or_not
async def test_a_server_that_is_killed_under_load_costs_no_request(tmp_path, kept):
    async with http_backends("a", "b") as (a, b), balancer(tmp_path, config(a, b, listener=LISTENER)) as lb:
        async with requests(lb.port, {b"a", b"b"}, kept=kept) as load:
            for count in (1, 2, 3):
                await load.until_seen(b"a")
                await load.sessions(30)
                await a.kill()
                await lb.event("backend.ejected", server="a", count=count)
                await load.sessions(30)
                await a.start()
                await lb.event("backend.restored", server="a", count=count)
        assert not load.failures


async def until_refused(port):
    """Wait until no worker accepts any more: each knows then that it drains."""
    with trio.fail_after(PATIENCE), suppress(OSError):
        while True:
            await (await connect(port)).aclose()
            await trio.sleep(0.01)


@one_process_or_two
async def test_a_drain_finishes_the_requests_and_closes_what_is_idle(tmp_path):
    async with http_origin("a") as a:
        async with balancer(tmp_path, config(a, listener=LISTENER, health=None)) as lb:
            port = lb.port
            async with (
                http_session(lb.port) as idle,
                http_session(lb.port) as waits,
                http_session(lb.port, piece=1000) as busy,
                await connect(lb.port) as silent,
            ):
                for client in (idle, waits, busy):
                    assert not (await client.ask("/name")).closes
                await busy.send("/bytes?n=20000000")
                await waits.send("/wait")
                await a.has(5)
                lb.signal(signal.SIGTERM)
                await lb.event("server.stopping")
                await until_refused(port)
                a.go_on.set()
                last = await waits.answer()
                assert (last.text, last.closes) == ("a", True)
                for stream in (waits.stream, idle.stream, silent):
                    with trio.fail_after(PATIENCE):
                        assert await stream.receive_some() == b""
                busy.piece = 1 << 20
                whole = await busy.answer()
                assert len(whole.body) == 20_000_000
            assert await lb.exit_code() == 0
        records = lb.of("http.request")
        assert [record["reason"] for record in records] == ["ok"] * 5


@one_process_or_two
async def test_who_has_connected_before_a_drain_has_time_for_the_first_request(tmp_path):
    async with http_origin("a") as a, balancer(tmp_path, config(a, listener=LISTENER, health=None)) as lb:
        port = lb.port
        async with http_session(port) as slow:
            assert await name_at(port) == b"a"  # accepted after the one before
            lb.signal(signal.SIGTERM)
            await lb.event("server.stopping")
            await until_refused(port)
            await trio.sleep(2 * DRAIN_GRACE)
            last = await slow.ask("/name")
            assert (last.text, last.closes) == ("a", True)
        assert await lb.exit_code() == 0


@one_process_or_two
@kept_or_not
async def test_who_asks_all_the_time_is_served_until_the_drain_closes(tmp_path, kept):
    """Each request that is sent before a connection says that it closes gets its response."""
    async with http_backends("a") as (a,), balancer(tmp_path, config(a, listener=LISTENER, health=None)) as lb:
        async with requests(lb.port, {b"a"}, kept=kept) as load:
            await load.sessions(50)
            lb.signal(signal.SIGTERM)
            assert await lb.exit_code() == 0
        accepted = [record["client"] for record in lb.of("connection.closed")]
        for _, why in load.failures:  # refused; or reset, as the listening socket was closed that it waited at (0011)
            assert "all attempts to connect" in why or not any(f"{client}: " in why for client in accepted), why
        assert {record["reason"] for record in lb.of("http.request")} == {"ok"}


async def test_a_server_that_stands_still_costs_its_request_the_response_timeout(tmp_path):
    async with (
        http_backends("a") as (a,),
        balancer(tmp_path, config(a, listener=LISTENER, pool=IMPATIENT, health=None)) as lb,
    ):
        async with http_session(lb.port) as client:
            assert (await client.ask("/name")).text == "a"
            a.freeze()
            answer = await client.ask("/name")
            assert (answer.status, answer.closes) == (504, False)
            a.thaw()
            assert (await client.ask("/name")).text == "a"
        record = await lb.event("http.request", count=2)
        assert (record["status"], record["reason"], record["server"]) == (504, "timeout", "a")
        assert 300 <= record["duration_ms"] < 10_000


@one_process_or_two
async def test_with_retry_on_timeout_the_next_server_answers(tmp_path):
    pool = f'{IMPATIENT}retry_on = ["timeout"]'
    async with (
        http_backends("a", "b") as (a, b),
        balancer(tmp_path, config(a, b, listener=LISTENER, pool=pool, health=None)) as lb,
    ):
        async with http_session(lb.port) as client:
            a.freeze()
            assert (await client.ask("/name")).text == "b"
            assert (await client.ask("/digest", "PUT", bytes(1000))).headers["x-server"] == "b"
            assert (await client.ask("/digest", "POST", bytes(1000))).status == 504
            a.thaw()
        records = [await lb.event("http.request", count=count) for count in (1, 2, 3)]
    assert [record["server"] for record in records] == ["b", "b", "a"]
    (attempt,) = records[0]["attempts"]
    assert (attempt["server"], attempt["error"]) == ("a", "no response in time")


@one_process_or_two
async def test_a_server_that_was_removed_finishes_its_requests(tmp_path):
    async with http_origin("a") as a, http_origin("b") as b:
        text = config(a, listener=LISTENER, health=None)
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            client = HttpSession(stream, piece=1000)
            await client.send("/bytes?n=20000000")
            await a.has(1)
            assert (await lb.reload(config(b, listener=LISTENER, health=None)))["removed"] == ["web/a"]
            client.piece = 1 << 20
            assert len((await client.answer()).body) == 20_000_000
            assert (await client.ask("/name")).text == "b"
            assert (await fetch(lb.port)).text == "b"
            await a.served.until(lambda served: served.open == 0)
