"""How many bytes pass a token bucket, on an imagined clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.relay.token_bucket import BURST_SECONDS, LARGEST_PORTION, BandwidthLimit, TokenBucket

RATES = st.integers(1024, 10 * 1024**3)


@given(RATES, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 200_000)), max_size=100))
def test_never_more_passes_than_the_rate_and_one_burst(rate, steps):
    limit = BandwidthLimit(rate)
    bucket, now, passed, began = TokenBucket(limit, 100.0), 100.0, 0, 100.0
    for pause, wanted in steps:
        now += pause
        left = wanted
        while left and (available := bucket.available(now)) > 0:
            portion = min(left, available)
            bucket.take(portion)
            passed, left = passed + portion, left - portion
        assert passed <= (now - began + BURST_SECONDS) * rate + limit.portion


@given(RATES)
def test_who_always_wants_more_gets_the_rate(rate):
    limit = BandwidthLimit(rate)
    bucket, now, passed = TokenBucket(limit, 0.0), 0.0, 0
    while now < 3:
        wait = bucket.wait(limit.portion, now)
        if wait > 0:
            now += min(max(wait, 0.001), 3.001 - now)
            continue
        bucket.take(limit.portion)
        passed += limit.portion
    assert passed == pytest.approx(3 * rate, rel=0.05)


def test_a_portion_is_a_tenth_of_a_second_but_no_more_than_a_large_read():
    assert BandwidthLimit(10_240).portion == 1024
    assert BandwidthLimit(1024**3).portion == LARGEST_PORTION


def test_a_limit_that_is_taken_away_lets_everything_pass_and_one_that_is_lowered_holds_at_once():
    limit = BandwidthLimit(1000)
    bucket = TokenBucket(limit, 0.0)
    bucket.take(5000)
    assert bucket.wait(100, 0.0) == pytest.approx(5)
    limit.set(0)
    assert bucket.available(0.0) > 10**15
    assert bucket.wait(10**15, 0.0) == 0
    limit.set(100)
    assert bucket.wait(100, 0.0) == pytest.approx(50)
