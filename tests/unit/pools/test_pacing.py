"""Pacing: the number of picks between two picks of one server."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from healthcheck.state import Health
from lb.model import HealthSpec, PassiveSpec
from lb.pools.backend import Backend
from lb.pools.slow_start import MOST_LATE, Pacing, gaps
from tests.support.pooling import server


def backend(name="a", *, ramp=1.0, weight=1):
    health = Health(HealthSpec(), PassiveSpec(), 0)
    return Backend(spec=server(name, weight=weight), health=health, ramp=ramp)


def test_a_server_has_as_many_picks_as_its_weight_and_its_ramp_are_of_all():
    members = [backend("a", weight=3), backend("b", weight=2, ramp=0.5), backend("c", ramp=0.25)]
    assert gaps(members) == {members[1]: 4.25, members[2]: 17}


@pytest.mark.parametrize("members", [[], [backend()], [backend(ramp=0.1), backend(ramp=0.1)]])
def test_nobody_is_paced_where_all_have_come_as_far(members):
    assert gaps(members) == {}


class Row:
    """Picks the first free server in ``eager``, else another server."""

    def __init__(self):
        self.told = []
        self.pacing = Pacing(self.told.append)

    def picks(self, count, *eager):
        chosen = Counter()
        for _ in range(count):
            self.pacing.free_those_due()
            one = next((each for each in eager if each not in self.pacing.held), None)
            chosen[one] += 1
            self.pacing.picked(one)
        return chosen


@given(st.lists(st.floats(1, 50), min_size=1, max_size=4))
def test_each_gets_one_pick_in_its_gap_if_there_are_enough(lengths):
    row = Row()
    paced = {backend(str(number)): length + len(lengths) for number, length in enumerate(lengths)}
    row.pacing.use(paced)
    assert row.pacing.held == paced.keys()
    chosen = row.picks(1000, *paced)
    for one, gap in paced.items():
        assert abs(chosen[one] - 1000 / gap) <= 2


def test_one_that_is_new_waits_for_a_whole_gap_and_for_less_as_the_gap_shrinks():
    row, one = Row(), backend()
    row.pacing.use({one: 100})
    assert row.picks(90, one)[one] == 0
    row.pacing.use({one: 50})
    assert not row.pacing.held
    assert row.told == [one, one]
    assert row.picks(1, one)[one] == 1


def test_who_was_passed_over_makes_up_for_it_up_to_a_limit():
    row, one = Row(), backend()
    row.pacing.use({one: 10})
    row.picks(1000)
    assert row.picks(MOST_LATE + 1, one)[one] == MOST_LATE + 1
    assert row.picks(5, one)[one] == 0


def test_who_is_freed_before_its_time_is_held_again_once_picked():
    row, one, other = Row(), backend("a"), backend("b")
    row.pacing.use({one: 10, other: 10})
    row.pacing.free_all()
    assert not row.pacing.held
    row.pacing.picked(one)
    assert row.pacing.held == {one}


def test_those_that_are_gone_are_forgotten():
    row, one, other = Row(), backend("a"), backend("b")
    row.pacing.use({one: 10, other: 10})
    told = len(row.told)
    row.pacing.keep([other])
    row.picks(30)
    row.pacing.use({})
    assert one not in row.told[told:]
    assert not row.pacing.held
