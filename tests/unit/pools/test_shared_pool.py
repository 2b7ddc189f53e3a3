"""Pools of several workers with shared counts, in one process and without a clock: loads, limits, queues."""

from __future__ import annotations

import random
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from healthcheck.mirror import HealthStatus, MirroredHealth
from healthcheck.result import Advice
from lb.model import PluginSpec, PoolSpec
from lb.pools.backend import Backend
from lb.pools.shared_pool import SharedPool
from lb.workers.shared_counters import SharedCounters
from tests.support.pooling import BUILT_IN, CLIENT, server
from tests.support.strategy_driver import finish

WORKERS = 3
STEPS = ["pick"] * 4 + ["hold"] * 2 + ["release"] * 2 + ["look"]


class Nudged:
    """Implements :class:`lb.pools.shared_pool.Holding` within one process."""

    def __init__(self, counters, index):
        self.counters = counters
        self.index = index
        self.others = []
        self.told = False

    def wait(self):
        self.counters.hold(self.index, holding=True)

    def tell(self):
        for other in self.others:
            if other is not self and other.index in self.counters.holders():
                other.told = True

    def again(self):
        self.told = True


class Held:
    """A queued connection that takes a server if one is available."""

    def __init__(self, process):
        self.process = process
        self.backend = None

    def server_available(self):
        self.backend = self.process.pool.pick(CLIENT, ())
        if self.backend is None:
            self.process.pool.wait(self)


class Process:
    """The pool of one of several workers."""

    def __init__(self, counters, index, spec, statuses=None):
        self.leases = []
        self.held = []
        self.holding = Nudged(counters, index)

        def new_backend(_pool, spec_, now):
            status = (statuses or {}).get(spec_.name, HealthStatus())
            health = MirroredHealth(status, now, lambda what, error: None, lambda what: None)
            slot = [each.name for each in spec.servers].index(spec_.name)
            return Backend(spec=spec_, leases=counters.count(slot, index), health=health)

        self.pool = SharedPool(
            "web",
            pytest.fail,
            lambda pool, backend, change: None,
            new_backend,
            start=index / counters.workers,
            holding=self.holding,
            count_waiting=lambda: counters.count(len(spec.servers), index),
        )
        self.pool.apply(finish(self.pool.prepare(spec)), {}, 0.0)

    def pick(self):
        backend = self.pool.pick(CLIENT, ())
        if backend is not None:
            self.leases.append(backend)
        return backend

    @property
    def waiting(self):
        """Return the number of its queued connections."""
        return sum(held.backend is None for held in self.held)

    def look(self):
        """Do what a worker does on a wakeup."""
        if self.holding.told:
            self.holding.told = False
            self.pool.queue_has_room()
            for held in [held for held in self.held if held.backend]:
                self.held.remove(held)
                self.leases.append(held.backend)
            if not self.pool.holds:
                self.holding.counters.hold(self.holding.index, holding=False)


def processes(count, *specs, strategy="round-robin", queue=0):
    counters = SharedCounters(bytearray(SharedCounters.size(count)), count)
    spec = PoolSpec("web", specs, strategy=PluginSpec(strategy), queue=queue)
    made = [Process(counters, index, spec) for index in range(count)]
    for process in made:
        process.holding.others = [each.holding for each in made]
    return made


def pick_in_turn(process, full):
    """A pick gets a server if one has room, unless a queued connection gets it."""
    was_full, waiting = full(), process.waiting
    picked = process.pick()
    if was_full:
        assert picked is None
    elif picked is None:
        assert waiting, "no queued connection came first"
        assert full()
    assert not process.waiting or full()


@given(
    st.sampled_from(BUILT_IN),
    st.lists(st.integers(1, 2), min_size=1, max_size=6),
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, WORKERS - 1)), min_size=20, max_size=80),
    st.randoms(use_true_random=False),
)
def test_limits_hold_over_all_processes_and_nobody_waits_beside_a_free_server(strategy, limits, steps, rng):
    specs = [server(f"s{number}", max_connections=limit) for number, limit in enumerate(limits)]
    all_ = processes(WORKERS, *specs, strategy=strategy)
    backends = all_[0].pool.backends.values()

    def full():
        return all(
            backend.spec.max_connections and backend.active >= backend.spec.max_connections for backend in backends
        )

    for step, index in steps:
        process = all_[index]
        if step == "pick":
            pick_in_turn(process, full)
        elif step == "hold" and full():
            assert process.pick() is None
            process.held.append(held := Held(process))
            process.pool.wait(held)
        elif step == "release" and process.leases:
            process.pool.release(process.leases.pop(rng.randrange(len(process.leases))))
        elif step == "look":
            process.look()
        for backend in backends:
            held_leases = sum(
                [lease.name for lease in [*each.leases, *(held.backend for held in each.held if held.backend)]].count(
                    backend.name
                )
                for each in all_
            )
            assert backend.active == held_leases
            assert not backend.spec.max_connections or backend.active <= backend.spec.max_connections
    while any(process.holding.told for process in all_):
        for process in all_:
            process.look()
    waiting = sum(process.pool.holds for process in all_)
    assert not waiting or full()


@pytest.mark.parametrize("count", [2, 3])
def test_least_conn_is_even_over_processes(count):
    all_ = processes(count, *(server(name) for name in "abcd"), strategy="least-conn")
    rng = random.Random(1)
    for _ in range(400):
        rng.choice(all_).pick()
    loads = [backend.active for backend in all_[0].pool.backends.values()]
    assert sum(loads) == 400
    assert max(loads) - min(loads) <= count


