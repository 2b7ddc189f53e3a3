"""Slow start, end to end: few connections at first, an equal share later."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer, config
from tests.support.servers import backends, serving

pytestmark = pytest.mark.slow
STRATEGIES = ["weighted", "least-conn", "random-two"]


def pool(strategy, slow_start):
    return f'strategy = "{strategy}"\nslow_start = "{slow_start}"'


async def answers(lb, count=120):
    """Run ``count`` sessions, four at a time. Return the servers that answered."""
    served = Counter()

    async def clients():
        for _ in range(count // 4):
            served[(await ask(lb.port)).decode().strip()] += 1

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(clients)
    return served


async def until_even(lb, name):
    """Wait until this server has its full share."""
    with trio.fail_after(PATIENCE):
        while (await answers(lb))[name] < 24:
            pass


@pytest.mark.usefixtures("balancer_kind")
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_server_new_in_the_configuration_gets_little_at_first(tmp_path, strategy):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        serving(name="c") as c,
        balancer(tmp_path, config(a, b, pool=pool(strategy, "10m"), health=None)) as lb,
    ):
        assert (await answers(lb))["b"] > 30, "no slow start when the balancer starts"
        await lb.reload(config(a, b, c, pool=pool(strategy, "10m"), health=None))
        assert (await answers(lb))["c"] <= 4
        await lb.reload(config(a, b, c, pool=pool(strategy, "1s"), health=None))
        await until_even(lb, "c")
        await lb.reload(config(a, b, c, pool=pool(strategy, "0"), health=None))
        assert (await answers(lb))["c"] > 20


@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_server_that_is_restored_gets_little_at_first(tmp_path, strategy):
    async with backends("a", "b") as (a, b), balancer(tmp_path, config(a, b, pool=pool(strategy, "10m"))) as lb:
        await b.kill()
        await lb.event("backend.ejected", server="b")
        await b.start()
        await lb.known("backend.restored", server="b")
        assert (await answers(lb))["b"] <= 4
        await lb.reload(config(a, b, pool=pool(strategy, "1s")))
        await until_even(lb, "b")
