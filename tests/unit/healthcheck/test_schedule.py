import bisect
import itertools
import random

import pytest

from healthcheck.schedule import first_delay, next_start, soon

SERVERS = [f"web/10.0.{n // 256}.{n % 256}:80" for n in range(1000)]


def starts_of(server, interval, until, took, rng):
    """Return the start times of a server's checks; each takes ``took(start)`` seconds."""
    now = first_delay(server, interval, rng)
    while now < until:
        yield now
        now = max(next_start(now, interval, rng), now + took(now))


def busiest_window(starts, width):
    """Return the largest number of starts in any window of that width."""
    starts = sorted(starts)
    return max(bisect.bisect_left(starts, start + width) - n for n, start in enumerate(starts))


@pytest.mark.parametrize(
    "took",
    [
        pytest.param(lambda start: 0.0, id="at once"),
        pytest.param(lambda start: 1.0, id="slow"),
        pytest.param(lambda start: 8.0 - start if 7.0 < start < 8.0 else 0.0, id="all stuck from 7 s to 8 s"),
    ],
)
def test_the_checks_of_1000_servers_never_burst(took):
    """An interval of 2 s means 50 starts per 100 ms on average; twice that would be a burst."""
    rng = random.Random(1)
    starts = [start for server in SERVERS for start in starts_of(server, 2.0, 60.0, took, rng)]
    assert len(starts) > 29_000
    assert busiest_window(starts, 0.1) < 100


def test_the_first_checks_cover_the_interval():
    rng = random.Random(1)
    delays = sorted(first_delay(server, 2.0, rng) for server in SERVERS)
    assert 0.0 <= delays[0] < 0.02
    assert 1.9 < delays[-1] <= 2.2
    assert max(later - earlier for earlier, later in itertools.pairwise(delays)) < 0.1


def test_a_server_keeps_its_place_in_the_interval():
    first = first_delay("web/a", 2.0, random.Random(1))
    assert first_delay("web/a", 2.0, random.Random(2)) == pytest.approx(first, rel=0.25)
    assert first_delay("web/b", 2.0, random.Random(1)) != pytest.approx(first, rel=0.25)


def test_balancers_that_start_together_drift_apart():
    """Two balancers with the same configuration are not in step an hour later."""
    one, other = (list(starts_of("web/a", 2.0, 3600.0, lambda start: 0.0, random.Random(seed))) for seed in (1, 2))
    assert abs(one[-100] - other[-100]) > 0.01


def test_checks_follow_each_other_at_the_interval_give_or_take_a_tenth():
    rng = random.Random(1)
    gaps = [next_start(100.0, 2.0, rng) - 100.0 for _ in range(1000)]
    assert 1.8 <= min(gaps) < 1.82
    assert 2.18 < max(gaps) <= 2.2


def test_servers_ejected_together_are_not_checked_together():
    rng = random.Random(1)
    starts = [soon(10.0, 0.5, rng) for _ in range(1000)]
    assert 10.0 <= min(starts) < max(starts) <= 10.5
    assert busiest_window(starts, 0.05) < 200
