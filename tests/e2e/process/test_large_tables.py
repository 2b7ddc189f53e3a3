"""Large tables of hash pools: built beside the traffic, at a start too, and no operator waits for them."""

from __future__ import annotations

import signal

import pytest

from tests.support.balancer import ask, balancer, config
from tests.support.operating import ADMIN, operated
from tests.support.processes import cpu_seconds
from tests.support.servers import backends

pytestmark = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")

MAGLEV = 'strategy = { name = "consistent-hash", table = "maglev", size = 5_000_011 }'
LARGE = 'strategy = { name = "consistent-hash", table = "maglev", size = 300_007 }'
KETAMA = 'strategy = { name = "consistent-hash", table = "ketama" }'
HEAVY = "weight = 12800"  # of two servers: as many points as 100 servers of weight 256


@pytest.mark.parametrize(("strategy", "weight"), [(MAGLEV, ""), (KETAMA, HEAVY)], ids=["maglev", "ketama"])
async def test_a_start_does_not_wait_for_a_large_table(tmp_path, strategy, weight):
    """It took 14 s."""
    async with backends("a", "b") as servers:
        text = config(*((server, weight) for server in servers), pool=strategy, health=None)
        async with balancer(tmp_path, text) as lb:
            first = await ask(lb.port)
            assert cpu_seconds(lb.process.pid) < 3
            assert first in (b"a\n", b"b\n")
            assert await ask(lb.port) == first, "the same client has the same server"


@one_process_or_two
async def test_a_drain_does_not_wait_for_a_reload_that_builds_a_large_table(tmp_path):
    """It took 4 to 11 s. The reload keeps what was done meanwhile."""
    async with backends("a", "b") as servers, operated(tmp_path, config(*servers, top=ADMIN)) as (lb, operator):
        lb.config_file.write_text(config(*servers, top=ADMIN, pool=LARGE))
        lb.signal(signal.SIGHUP)
        assert (await operator.do("a", "drain"))["state"] == "draining"
        assert [await ask(lb.port) for _ in range(4)] == 4 * [b"b\n"]
        assert not lb.of("config.applied"), "the reload is over: nothing was tested"
        await lb.event("config.applied")
        assert [await ask(lb.port) for _ in range(4)] == 4 * [b"b\n"]
        await operator.do("a", "enable")
        await operator.do("b", "drain")
        await operator.until(lambda: ask(lb.port), lambda answer: answer == b"a\n")
        assert await lb.stop() == 0


@one_process_or_two
async def test_a_stop_waits_for_no_table(tmp_path):
    async with backends("a", "b") as servers, balancer(tmp_path, config(*servers)) as lb:
        lb.config_file.write_text(config(*servers, pool=LARGE))
        lb.signal(signal.SIGHUP)
        assert await ask(lb.port)
        assert await lb.stop() == 0
        assert not lb.of("config.applied")
