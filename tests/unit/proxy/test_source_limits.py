"""Limits per source: open connections of all workers, and the rate of new ones."""

from __future__ import annotations

import ipaddress
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lb.proxy.source_limits import SKETCH, SourceLimits
from lb.workers.shared_counters import SharedCounters

ONE, OTHER = map(ipaddress.ip_address, ("10.1.2.3", "10.1.2.4"))
addresses = st.sampled_from([ONE, OTHER, ipaddress.ip_address("2001:db8::1")])


@pytest.fixture
def sources():
    return SourceLimits.of_process()


# Open connections


@given(st.lists(st.tuples(st.booleans(), addresses, st.integers(0, 1))))
def test_no_source_has_more_than_it_may_over_all_workers_and_all_that_is_left_is_free_again(steps):
    memory = memoryview(bytearray(SourceLimits.size(2)))
    workers = [SourceLimits(memory, 2, worker) for worker in (0, 1)]
    held = []
    for enters, address, worker in steps:
        cells = workers[worker].cells("web", address)
        if enters:
            count = sum(each == cells for each, _ in held)
            assert workers[worker].enter(cells, 3) == (count < 3)
            if count < 3:
                held.append((cells, worker))
        elif held:
            cells, owner = held.pop()
            workers[owner].leave(cells)
    for cells, worker in held:
        workers[worker].leave(cells)
    assert not any(any(counts) for counts in workers[0]._open)


def test_without_a_limit_all_are_counted(sources):
    cells = sources.cells("web", ONE)
    assert all(sources.enter(cells, 0) for _ in range(100))
    assert not sources.enter(cells, 100)
    sources.leave(cells)
    assert sources.enter(cells, 100)


def test_listeners_count_for_themselves(sources):
    assert sources.enter(sources.cells("web", ONE), 1)
    assert sources.enter(sources.cells("api", ONE), 1)
    assert not sources.enter(sources.cells("web", ONE), 1)


def test_all_addresses_below_64_bits_are_one_source(sources):
    one, same, other = map(ipaddress.ip_address, ("2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1"))
    assert sources.cells("web", one) == sources.cells("web", same) != sources.cells("web", other)


def test_the_count_is_never_too_small_and_hardly_ever_too_large(sources):
    """10,000 sources, as in the module docstring."""
    clients = [ipaddress.ip_address(0x0A000000 + number) for number in range(10_000)]
    assert all(sources.enter(sources.cells("web", client), 0) for client in clients)
    shared = sum(not sources.enter(sources.cells("web", client), 2) for client in clients)
    assert shared < 40, "4 are expected"


def test_who_shares_a_cell_with_whom_differs_from_start_to_start():
    assert SourceLimits.of_process().cells("web", ONE) != SourceLimits.of_process().cells("web", ONE)


def test_the_rows_are_apart(sources):
    cells = Counter(cell // (SKETCH // 4) for cell in sources.cells("web", ONE))
    assert cells == {0: 1, 1: 1, 2: 1, 3: 1}


def test_workers_share_the_memory_of_the_board_and_a_dead_one_leaves_room():
    counters, fd = SharedCounters.create(2)
    first, second = counters.sources(0), SharedCounters.shared(fd, 2).sources(1)
    cells = first.cells("web", ONE)
    assert second.cells("web", ONE) == cells
    assert first.enter(cells, 2)
    assert second.enter(cells, 2)
    assert not second.enter(cells, 2)
    counters.forget(0, ())
    assert second.enter(cells, 2)
    assert not first.enter(cells, 2)
    counters.next_id(0)
    assert counters.holders() == []


# Connection rate


@given(st.integers(1, 1000), st.floats(0, 1e6))
def test_as_many_as_the_rate_may_come_at_once_then_one_each_interval(rate, now):
    sources = SourceLimits(memoryview(bytearray(SourceLimits.size(1))), 1, 0)
    cells = sources.cells("web", ONE)
    assert [sources.within_rate(cells, rate, now) for _ in range(rate + 1)] == [True] * rate + [False]
    assert not sources.within_rate(cells, rate, now + 0.5 / rate)
    assert sources.within_rate(cells, rate, now + 1.01 / rate)
    assert not sources.within_rate(cells, rate, now + 1.01 / rate)
    assert [sources.within_rate(cells, rate, now + 2.1) for _ in range(rate + 1)] == [True] * rate + [False]


@given(st.integers(1, 20), st.lists(st.floats(0, 0.3), min_size=30))
def test_no_source_comes_faster_than_twice_its_rate_in_a_second_and_on_average_at_its_rate(rate, pauses):
    sources = SourceLimits(memoryview(bytearray(SourceLimits.size(1))), 1, 0)
    cells = sources.cells("web", ONE)
    now, came = 100.0, []
    for pause in pauses:
        now += pause
        if sources.within_rate(cells, rate, now):
            came.append(now)
    for begin in came:
        assert sum(begin <= at < begin + 1 for at in came) <= 2 * rate
    assert len(came) <= rate * (now - 100.0) + rate + 1e-3


def test_another_source_is_not_slowed_down(sources):
    cells, other = sources.cells("web", ONE), sources.cells("web", OTHER)
    assert [sources.within_rate(cells, 1, 5.0) for _ in range(2)] == [True, False]
    assert sources.within_rate(other, 1, 5.0)


def test_workers_see_the_rate_of_each_other():
    memory = memoryview(bytearray(SourceLimits.size(2)))
    first, second = (SourceLimits(memory, 2, worker) for worker in (0, 1))
    cells = first.cells("web", ONE)
    assert first.within_rate(cells, 2, 5.0)
    assert second.within_rate(cells, 2, 5.0)
    assert not first.within_rate(cells, 2, 5.0)
