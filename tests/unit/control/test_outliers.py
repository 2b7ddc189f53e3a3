"""The outlier detection task: when it runs, and what it does. Uses a fake data plane."""

import pytest
import trio

from lb.control.outliers import Outliers
from lb.events import BackendEjected, BackendSlow
from lb.model import OutlierSpec
from tests.support.pooling import Harness, servers
from tests.unit.pools.test_outlier_detection import timings

SLOW_C = {"a": 0.01, "b": 0.01, "c": 0.5}
REASON = "connect 505 ms, 50 times the pool's median of 10 ms"


class DataPlane:
    """Returns the same measurements each time."""

    def __init__(self, clock):
        self.clock, self.begun = clock, clock()
        self.seconds = SLOW_C
        self.asked = []

    async def timings(self, pool):
        assert pool == "web"
        self.asked.append(self.clock() - self.begun)
        return timings(**self.seconds)


@pytest.fixture
async def world(nursery):
    world = Harness(*servers("abc"), outlier=OutlierSpec(interval=10.0))
    world.data_plane = DataPlane(trio.current_time)
    world.outliers = Outliers(nursery, world.events.append, world.data_plane)
    world.keep = lambda: world.outliers.keep({"web": world.pool})
    world.keep()
    return world


async def test_a_slow_server_is_ejected_at_the_end_of_an_interval(world, autojump_clock):
    await trio.sleep(9.9)
    assert world["c"].health.serving
    await trio.sleep(0.2)
    assert world.of(BackendEjected) == [BackendEjected("web", "c", REASON, "outlier")]
    assert world["c"].health.deadline == pytest.approx(world.data_plane.begun + 40.0)
    assert world.picks(6) == {"a": 3, "b": 3}


async def test_who_is_out_is_not_judged_again_until_it_is_back(world, autojump_clock):
    await trio.sleep(35)
    assert len(world.of(BackendEjected)) == 1
    world.pool.expire(world["c"], trio.current_time() + 10)
    await trio.sleep(10)
    assert len(world.of(BackendEjected)) == 2


async def test_who_went_down_since_is_not_ejected(world, autojump_clock):
    await trio.sleep(5)
    world.check("c", passed=False, times=3)
    await trio.sleep(6)
    assert world["c"].health.state == "down"


async def test_a_dry_run_says_it_once_for_as_long_as_it_is_so_and_ejects_nobody(world, autojump_clock):
    world.reload(*servers("abc"), outlier=OutlierSpec(interval=10.0, dry_run=True))
    world.keep()
    await trio.sleep(45)
    assert world.of(BackendSlow) == [BackendSlow("web", "c", REASON)]
    assert world["c"].health.serving
    world.data_plane.seconds = {**SLOW_C, "c": 0.01}
    await trio.sleep(10)
    world.data_plane.seconds = SLOW_C
    await trio.sleep(10)
    assert len(world.of(BackendSlow)) == 2
    assert not world.of(BackendEjected)


async def test_a_reload_changes_the_rules_or_ends_the_looking(world, autojump_clock):
    await trio.sleep(5)
    world.reload(*servers("abc"), outlier=OutlierSpec(interval=20.0, factor=100))
    world.keep()
    await trio.sleep(12)
    world.reload(*servers("abcd"))  # one more server, same settings
    world.keep()
    await trio.sleep(12)
    assert world.data_plane.asked == pytest.approx([25.0])
    world.reload(*servers("abc"), outlier=None)
    world.keep()
    await trio.sleep(100)
    assert len(world.data_plane.asked) == 1
    assert not world.of(BackendEjected)
    world.reload(*servers("abc"), outlier=OutlierSpec(interval=10.0))
    world.keep()
    await trio.sleep(10.1)
    assert len(world.of(BackendEjected)) == 1


async def test_a_server_that_left_while_the_workers_were_asked_is_no_matter(world, autojump_clock):
    async def timings_after_a_reload(pool):
        world.reload(*servers("ab"))
        return timings(**SLOW_C)

    world.data_plane.timings = timings_after_a_reload
    await trio.sleep(11)
    assert not world.of(BackendEjected)


async def test_a_pool_that_is_gone_is_not_looked_at(world, autojump_clock):
    world.outliers.keep({})
    await trio.sleep(100)
    assert world.data_plane.asked == []
