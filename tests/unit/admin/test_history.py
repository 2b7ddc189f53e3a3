"""The history of pools: an hour of points, and the last changes of servers."""

from __future__ import annotations

from types import SimpleNamespace

import trio
from hypothesis import given
from hypothesis import strategies as st

from lb.admin.history import MAX_REASON, History
from lb.admin.pool_history import CHANGES_KEPT, COUNTS, POINTS, RATES, STEP, PoolHistory
from lb.dataplane.stats import Counters, StatsSnapshot
from lb.events import BackendAdvised, BackendEjected, BackendOverridden, BackendRestored, CheckWarning
from lb.net.cooperate import WORK_TURN, done_at_once
from tests.support.pooling import Harness, server, servers

SERIES = {*COUNTS, *RATES}
FROM = 1_000_000  # a number of a point


def values(number):
    return dict.fromkeys(SERIES, number)


@given(st.lists(st.integers(1, 2 * POINTS), max_size=8), st.integers(0, 2 * POINTS))
def test_a_point_stays_for_an_hour_and_gaps_are_empty(gaps, since):
    history, put, slot = PoolHistory(), {}, FROM
    for number, gap in enumerate(gaps):
        slot += gap
        history.put(slot, values(number))
        put[slot] = number
    until = slot + since
    expected = [put.get(each) for each in range(until - POINTS + 1, until + 1)]
    assert history.points(until) == dict.fromkeys(SERIES, expected)


@given(st.floats(0, 1e6, width=32), st.integers(0, 2**24))
def test_counts_are_whole_and_rates_are_in_thousandths(rate, count):
    history = PoolHistory()
    history.put(FROM, {**values(rate), **dict.fromkeys(COUNTS, count)})
    points = history.points(FROM)
    assert [points[name][-1] for name in COUNTS] == [count] * len(COUNTS)
    assert [points[name][-1] for name in RATES] == [round(rate, 3)] * len(RATES)


def taken(history, now, pools, leased=(), failed=()):
    figures = Counters(failed_connects=dict(failed))
    done_at_once(history.sample(now, now, pools, StatsSnapshot(figures, leased=dict(leased))))


def last(history, pool):
    """Return the last point."""
    return {name: series[-1] for name, series in history.document(pool)["points"].items()}


def test_servers_are_counted_by_state():
    harness = Harness(*servers("abcd"), server("e", weight=0))
    harness.check("b", passed=False, times=3)
    backend = harness.pick()
    assert backend.name == "a"
    for _ in range(harness.options.get("failures", 3)):
        harness.pool.connect_failed(harness["c"], "refused", 0.0)
    states = {each.name: each.state for each in harness.pool.backends.values()}
    assert states == {"a": "up", "b": "down", "c": "ejected", "d": "up", "e": "draining"}
    history = History(lambda pool, server: "up")
    taken(history, 1000.0, {"web": harness.pool})
    found = last(history, "web")
    assert found == {"up": 2, "down": 2, "draining": 1, "active": 1, "per_second": None, "failed_per_second": None}


def test_rates_are_of_the_time_since_the_last_sample():
    pools = {"web": Harness(*servers("ab")).pool, "db": Harness(*servers("a")).pool}
    history = History(lambda pool, server: "up")
    taken(history, 1000.0, pools, {("web", "a"): 700})
    grown = {("web", "a"): 800, ("web", "b"): 50, ("db", "a"): 10}
    taken(history, 1020.0, pools, grown, {("web", "b"): 5})
    assert (last(history, "web")["per_second"], last(history, "db")["per_second"]) == (7.5, 0.5)
    assert last(history, "web")["failed_per_second"] == 0.25


def test_a_server_that_goes_or_comes_back_takes_nothing_away():
    pools = {"web": Harness(*servers("ab")).pool}
    history = History(lambda pool, server: "up")
    taken(history, 1000.0, pools, {("web", "a"): 700, ("web", "b"): 300})
    taken(history, 1010.0, pools, {("web", "a"): 720})
    assert last(history, "web")["per_second"] == 2
    taken(history, 1020.0, pools, {("web", "a"): 720, ("web", "b"): 40})
    assert last(history, "web")["per_second"] == 4
    taken(history, 1030.0, pools, {("web", "a"): 10, ("web", "b"): 40})
    assert last(history, "web")["per_second"] == 1


