"""When announced addresses stand: the rule, over histories of what is in the way."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from lb.announce.rule import AnnounceRule

POOLS = st.sets(st.sampled_from(["web", "db"]), max_size=2).map(sorted)
STEPS = st.lists(st.tuples(st.floats(0, 5), POOLS, POOLS), max_size=30)


def test_the_addresses_stand_after_the_rise_and_go_at_once():
    rule = AnnounceRule(1.0)
    assert not rule.decide([], [], 10.0)
    assert rule.due == 11.0
    assert not rule.decide([], [], 10.9)
    assert rule.decide([], [], 11.0)
    assert rule.due == math.inf
    assert not rule.decide(["web"], [], 11.1)
    assert not rule.decide([], [], 11.2)
    assert rule.due == 12.2, "the rise begins anew"


def test_a_server_without_a_check_keeps_them_from_standing_and_never_takes_them_away():
    rule = AnnounceRule(0.0)
    assert not rule.decide([], ["web"], 0.0)
    assert rule.due == math.inf
    assert rule.decide([], [], 1.0)
    assert rule.decide([], ["added by a reload"], 2.0)
    assert not rule.decide(["added by a reload"], ["added by a reload"], 3.0)
    assert not rule.decide([], ["added by a reload"], 4.0)


def test_what_stood_before_an_upgrade_stands_on():
    assert AnnounceRule(1.0, stands=True).decide([], ["web"], 0.0)
    assert not AnnounceRule(1.0, stands=True).decide(["web"], [], 0.0)


@given(rise=st.floats(0, 5), steps=STEPS, stands=st.booleans())
def test_histories(rise, steps, stands):
    rule, now, clear_since = AnnounceRule(rise, stands=stands), 0.0, None
    for seconds, out, unproven in steps:
        now += seconds
        before, due = rule.stands, rule.due
        after = rule.decide(out, unproven, now)
        if out or (unproven and not before):
            clear_since = None
            assert not after, "gone at once"
        elif not before:
            clear_since = now if clear_since is None else clear_since
            assert after == (now >= clear_since + rise)
            assert after or now < rule.due == clear_since + rise
            assert math.isinf(due) or after == (now >= due), "it was due when it said"
        else:
            assert after, "nothing but a pool out of service takes them away"
