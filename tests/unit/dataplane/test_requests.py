"""Counters of requests: classes, histograms, sums over processes, bounds."""

from __future__ import annotations

import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lb.dataplane.stats
from lb.dataplane.requests import REQUEST_BOUNDS, STATUS_CLASSES, Durations
from lb.dataplane.stats import Counters, StatsSnapshot
from lb.events import Attempt, FailedResponse, HttpConnectionClosed, UnloggedRequest
from tests.unit.dataplane.test_stats import record
from tests.unit.log.test_request_line import request

REQUESTS = st.builds(
    request,
    listener=st.sampled_from(["www", "api"]),
    route=st.sampled_from(["", "videos", "all"]),
    status=st.none() | st.integers(100, 599),
    duration_ms=st.floats(0, 100_000),
    wait_ms=st.none() | st.floats(0, 100_000),
    pool=st.sampled_from(["", "p", "q"]),
)
REFUSED = Attempt("a", "connection refused", 0.2)
RESET = FailedResponse("b", "connection reset", 0.2)


def counted(requests):
    figures = Counters()
    for each in requests:
        figures.note_request(each)
    return figures


def exact(figures):
    """The counts without the sums of floats, which depend on the order."""
    return {
        key: (each.statuses, each.took.buckets, each.first_byte.buckets) for key, each in figures.requests.items()
    }, figures.request_retries


@given(st.lists(REQUESTS), st.lists(REQUESTS))
def test_what_two_processes_count_adds_up_to_what_one_would(some, others):
    sent = pickle.loads(pickle.dumps(StatsSnapshot(counted(others))))
    total = StatsSnapshot.sum([StatsSnapshot(counted(some)), sent]).figures
    alone = counted([*some, *others])
    assert exact(total) == exact(alone)
    for key, each in total.requests.items():
        assert each.took.seconds == pytest.approx(alone.requests[key].took.seconds)


@given(st.lists(REQUESTS))
def test_each_request_counts_once(requests):
    figures = counted(requests)
    assert sum(each.total for each in figures.requests.values()) == len(requests)
    assert sum(each.took.count for each in figures.requests.values()) == len(requests)
    answered = [each for each in requests if each.wait_ms is not None]
    assert sum(each.first_byte.count for each in figures.requests.values()) == len(answered)


@given(st.lists(REQUESTS), st.lists(REQUESTS))
def test_what_came_since_is_what_came(before, later):
    figures = counted(before)
    earlier = StatsSnapshot.sum([StatsSnapshot(figures)]).figures
    for each in later:
        figures.note_request(each)
    since = {
        key: each.since(earlier.requests[key]) if key in earlier.requests else each
        for key, each in figures.requests.items()
    }
    expected = counted(later)
    assert {key: each.statuses for key, each in since.items() if each.total} == {
        key: each.statuses for key, each in expected.requests.items()
    }
    assert {key: each.took.buckets for key, each in since.items() if each.total} == {
        key: each.took.buckets for key, each in expected.requests.items()
    }


@pytest.mark.parametrize(
    ("status", "name"), [(None, "none"), (101, "1xx"), (200, "2xx"), (304, "3xx"), (499, "4xx"), (599, "5xx")]
)
def test_a_status_counts_in_its_class(status, name):
    (requests,) = counted([request(status=status)]).requests.values()
    assert dict(zip(STATUS_CLASSES, requests.statuses, strict=True)) == dict.fromkeys(STATUS_CLASSES, 0) | {name: 1}


def test_a_time_counts_below_the_bound_that_it_equals():
    times = [bound * 1000 for bound in REQUEST_BOUNDS] + [9e9]
    (requests,) = counted([request(duration_ms=each, wait_ms=each) for each in times]).requests.values()
    assert requests.took.buckets == requests.first_byte.buckets == [1] * (len(REQUEST_BOUNDS) + 1)


def test_a_retry_is_each_further_attempt():
    figures = counted(
        [
            request(pool="p", attempts=(REFUSED, RESET)),
            request(pool="p", attempts=(REFUSED, REFUSED), server=None),
            request(pool="p"),
            request(pool="q"),
            request(pool="", server=None),
        ]
    )
    assert figures.request_retries == {"p": 2 + 1, "q": 0}


def test_only_connects_that_failed_are_failed_connects():
    figures = counted([request(pool="p", attempts=(REFUSED, RESET, RESET))])
    assert figures.failed_connects == {("p", "a"): 1}


