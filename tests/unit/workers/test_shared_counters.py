"""Counters in shared memory, and the assignment of slots."""

from __future__ import annotations

import os
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lb.workers.shared_counters import SharedCounters, assign

WORKERS = 3
SLOTS = 4
workers = st.integers(0, WORKERS - 1)
slots = st.integers(0, SLOTS - 1)


# Counters


@given(st.lists(st.tuples(st.sampled_from(["add", "forget", "id"]), workers, slots, st.integers(-5, 5))))
def test_each_worker_counts_for_itself_and_all_see_the_sum(steps):
    counters = SharedCounters(bytearray(SharedCounters.size(WORKERS)), WORKERS)
    counted, ids = Counter(), []
    for step, worker, slot, number in steps:
        if step == "add":
            counters.count(slot, worker).add(number)
            counted[slot, worker] += number
        elif step == "id":
            ids.append(counters.next_id(worker))
        else:
            counters.forget(worker, range(SLOTS))
            for each in range(SLOTS):
                counted[each, worker] = 0
        for each in range(SLOTS):
            total = sum(counted[each, column] for column in range(WORKERS))
            assert counters.total(each) == counters.count(each).total == total
        for column in range(WORKERS):
            assert counters.of_worker(column, range(SLOTS)) == sum(counted[each, column] for each in range(SLOTS))
    assert len(ids) == len(set(ids))
    assert all(number > 0 for number in ids)


def test_the_death_of_a_worker_takes_its_counts_and_leaves_its_numbers():
    counters = SharedCounters(bytearray(SharedCounters.size(2)), 2)
    counters.count(0, 0).add(3)
    counters.count(0, 1).add(4)
    before = [counters.next_id(0), counters.next_id(0)]
    for worker in (0, 1):
        counters.hold(worker, holding=True)
    counters.forget(0, [0])
    assert (counters.total(0), counters.holders()) == (4, [1])
    assert counters.next_id(0) > max(before)


def test_processes_that_map_the_same_memory_see_each_other():
    ours, fd = SharedCounters.create(2)
    theirs = SharedCounters.shared(fd, 2)
    os.close(fd)
    theirs.count(7, 1).add(2)
    theirs.beat(1)
    theirs.hold(1, holding=True)
    assert (ours.total(7), ours.heartbeats(1), ours.heartbeats(0), ours.holders()) == (2, 1, 0, [1])
    assert {ours.next_id(0), theirs.next_id(0), ours.next_id(1), theirs.next_id(1)} == {1, 2, 3, 4}
    ours.hold(1, holding=False)
    assert theirs.holders() == []


# Slots

names = st.sets(st.sampled_from("abcdefgh"))


@given(st.lists(st.tuples(names, names)), st.data())
def test_slots_are_kept_and_no_two_names_have_one(steps, data):
    """Each step is a set of wanted names and the set of names with open connections."""
    before, in_use = {}, set()
    for wanted, busy in steps:
        counts = {slot for name, slot in before.items() if name in busy}
        commits = data.draw(st.booleans())
        after = assign(before, in_use, wanted, counts.__contains__, most=8)
        assert after.keys() >= wanted
        assert len(set(after.values())) == len(after)
        assert set(after.values()) <= set(range(8))
        for name, slot in before.items():
            if name in wanted or name in in_use or slot in counts:
                assert after[name] == slot, "the slot is in use"
            else:
                assert name not in after
        if commits:  # else the change was rejected
            before, in_use = after, set(wanted)


def test_more_names_than_slots_are_refused():
    with pytest.raises(ValueError, match="more than 2 listeners and servers"):
        assign({"a": 0}, ["a"], ["b", "c"], lambda slot: 0, most=2)
    assert assign({"a": 0}, [], ["b", "c"], lambda slot: 0, most=2) == {"b": 0, "c": 1}