def test_a_pool_that_is_removed_is_forgotten_and_a_new_one_begins():
    pool = Harness(*servers("ab")).pool
    history = History(lambda pool, server: "up")
    for number in range(3):
        taken(history, number * STEP, {"old": pool})
    history.note(BackendRestored("old", "a"), 0.0)
    taken(history, 3 * STEP, {"new": pool})
    assert history.document("old")["points"]["up"] == [None] * POINTS
    assert history.document("old")["changes"] == []
    assert history.document("new")["points"]["up"] == [*[None] * (POINTS - 1), 2]


def test_a_document_says_when_its_last_point_was_taken():
    history = History(lambda pool, server: "up")
    document = history.document("web")
    assert (document["step"], document["until"]) == (10.0, None)
    assert document["points"] == {name: [None] * POINTS for name in SERIES}
    taken(history, 100.0, {"web": Harness(*servers("a")).pool})
    assert history.document("web")["until"] == "1970-01-01T00:01:40.000+00:00"


def test_changes_have_the_state_at_that_moment_and_why():
    states = iter(("down", "up", "draining", "up", "up"))
    history = History(lambda pool, server: next(states))
    events = (
        BackendEjected("web", "a", "HTTP 503", "active"),
        BackendRestored("web", "a"),
        BackendOverridden("web", "b", True, 0),
        BackendOverridden("web", "b", False, 3),
        BackendAdvised("web", "a", 50, "ready"),
    )
    for at, event in enumerate(events):
        history.note(event, at)
    history(CheckWarning("web", "a", "the certificate ends"))
    changes = history.document("web")["changes"]
    assert [each["timestamp"][17:19] for each in changes] == ["00", "01", "02", "03", "04"]
    assert [(each["server"], each["state"], each["reason"]) for each in changes] == [
        ("a", "down", "HTTP 503"),
        ("a", "up", ""),
        ("b", "draining", "drained by an operator"),
        ("b", "up", "enabled by an operator, weight 3"),
        ("a", "up", "its agent check says ready, 50 %"),
    ]


def test_a_change_of_a_server_that_is_not_there_yet_is_not_noted():
    history = History(lambda pool, server: None)
    history(BackendOverridden("web", "b", True, 0))
    assert history.document("web")["changes"] == []


def test_changes_are_bounded_in_number_and_size():
    history = History(lambda pool, server: "down")
    for number in range(3 * CHANGES_KEPT):
        history(BackendEjected("web", str(number), "x" * 10_000, "active"))
    changes = history.document("web")["changes"]
    assert [each["server"] for each in changes] == [str(number) for number in range(2 * CHANGES_KEPT, 3 * CHANGES_KEPT)]
    assert max(len(each["reason"]) for each in changes) <= MAX_REASON


class Plane:
    """A data plane whose statistics take a while."""

    def __init__(self, takes):
        self.takes = takes
        self.asked = []

    async def stats(self):
        self.asked.append(trio.current_time())
        await trio.sleep(self.takes)
        return StatsSnapshot()


async def test_samples_are_taken_at_each_step_also_if_they_take_a_while(nursery, autojump_clock):
    plane = Plane(takes=STEP / 4)
    pool = Harness(*servers("a")).pool
    balancer = SimpleNamespace(data_plane=plane, shown_pools={"web": pool})
    history = History(lambda pool, server: "up")
    await trio.sleep(STEP / 2)
    nursery.start_soon(history.run, balancer)
    await trio.sleep(4 * STEP)
    assert plane.asked == [STEP / 2, STEP, 2 * STEP, 3 * STEP, 4 * STEP]
    assert history.document("web")["points"]["up"][-6:] == [None, 1, 1, 1, 1, 1]


async def test_who_begins_again_within_a_step_waits_for_the_next(nursery, autojump_clock):
    plane = Plane(takes=0)
    balancer = SimpleNamespace(data_plane=plane, shown_pools={})
    history = History(lambda pool, server: "up")
    for _ in range(2):
        with trio.move_on_after(STEP / 4):
            await history.run(balancer)
    assert plane.asked == [0]


def test_four_thousand_servers_are_counted_in_steps():
    """Between two steps there is one server, or one counter."""
    pool = Harness(*servers(str(number) for number in range(100))).pool
    leased = {("web", name): 1 for name in pool.backends}
    history = History(lambda pool, server: "up")
    steps = sum(1 for _ in history.sample(0.0, 0.0, {"web": pool, "more": pool}, StatsSnapshot(leased=leased)))
    assert steps == 300
    assert WORK_TURN < 0.001
