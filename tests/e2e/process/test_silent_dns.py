"""A DNS that does not answer: whatever needs no name goes on as usual."""

from __future__ import annotations

import statistics
from contextlib import asynccontextmanager

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer
from tests.support.operating import ADMIN, Operator, client_of
from tests.support.servers import serving
from tests.support.silent_names import silent_names

pytestmark = pytest.mark.slow

NAMES = 60
TRIES = 5
PAUSE = 0.01
"""Seconds between sessions beside a look-up that takes 5 s: they are there to be delayed, not to use up the machine."""


def text(server, *, weight=1, bind="127.0.0.1:0", names=NAMES):
    """60 servers whose names have no answer, a pool beside it that is checked by a command."""
    named = ", ".join(f'"s{number}.silent.test:80"' for number in range(names))
    return f"""
        {ADMIN}
        [listeners.web]
        bind = "{bind}"
        [listeners.named]
        bind = "127.0.0.1:0"
        [pools.named]
        resolve_interval = "1s"
        health = false
        servers = [{named}]
        [pools.web]
        servers = [{{ name = "a", address = "{server.address}", weight = {weight} }}]
        [pools.web.health]
        probe = "exec"
        command = ["true"]
        interval = "200ms"
        timeout = "5s"
    """


@asynccontextmanager
async def running(tmp_path):
    with silent_names(tmp_path) as through:
        async with (
            serving(name="a") as server,
            balancer(tmp_path, text(server), through=through) as lb,
            client_of(lb) as client,
        ):
            yield server, lb, Operator(lb, client)


async def usual(action):
    """Return the median of the seconds that an action takes: the machine may be busy once."""
    times = []
    for _ in range(TRIES):
        begin = trio.current_time()
        await action()
        times.append(trio.current_time() - begin)
    return statistics.median(times)


async def test_names_without_an_answer_delay_nothing_else(tmp_path):
    async with running(tmp_path) as (server, lb, operator):
        logged, weight = 0, 1

        async def log_line():
            nonlocal logged
            logged += 1
            assert await ask(lb.port) == b"a\n"
            await lb.event("connection.closed", count=logged)

        async def reload():
            nonlocal weight
            weight += 1
            assert (await lb.reload(text(server, weight=weight)))["event"] == "config.applied"

        async def drain():
            await operator.do("s1.silent.test:80", "drain", pool="named")

        assert await usual(operator.metrics) < 1
        assert await usual(log_line) < 1
        assert await usual(reload) < 2
        assert await usual(drain) < 0.5
        assert (await operator.server("a"))["state"] == "up"
        assert not lb.of("backend.ejected", pool="web")


async def test_a_listener_whose_name_has_no_answer_delays_no_traffic_and_is_called_off(tmp_path):
    async with running(tmp_path) as (server, lb, _operator):
        lb.config_file.write_text(text(server, bind="new.silent.test:0"))
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            slowest = 0.0

            async def sessions():
                nonlocal slowest
                while True:
                    before = trio.current_time()
                    assert await ask(lb.port) == b"a\n"
                    slowest = max(slowest, trio.current_time() - before)
                    await trio.sleep(PAUSE)

            nursery.start_soon(sessions)
            rejected = await lb.reload(text(server, bind="new.silent.test:0"))
            nursery.cancel_scope.cancel()
        assert rejected["errors"] == ["cannot listen on new.silent.test:0: no answer in 5 s"]
        assert slowest < 2
        assert trio.current_time() - begin < PATIENCE


async def test_a_stop_waits_for_no_name(tmp_path):
    async with running(tmp_path) as (_server, lb, _operator):
        begin = trio.current_time()
        assert await lb.stop() == 0
        assert trio.current_time() - begin < 4
