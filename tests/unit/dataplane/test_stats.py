"""Counters of finished connections."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

import lb.dataplane.stats
from lb.dataplane.stats import CONNECT_BOUNDS, Counters, StatsSnapshot
from lb.events import Attempt, ConfigRejected, ConnectionClosed
from lb.model.address import Client
from lb.model.connection import ConnectionFilter, LiveConnection

RECORDS = st.builds(
    ConnectionClosed,
    id=st.integers(1),
    listener=st.sampled_from(["x", "y"]),
    pool=st.sampled_from(["p", "q"]),
    server=st.none() | st.sampled_from(["a", "b"]),
    client=st.just(Client("10.0.0.1", 1)),
    attempts=st.lists(st.builds(Attempt, st.sampled_from("ab"), st.just("refused"), st.just(1.0)), max_size=3).map(
        tuple
    ),
    connect_ms=st.none() | st.floats(0, 10_000),
    duration_ms=st.just(1.0),
    bytes_in=st.integers(0, 10**12),
    bytes_out=st.integers(0, 10**12),
    ended_by=st.just("client"),
    reason=st.sampled_from(["eof", "reset", "no_server"]),
)


def counted(records):
    figures = Counters()
    for record in records:
        figures.note(record)
    return figures


@given(st.lists(RECORDS), st.lists(RECORDS))
def test_what_two_processes_count_adds_up_to_what_one_would(some, others):
    total = StatsSnapshot.sum(
        [StatsSnapshot(counted(some)), pickle.loads(pickle.dumps(StatsSnapshot(counted(others))))]
    ).figures
    alone = counted([*some, *others])
    assert (total.connections, total.failed_connects) == (alone.connections, alone.failed_connects)
    assert (total.bytes_in, total.bytes_out) == (alone.bytes_in, alone.bytes_out)
    assert {pool: each.buckets for pool, each in total.connects.items()} == {
        pool: each.buckets for pool, each in alone.connects.items()
    }


@given(st.lists(RECORDS))
def test_each_connection_counts_once_and_each_connect_falls_in_one_bucket(records):
    figures = counted(records)
    assert sum(figures.connections.values()) == len(records)
    connected = [record for record in records if record.connect_ms is not None]
    assert sum(sum(connects.buckets) for connects in figures.connects.values()) == len(connected)
    assert sum(figures.failed_connects.values()) == sum(len(record.attempts) for record in records)


def record(**fields):
    values = {
        "id": 1, "listener": "x", "pool": "p", "server": "a", "client": Client("10.0.0.1", 1), "attempts": (),
        "connect_ms": 1.0, "duration_ms": 1.0, "bytes_in": 0, "bytes_out": 0, "ended_by": "client", "reason": "eof",
    }  # fmt: skip
    return ConnectionClosed(**{**values, **fields})


def test_a_connect_counts_below_the_bound_that_it_equals():
    figures = counted([record(connect_ms=bound * 1000) for bound in CONNECT_BOUNDS] + [record(connect_ms=9e9)])
    assert figures.connects["p"].buckets == [1] * (len(CONNECT_BOUNDS) + 1)


def test_a_retry_is_each_further_server_tried():
    failed = Attempt("a", "refused", 1.0)
    figures = counted([record(attempts=(failed, failed)), record(attempts=(failed, failed), connect_ms=None), record()])
    assert figures.connects["p"].retries == 2 + 1


def test_ever_new_servers_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(lb.dataplane.stats, "MOST_SERIES", 3)
    figures = counted([record(server=str(number)) for number in range(10)])
    assert len(figures.connections) == 4
    assert figures.connections["x", "p", "(other)", "eof"] == 7


def test_servers_that_come_and_go_for_ever_count_as_others_where_they_fail_and_over_all_processes(monkeypatch):
    monkeypatch.setattr(lb.dataplane.stats, "MOST_SERIES", 3)

    def failing(numbers):
        return counted([record(server=None, attempts=(Attempt(str(each), "refused", 1.0),)) for each in numbers])

    figures = failing(range(10))
    assert len(figures.failed_connects) == 4
    assert figures.failed_connects["p", "(other)"] == 7
    total = StatsSnapshot()
    for first in range(0, 100, 10):
        total.add(StatsSnapshot(failing(range(first, first + 10))))
        total.add(StatsSnapshot(counted([record(server=str(each)) for each in range(first, first + 10)])))
    assert len(total.figures.failed_connects) == 4
    assert sum(total.figures.failed_connects.values()) == 100
    assert len(total.figures.connections) < 10
    assert sum(total.figures.connections.values()) == 200


def test_other_events_pass_uncounted():
    passed = []
    figures = Counters()
    observe = figures.observing(passed.append)
    for event in (ConfigRejected(("no",)), record()):
        observe(event)
    assert len(passed) == 2
    assert sum(figures.connections.values()) == 1


def live(**fields):
    values = {"id": 7, "listener": "x", "pool": "p", "server": "a", "client": "10.0.0.1:5", "state": "open"}
    return LiveConnection(**{**values, "duration_ms": 1.0, "bytes_in": 0, "bytes_out": 0, **fields})


def test_a_filter_wants_all_that_it_names():
    assert ConnectionFilter().fits(live(server=None))
    assert ConnectionFilter(id=7, listener="x", pool="p", server="a", client="10.0.").fits(live())
    for other in ({"id": 8}, {"listener": "y"}, {"pool": "q"}, {"server": "b"}, {"client": "10.1."}):
        assert not ConnectionFilter(**other).fits(live())
