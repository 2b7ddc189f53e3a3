"""State shared by two workers: counters and limits, health, checks, round-robin turns."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import AsyncExitStack

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer, config, connect, request
from tests.support.load import load
from tests.support.sabotage import sabotage
from tests.support.servers import Backend, free_port, refusing, serving
from tests.support.two_workers import BOTH, TWO, both_serve, connections, pids, worker_of

pytestmark = pytest.mark.slow
HOLD = 'when_all_down = "hold"\nhold_timeout = "60s"'
INTERVAL = 0.1
"""Seconds between health checks."""


class Counting:
    """Serves connections. Decrements the count right before a close, so no client can use the slot sooner."""

    def __init__(self):
        self.most = 0
        self._now = 0

    async def __call__(self, stream):
        self._now += 1
        self.most = max(self.most, self._now)
        async for _ in stream:
            pass
        await stream.send_all(b"s\n")
        self._now -= 1


async def ask_all(port, count):
    """Run ``count`` clients concurrently and check that each gets an answer."""
    answers = []

    async def client():
        answers.append(await ask(port))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(client)
    assert answers == [b"s\n"] * count


def carriers(lb):
    """Return the workers that carried the finished connections."""
    return {worker_of(record) for record in lb.of("connection.closed")}


@pytest.mark.parametrize("strategy", ["least-conn", "random-two"])
async def test_open_connections_are_spread_evenly_over_the_servers(tmp_path, strategy):
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(name=name)) for name in "abcd"]
        text = config(*servers, health=None, pool=f'strategy = "{strategy}"', top=TWO)
        async with balancer(tmp_path, text) as lb:
            async with connections(lb.port, 80):
                spread = [server.open for server in servers]
            await lb.event("connection.closed", count=80)
    assert sum(spread) == 80
    assert max(spread) - min(spread) <= (3 if strategy == "least-conn" else 12), spread
    assert carriers(lb) == BOTH


async def test_least_conn_sees_what_the_other_worker_has_open(tmp_path):
    """Servers with very different loads end with nearly the same."""
    async with serving(name="a") as a, serving(name="b") as b:
        least = 'strategy = "least-conn"'
        async with balancer(tmp_path, config(a, health=None, pool=least, top=TWO)) as lb:
            async with connections(lb.port, 40):
                await lb.reload(config(a, b, health=None, pool=least, top=TWO))
                async with connections(lb.port, 40):
                    assert (a.open, b.open) == (40, 40)
            await lb.event("connection.closed", count=80)
    assert carriers(lb) == BOTH


async def test_a_full_server_gets_no_more_from_any_worker(tmp_path):
    async with serving(full := Counting()) as server:
        text = config((server, "max_connections = 3"), health=None, pool=HOLD, top=TWO)
        async with balancer(tmp_path, text) as lb:
            with trio.fail_after(PATIENCE):
                while carriers(lb) != BOTH:
                    await ask_all(lb.port, 200)
    assert full.most == 3


async def test_clients_go_to_the_other_server_when_one_is_full(tmp_path):
    async with serving(name="small") as small, serving(name="big") as big:
        text = config((small, "max_connections = 5"), big, health=None, top=TWO)
        async with balancer(tmp_path, text) as lb:
            async with connections(lb.port, 60):
                assert (small.open, big.open) == (5, 55)
            await lb.event("connection.closed", count=60)
    assert carriers(lb) == BOTH
    assert not lb.of("connection.closed", reason="no_server")


async def test_clients_that_one_worker_holds_are_served_when_the_other_makes_room(tmp_path, monkeypatch):
    """By a wake-up: here nobody retries by itself."""
    sabotage(monkeypatch, "retry")
    async with serving() as server:
        text = config((server, "max_connections = 20"), health=None, pool=HOLD, top=TWO)
        async with balancer(tmp_path, text) as lb, connections(lb.port, 20) as streams:
            waiting = [await connect(lb.port) for _ in range(20)]
            for stream, client in zip(streams, waiting, strict=True):
                await client.send_all(b"name\n")
                await stream.aclose()
            for client in waiting:
                with trio.fail_after(PATIENCE):
                    assert await client.receive_some() == b"s\n"
                await client.aclose()
            await lb.event("connection.closed", count=40)
    assert carriers(lb) == BOTH


@pytest.mark.parametrize("limit", [1, 4])
async def test_all_who_wait_for_a_full_listener_are_served_in_the_end(tmp_path, limit):
    async with serving(full := Counting()) as server:
        text = config(server, listener=f"max_connections = {limit}", health=None, top=TWO)
        async with balancer(tmp_path, text) as lb:
            for number in range(1, 6):
                with trio.fail_after(PATIENCE):
                    await ask_all(lb.port, 60)
                await lb.event("connection.closed", count=60 * number)
    assert full.most <= limit + 1, "more than one too many, with two workers"


async def test_a_full_listener_accepts_again_whichever_worker_makes_room(tmp_path):
    async with serving() as server:
        text = config(server, listener="max_connections = 20", health=None, top=TWO)
        async with balancer(tmp_path, text) as lb, connections(lb.port, 20) as streams:
            for stream in streams:
                async with await connect(lb.port) as waiting:
                    await waiting.send_all(b"name\n")
                    await stream.aclose()
                    with trio.fail_after(PATIENCE):
                        assert await waiting.receive_some() == b"s\n"
            await lb.event("connection.closed", count=40)
    assert carriers(lb) == BOTH


async def test_those_whom_a_dead_worker_served_count_no_more(tmp_path):
    """A server and a listener at their limits have room again."""
    async with serving() as server:
        text = config(
            (server, "max_connections = 20"), listener="max_connections = 20", health=None, pool=HOLD, top=TWO
        )
        async with balancer(tmp_path, text) as lb, connections(lb.port, 20):
            for worker in BOTH:
                os.kill(pids(lb)[worker], signal.SIGKILL)
                await lb.event("worker.died", worker=worker)
            await lb.event("worker.started", count=4)
            assert sum(died["connections"] for died in lb.of("worker.died")) == 20
            async with connections(lb.port, 20) as streams:
                assert await request(streams[-1], b"echo there is room") == b"there is room"


# Health


async def test_failures_of_all_workers_count_together_and_eject_for_all(tmp_path):
    passive = '[pools.web.passive]\nfailures = 100\neject_for = "1h"'
    async with refusing("dead") as dead, serving(name="a") as a:
        text = config(dead, a, health=None, pool=passive, top=TWO)
        async with balancer(tmp_path, text) as lb:
            async with load(lb.port, [a], clients=1) as sessions:
                ejected = await lb.event("backend.ejected", server="dead")
                with trio.fail_after(PATIENCE):  # the verdict and earlier log lines need time to arrive
                    tried = 0
                    while tried != len(attempts(lb)):
                        tried = len(attempts(lb))
                        await both_serve(lb, sessions)
                assert not sessions.failures
            assert await lb.stop() == 0
    assert ejected["source"] == "passive"
    failures = Counter(worker_of(record) for record in lb.of("connection.closed") if record["attempts"])
    assert failures.total() >= 100
    assert 0 < min(failures.values()) <= max(failures.values()) < 100, "no worker has seen enough for itself"
    assert len(lb.of("backend.ejected")) == 1


def attempts(lb):
    return [attempt for record in lb.of("connection.closed") for attempt in record["attempts"]]


async def test_a_server_that_is_down_is_down_for_all_and_up_for_all_again(tmp_path):
    checks = 'interval = "50ms"\nfast_interval = "50ms"\nrise = 1\nfall = 1'
    address = ("127.0.0.1", free_port())
    async with (
        serving(name="a", address=address) as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, b, health=checks, top=TWO)) as lb,
    ):
        a.stop_listening()
        await lb.event("backend.ejected", server="a")
        async with load(lb.port, [a, b], clients=5) as sessions:
            await both_serve(lb, sessions)
            sessions.seen.clear()
            await both_serve(lb, sessions)
            assert sessions.seen == {b"b\n"}
            async with serving(name="a", address=address):
                await lb.event("backend.restored", server="a")
                before = served_from_a(lb)
                with trio.fail_after(PATIENCE):
                    while any(served_from_a(lb)[worker] == before[worker] for worker in BOTH):
                        await both_serve(lb, sessions)
                assert not sessions.failures
    assert len(lb.of("backend.restored", server="a")) == 1


def served_from_a(lb):
    """Return how many connections each worker has had to the server ``a``."""
    return Counter(worker_of(record) for record in lb.of("connection.closed", server="a"))


async def test_a_restarted_worker_knows_who_is_down(tmp_path):
    async with refusing("dead") as dead, serving(name="a") as a, balancer(tmp_path, config(dead, a, top=TWO)) as lb:
        await lb.event("backend.ejected", server="dead")
        for worker in BOTH:
            os.kill(pids(lb)[worker], signal.SIGKILL)
        await lb.event("worker.started", count=4)
        async with load(lb.port, [a], clients=5) as sessions:
            await both_serve(lb, sessions)
        assert await lb.stop() == 0
    assert not attempts(lb)


async def test_checks_run_once_however_many_workers_there_are(tmp_path):
    checks = f'interval = "{INTERVAL * 1000:g}ms"\nfast_interval = "{INTERVAL * 1000:g}ms"'
    async with serving() as server, balancer(tmp_path, config(server, health=checks, top=TWO)):
        await server.until(lambda served: served.connections >= 2)
        first, began = server.connections, trio.current_time()
        await server.until(lambda served: served.connections >= first + 20)
        took = trio.current_time() - began
    assert took > 20 * INTERVAL * 0.65, "more checks than one process makes"  # two would take half the time


# Turns


async def test_workers_take_turns_from_different_points_of_the_list(tmp_path):
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(name=name)) for name in "abcd"]
        async with balancer(tmp_path, config(*servers, health=None, top=TWO)) as lb:
            async with load(lb.port, servers, clients=5) as sessions:
                await both_serve(lb, sessions)
            assert await lb.stop() == 0
    server = {record["id"]: record["server"] for record in lb.of("connection.closed")}
    assert [server[number] for number in (1, 3, 5, 7, 9)] == ["a", "b", "c", "d", "a"]
    assert [server[number] for number in (2, 4, 6, 8, 10)] == ["c", "d", "a", "b", "c"]


async def test_without_failback_a_worker_that_is_replaced_goes_to_the_server_in_use(tmp_path):
    """Each worker knows only since when servers are up; the one in use is the one that is up longest."""
    first = Backend("first")
    try:
        async with serving(name="second") as second:
            strategy = 'strategy = { name = "first", failback = false }'
            async with balancer(tmp_path, config(first, second, pool=strategy, top=TWO)) as lb:
                await lb.event("backend.ejected", server="first")
                await first.start()
                await lb.known("backend.restored", server="first")
                assert {await ask(lb.port) for _ in range(20)} == {b"second\n"}
                for count, worker in enumerate(BOTH, 3):
                    os.kill(pids(lb)[worker], signal.SIGKILL)
                    await lb.event("worker.started", count=count)
                assert {await ask(lb.port) for _ in range(20)} == {b"second\n"}
                assert await lb.stop() == 0
    finally:
        await first.kill()
