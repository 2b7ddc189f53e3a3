"""Outlier detection by medians, with enough servers and enough samples."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model import OutlierSpec, PoolSpec
from lb.model.timing import Histogram
from lb.pools.backend import new_backend
from lb.pools.outlier_detection import ejections_left, judge, measure
from tests.support.pooling import servers

SPEC = OutlierSpec()


def timings(measure="connect", samples=20, **seconds):
    told = {}
    for server, each in seconds.items():
        told[server] = {measure: Histogram()}
        for _ in range(samples):
            told[server][measure].add(each)
    return told


def slow(told, most=9, **options):
    return [verdict.server for verdict in judge(told, attrs.evolve(SPEC, **options), most)]


def test_a_server_that_is_so_many_times_slower_is_found_and_told_with_its_figures():
    (verdict,) = judge(timings(a=0.004, b=0.004, c=0.048), SPEC, 1)
    assert verdict.server == "c"
    assert verdict.factor == pytest.approx(12, rel=0.1)
    assert verdict.reason == "connect 48 ms, 12 times the pool's median of 4 ms"


def test_the_first_byte_is_another_measure():
    told = timings("first byte", a=0.06, b=0.06, c=2.0)
    assert judge(told, SPEC, 1)[0].reason == "first byte 2022 ms, 33 times the pool's median of 61 ms"


def test_who_is_slow_in_two_ways_is_told_of_the_worse():
    told = timings(a=0.01, b=0.01, c=0.1)
    for server, spreads in timings("first byte", a=0.01, b=0.01, c=0.5).items():
        told[server] |= spreads
    (verdict,) = judge(told, SPEC, 9)
    assert verdict.reason.startswith("first byte")


@pytest.mark.parametrize(
    ("seconds", "options", "found"),
    [
        ({"a": 0.01, "b": 0.01, "c": 0.029}, {}, []),
        ({"a": 0.01, "b": 0.01, "c": 0.035}, {}, ["c"]),
        ({"a": 0.01, "b": 0.01, "c": 0.035}, {"factor": 4}, []),
        ({"a": 0.0001, "b": 0.0001, "c": 0.005}, {}, []),
        ({"a": 0.0001, "b": 0.0001, "c": 0.005}, {"min_difference": 0.001}, ["c"]),
        ({"a": 0.01, "b": 1.0}, {}, []),
        ({"a": 0.01, "b": 0.01, "c": 1.0}, {"min_servers": 4}, []),
        ({"a": 0.01, "b": 0.01, "c": 1.0}, {"min_samples": 21}, []),
        ({"a": 0.01, "b": 0.01, "c": 0.01, "d": 0.5, "e": 1.0}, {}, ["e", "d"]),
        ({"a": 0.01, "b": 0.01, "c": 1.0, "d": 1.0}, {}, []),
    ],
)
def test_what_is_slow(seconds, options, found):
    assert slow(timings(**seconds), **options) == found


def test_no_more_go_than_may_and_the_slowest_first():
    told = timings(a=0.01, b=0.01, c=0.01, d=0.5, e=1.0)
    assert slow(told, most=1) == ["e"]
    assert slow(told, most=0) == slow(told, most=-1) == []


def test_a_server_with_few_connections_is_not_looked_at_and_nobody_is_compared_with_it():
    told = timings(a=0.01, b=0.01, c=0.01) | timings(samples=19, d=5.0)
    assert slow(told) == []
    assert slow(timings(a=0.01, b=1.0) | timings(samples=19, d=0.01)) == []


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(1e-6, 10.0), max_size=8), st.integers(2, 10))
def test_never_more_than_a_half_is_slow_and_the_fastest_never_is(seconds, factor):
    found = slow(timings(samples=3, **seconds), min_samples=3, factor=factor)
    assert 2 * len(found) <= len(seconds)
    assert not found or min(seconds, key=seconds.get) not in found


@pytest.mark.parametrize(
    ("names", "out", "percent", "most"),
    [
        ("abcdefghij", "", 20, 2),
        ("abcdefghij", "a", 20, 1),
        ("abcdefghij", "ab", 20, 0),
        ("abcdefghij", "abc", 20, -1),
        ("abc", "", 20, 1),
        ("abc", "a", 20, 0),
        ("abc", "", 0, 1),
    ],
)
def test_how_many_may_go_depends_on_who_is_out_already(names, out, percent, most):
    pool = PoolSpec("web", servers(names))
    backends = [new_backend(pool, server, 0.0) for server in [*pool.servers, *servers("z", weight=0)]]
    for backend in backends:
        if backend.name in out:
            for _ in range(3):
                backend.health.connect_failed("refused", 0.0)
    assert ejections_left(backends, attrs.evolve(SPEC, max_ejected_percent=percent)) == most


def test_measuring_begins_goes_on_and_ends_with_the_configuration():
    (backend,) = backends = [new_backend(PoolSpec("web"), *servers("a"), 0.0)]
    measure(backends, None)
    assert backend.timing is None
    measure(backends, SPEC)
    begun = backend.timing
    assert begun.first_byte is not None
    measure(backends, attrs.evolve(SPEC, factor=9))
    assert backend.timing is begun
    measure(backends, attrs.evolve(SPEC, first_byte=False))
    assert backend.timing.first_byte is None
    measure(backends, None)
    assert backend.timing is None
