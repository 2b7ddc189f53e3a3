"""Surveys are shared by those who ask at the same time, and rest in between."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import trio

from lb.admin.surveyor import CORE_SHARE, FRESH, LONGEST_REST, RATE_OLDEST, Surveyor
from lb.dataplane.stats import StatsSnapshot
from lb.model.stream_status import MediaSnapshot
from lb.pools.pool import Pool
from tests.unit.admin.test_overview_list import pools


class Counted:
    """A balancer whose statistics are counted; each takes so many seconds of CPU."""

    def __init__(self):
        self.taken = 0
        self.leased = 0
        self.shown_pools: dict[str, Pool] = pools(web=["a"])
        self.data_plane = self

    async def stats(self):
        await trio.lowlevel.checkpoint()
        self.taken += 1
        return StatsSnapshot(leased={("web", "a"): self.leased})

    async def media_snapshot(self):
        return MediaSnapshot()

    def sources(self, _spec):
        return {}


@pytest.fixture
def cpu(monkeypatch):
    """The CPU time of a survey, in place of the clock of the thread; 0 at first."""
    each = SimpleNamespace(seconds=0.0, now=0.0)

    def read():
        each.now += each.seconds
        return each.now

    monkeypatch.setattr("lb.admin.surveyor.time", SimpleNamespace(thread_time=read, time=time.time))
    return each


async def test_those_who_ask_at_the_same_time_share_a_survey(nursery, autojump_clock, cpu):
    balancer = Counted()
    surveyor = Surveyor(balancer)
    found = []

    async def ask():
        found.append(await surveyor.survey(0))

    async with trio.open_nursery() as asking:
        for _ in range(20):
            asking.start_soon(ask)
    assert balancer.taken == 1
    assert len({id(each) for each in found}) == 1


async def test_a_survey_is_good_until_an_event_or_for_a_while(autojump_clock, cpu):
    balancer = Counted()
    surveyor = Surveyor(balancer)
    first = await surveyor.survey(0)
    await trio.sleep(FRESH / 2)
    assert await surveyor.survey(0) is first
    changed = await surveyor.survey(1)
    assert changed is not first
    assert await surveyor.survey(1) is changed
    await trio.sleep(FRESH * 1.1)
    assert await surveyor.survey(1) is not changed


@pytest.mark.parametrize("seconds", [0.01, 5.0])
async def test_surveys_rest_so_long_that_they_take_a_small_share_of_a_core(autojump_clock, cpu, seconds):
    balancer = Counted()
    surveyor = Surveyor(balancer)
    cpu.seconds = seconds
    await surveyor.survey(0)
    await trio.sleep(0.001)
    began = trio.current_time()
    await surveyor.survey(1)
    assert trio.current_time() - began == pytest.approx(min(seconds / CORE_SHARE - seconds, LONGEST_REST), abs=0.01)


async def test_the_rate_of_a_pool_is_that_of_the_last_seconds(autojump_clock, cpu):
    balancer = Counted()
    surveyor = Surveyor(balancer)
    rates = []
    for number in range(8):
        balancer.leased = 10 * number if number < 4 else 30
        rates.append((await surveyor.survey(number)).pools["web"].per_second)
        await trio.sleep(1)
    assert rates[:4] == [None, pytest.approx(10), pytest.approx(10), pytest.approx(10)]
    assert rates[-1] == pytest.approx(10 / 5)
    await trio.sleep(RATE_OLDEST)
    assert (await surveyor.survey(99)).pools["web"].per_second is None