def test_a_connect_for_a_request_counts_as_one_of_its_pool():
    figures = Counters()
    figures.note(record(pool="p", connect_ms=3.0))
    figures.note_connect("p", 3.0)
    figures.note_connect("q", 7.0)
    assert {pool: (sum(each.buckets), each.seconds) for pool, each in figures.connects.items()} == {
        "p": (2, 0.006), "q": (1, 0.007)
    }  # fmt: skip
    assert max(figures.connects["p"].buckets) == 2


def test_connections_and_requests_are_counted_logged_or_not():
    passed = []
    figures = Counters()
    observe = figures.observing(passed.append)
    closed = HttpConnectionClosed(*attrs.astuple(record(pool="", server=None, connect_ms=None), recurse=False))
    unlogged = UnloggedRequest(*attrs.astuple(request(), recurse=False))
    for event in (closed, request(), unlogged):
        observe(event)
    assert len(passed) == 3
    assert figures.connections == {("x", "", "", "eof"): 1}
    assert figures.connects == {}, "no pool without a name"
    assert [each.total for each in figures.requests.values()] == [2]


def test_ever_new_routes_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(lb.dataplane.stats, "MOST_SERIES", 3)

    def of_routes(numbers):
        return counted([request(route=str(number)) for number in numbers])

    figures = of_routes(range(10))
    assert len(figures.requests) == 4
    assert figures.requests["www", "(other)"].total == 7
    total = StatsSnapshot()
    for first in range(0, 100, 10):
        total.add(StatsSnapshot(of_routes(range(first, first + 10))))
    assert len(total.figures.requests) == 4
    assert sum(each.total for each in total.figures.requests.values()) == 100


def test_a_sum_does_not_change_with_what_it_was_made_of():
    figures = counted([request()])
    total = StatsSnapshot.sum([StatsSnapshot(figures)]).figures
    figures.note_request(request())
    assert [each.total for each in total.requests.values()] == [1]
    assert [each.took.count for each in total.requests.values()] == [1]


# Percentiles


def durations(*milliseconds):
    noted = Durations()
    for each in milliseconds:
        noted.note(each)
    return noted


def test_nothing_has_no_percentile():
    assert durations().quantile(0.5) is None


def test_a_percentile_lies_in_its_bucket():
    noted = durations(*[1.5] * 90, *[700] * 9, 15_000)
    assert 0.001 < noted.quantile(0.5) <= 0.002
    assert noted.quantile(0.9) == 0.002
    assert 0.5 < noted.quantile(0.99) <= 1.0
    assert 10 < noted.quantile(1) <= 20


def test_what_is_above_all_bounds_counts_as_the_last():
    assert durations(1e9).quantile(0.5) == REQUEST_BOUNDS[-1]


@given(st.lists(st.floats(0, 60_000), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_at_most_one_bucket_off(milliseconds, share):
    estimate = durations(*milliseconds).quantile(share)
    ordered = sorted(milliseconds)
    rank = share * len(ordered)
    exact = ordered[min(max(int(-(-rank // 1)) - 1, 0), len(ordered) - 1)] / 1000
    upper = next(bound for bound in REQUEST_BOUNDS if exact <= bound)
    lower = max((bound for bound in REQUEST_BOUNDS if bound < upper), default=0.0)
    assert lower <= estimate <= upper


# What is there at a moment


def test_what_a_process_had_at_a_moment_ends_with_it():
    """A worker that died with kept connections left them in the sum for ever."""
    snapshot = StatsSnapshot(counted([request()]), {"www": 3}, {("p", "a"): 2}, 5, {"p": 7})
    total = StatsSnapshot.sum([snapshot.totals(), snapshot])
    assert (total.handshakes_waiting, total.kept_connections) == (5, {"p": 7})
    assert (total.accepted, total.leased) == ({"www": 6}, {("p", "a"): 4})
    assert [each.total for each in total.figures.requests.values()] == [2]


def test_kept_connections_of_processes_add_up():
    total = StatsSnapshot.sum([StatsSnapshot(kept_connections={"p": 1}), StatsSnapshot(kept_connections={"p": 2})])
    assert total.kept_connections == {"p": 3}


def test_of_the_descriptors_the_process_with_the_fewest_left_counts_while_it_lives():
    busy, calm = StatsSnapshot(descriptors_used=0.9), StatsSnapshot(descriptors_used=0.1)
    assert StatsSnapshot.sum([calm, busy, calm]).descriptors_used == 0.9
    assert StatsSnapshot.sum([busy.totals(), calm]).descriptors_used == 0.1