@pytest.mark.parametrize("strategy", ["weighted", "round-robin"])
def test_turns_begin_elsewhere_in_each_process(strategy):
    all_ = processes(2, *(server(name) for name in "abcd"), strategy=strategy)
    assert [[process.pick().name for _ in range(4)] for process in all_] == [list("abcd"), list("cdab")]


def test_who_comes_does_not_overtake_those_who_wait_in_its_process():
    """Also if it is the first to see room freed by another process."""
    one, other = processes(2, server("a", max_connections=1))
    lease = one.pick()
    assert other.pick() is None
    other.held.append(held := Held(other))
    other.pool.wait(held)
    one.pool.release(lease)
    assert other.pick() is None
    assert held.backend.name == "a"


def test_all_processes_wait_in_one_queue_as_far_as_its_length_goes():
    one, other = processes(2, server("a", max_connections=1), queue=2)
    lease = one.pick()
    assert one.pool.may_queue(())
    first, second = Held(one), Held(other)
    one.pool.wait(first)
    one.pool.wait(first)
    other.pool.wait(second)
    assert not one.pool.may_queue(())
    assert not other.pool.may_queue(())
    one.pool.release(lease)
    assert first.backend is not None
    assert other.pool.may_queue(())
    other.pool.stop_waiting(second)
    other.pool.stop_waiting(second)
    assert one.holding.counters.total(1) == 0


def test_processes_that_queue_at_the_same_moment_do_not_exceed_the_length():
    one, other = processes(2, server("a", max_connections=1), queue=2)
    one.pick()
    assert one.pool.enqueue(Held(one))
    assert one.pool.may_queue(())
    assert other.pool.may_queue(())
    assert one.pool.enqueue(Held(one))
    assert not other.pool.enqueue(Held(other))
    assert one.holding.counters.total(1) == 2


def test_a_queued_connection_that_tries_keeps_its_place_from_other_processes():
    one, other = processes(2, server("a", max_connections=1), queue=1)
    lease = one.pick()
    seen = []

    class Trying(Held):
        def server_available(self):
            seen.append((other.pool.may_queue(()), one.pool.may_queue(()), one.pool.enqueue(self)))

    one.pool.enqueue(Trying(one))
    one.pool.release(lease)
    assert seen == [(False, True, True)]
    assert one.holding.counters.total(1) == 1


def test_a_process_heeds_what_it_is_told_that_a_server_wants_and_says_nothing_of_it():
    (process,) = processes(1, server("a"), server("b"), strategy="weighted")
    process.pool.judged("a", HealthStatus(advice=Advice(share=50)), 0.0)
    assert Counter(process.pick().name for _ in range(30)) == {"a": 10, "b": 20}
    process.pool.judged("a", HealthStatus(advice=Advice(share=50, admin="drain")), 0.0)
    assert Counter(process.pick().name for _ in range(10)) == {"b": 10}
    process.pool.judged("a", HealthStatus(), 0.0)
    assert Counter(process.pick().name for _ in range(10)) == {"a": 5, "b": 5}


def test_without_failback_all_processes_stay_with_the_same_server():
    spec = PoolSpec("web", (server("a"), server("b")), strategy=PluginSpec("first", (("failback", False),)))
    counters = SharedCounters(bytearray(SharedCounters.size(2)), 2)
    one = Process(counters, 0, spec)
    one.pool.judged("a", HealthStatus("down", age=0.0), 5.0)
    one.pool.judged("a", HealthStatus("up", age=0.0), 9.0)
    assert one.pick().name == "b"
    replaced = Process(counters, 1, spec, {"a": HealthStatus("up", age=3.0)})
    assert replaced.pick().name == "b"


def test_who_waits_in_one_process_gets_the_room_that_another_makes():
    one, other = processes(2, server("a", max_connections=1))
    lease = one.pick()
    assert other.pick() is None
    other.held.append(Held(other))
    other.pool.wait(other.held[0])
    other.look()
    assert not other.leases
    one.pool.release(lease)
    assert other.holding.told
    other.look()
    assert [backend.name for backend in other.leases] == ["a"]
    assert one.pick() is None, "the other has the only lease"


def test_backups_begin_elsewhere_in_each_process_too():
    primary, backups = server("p", weight=0), [server(name, backup=True) for name in "abcd"]
    all_ = processes(2, primary, *backups)
    assert [[process.pick().name for _ in range(4)] for process in all_] == [list("abcd"), list("cdab")]


@pytest.mark.parametrize("busy", ["a", "b"])
def test_least_conn_sees_the_load_of_other_processes(busy):
    one, other = processes(2, server("a"), server("b"), strategy="least-conn")
    for lease in [one.pick(), one.pick()]:
        if lease.name != busy:
            one.pool.release(lease)
    assert other.pick().name != busy


def test_a_pick_that_another_process_was_quicker_with_leaves_no_trace():
    names = "abcdef"
    one, other = processes(2, *(server(name, max_connections=1) for name in names))
    for _ in names:
        assert one.pick()
    assert other.pick() is None, "it polls two of them, and assumes at first that another one is idle"
    assert [(backend.active, backend.total) for backend in other.pool.backends.values()] == [(1, 0)] * len(names)


def test_what_is_known_at_a_reload_is_no_news_to_who_waits():
    one, other = processes(2, server("a", max_connections=1))
    assert one.pick()
    other.pool.apply(finish(other.pool.prepare(other.pool.spec)), {}, 1.0)
    other.pool.wait(Held(other))
    assert not other.holding.told


def test_only_the_end_of_a_lease_at_a_limited_server_is_told():
    one, other = processes(2, server("a"), server("b", max_connections=1))
    other.pool.wait(Held(other))
    leases = {lease.name: lease for lease in (one.pick(), one.pick())}
    one.pool.release(leases["a"])
    assert not other.holding.told
    one.pool.release(leases["b"])
    assert other.holding.told
