"""Connections and servers come, go and fail in any order: the pool's state is consistent at each moment."""

from __future__ import annotations

import itertools
from collections import Counter

import hypothesis
import hypothesis.strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from healthcheck.result import Advice, CheckResult
from lb.events import BackendEjected, BackendRestored, Fault
from lb.model import HealthSpec, PassiveSpec, PluginSpec
from tests.support.effort import DEEP
from tests.support.pooling import BUILT_IN, Harness, server, servers


class AnyOrder(RuleBasedStateMachine):
    """Connections and servers come, go and fail; the pool's state is consistent at each moment."""

    leases = Bundle("leases")

    @initialize(
        strategy=st.sampled_from(BUILT_IN),
        when_all_down=st.sampled_from(["reject", "any", "hold"]),
        failures=st.integers(0, 2),
    )
    def start(self, strategy, when_all_down, failures):
        self.harness = Harness(
            *servers("abc"),
            strategy=PluginSpec(strategy),
            when_all_down=when_all_down,
            passive=PassiveSpec(failures=failures),
            health=HealthSpec(rise=1, fall=1),
        )
        self.pool = self.harness.pool
        self.held = Counter()
        self.waiters = []
        self.woken = []

    def may_be_picked(self, backend, tried, healthy):
        return (
            (healthy or self.pool.spec.when_all_down == "any")
            and not backend.leaving
            and backend.spec.weight > 0
            and backend.health.advice.wants_new
            and not 0 < backend.spec.max_connections <= self.held[backend]
            and backend not in tried
        )

    def choices(self, tried):
        """Return the servers that may be picked now: those of the first priority group that has any."""
        for healthy in (True, False):
            for backup in (False, True):
                found = {
                    backend
                    for backend in self.pool.backends.values()
                    if (backend.health.state == "up") is healthy
                    and backend.spec.backup is backup
                    and self.may_be_picked(backend, tried, healthy)
                }
                if found:
                    return found
        return set()

    @rule(target=leases, tried=st.sets(st.sampled_from("abcd")))
    def pick(self, tried):
        tried = tuple(backend for name, backend in self.pool.backends.items() if name in tried)
        choices = self.choices(tried)
        backend = self.harness.pick(*tried)
        assert (backend in choices) if choices else backend is None
        if backend is None:
            return None
        self.held[backend] += 1
        return backend

    @rule(target=leases, name=st.sampled_from("abcd"), tried=st.sets(st.sampled_from("abcd")))
    def pick_server(self, name, tried):
        tried = tuple(backend for each, backend in self.pool.backends.items() if each in tried)
        choices = self.choices(tried)
        named = self.pool.backends.get(name)
        backend = self.pool.pick_server(name, tried)
        assert backend is (named if named in choices else None)
        if backend is None:
            return None
        self.held[backend] += 1
        return backend

    @rule(backend=consumes(leases), outcome=st.sampled_from(["ended", "connect_failed"]))
    def release(self, backend, outcome):
        if backend is None:
            return
        self.held[backend] -= 1
        self.pool.release(backend)
        if outcome == "connect_failed":
            self.pool.connect_failed(backend, "connection refused", self.harness.now)

    @rule(backend=leases)
    def connected(self, backend):
        if backend is not None:
            self.pool.connected(backend, self.harness.now)

    @rule(backend=leases, failed=st.booleans())
    def answered(self, backend, failed):
        if backend is None:
            return
        if failed:
            self.pool.request_failed(backend, "HTTP 503", self.harness.now)
        else:
            self.pool.request_succeeded(backend, self.harness.now)

    @rule(name=st.sampled_from("abcd"), passed=st.booleans())
    def check(self, name, passed):
        if name in self.pool.backends:
            self.harness.check(name, passed)

    @rule(
        name=st.sampled_from("abcd"),
        advice=st.builds(Advice, st.none() | st.integers(0, 100), st.sampled_from([None, "ready", "drain", "maint"])),
    )
    def agent_says(self, name, advice):
        if name in self.pool.backends:
            result = CheckResult(passed=True, detail="up", ms=1.0, at_once=True, advice=advice)
            self.pool.checked(self.pool.backends[name], result, self.harness.now)

    @rule(seconds=st.sampled_from([1, 10, 100]))
    def time_passes(self, seconds):
        self.harness.now += seconds
        for backend in (*self.pool.backends.values(), *self.pool.leaving.values()):
            self.pool.expire(backend, self.harness.now)

    @rule(
        specs=st.lists(
            st.builds(
                server,
                st.sampled_from("abcd"),
                weight=st.integers(0, 3),
                backup=st.booleans(),
                max_connections=st.integers(0, 3),
            ),
            unique_by=lambda spec: spec.name,
            max_size=4,
        ),
        strategy=st.none() | st.sampled_from(BUILT_IN),
    )
    def reload(self, specs, strategy):
        known = {**self.pool.leaving, **self.pool.backends}
        self.harness.reload(*specs, **({"strategy": PluginSpec(strategy)} if strategy else {}))
        assert list(self.pool.backends) == [spec.name for spec in specs]
        for name, backend in self.pool.backends.items():
            assert backend is known.get(name, backend), "the name is the identity"

    @invariant()
    def shares_are_those_that_were_asked_for(self):
        for backend in self.pool.backends.values():
            assert backend.advice == backend.health.advice
            assert backend.share == backend.advice.percent or (backend.advice.percent == 0 < backend.share)

    @invariant()
    def the_books_are_right(self):
        backends = {*self.pool.backends.values(), *self.pool.leaving.values()}
        assert {backend: backend.active for backend in backends if backend.active} == +self.held
        assert set(self.pool.leaving.values()) == {backend for backend in +self.held if backend.leaving}
        assert not self.harness.of(Fault)

    @invariant()
    def strategies_know_who_is_available(self):
        for tier, backup in ((self.pool._primary, False), (self.pool._backups, True)):
            assert tier.strategy.available == {
                backend
                for backend in self.pool.backends.values()
                if backend.spec.backup is backup
                and backend.health.state == "up"
                and backend.spec.weight > 0
                and backend.health.advice.wants_new
                and not 0 < backend.spec.max_connections <= self.held[backend]
            }

    @invariant()
    def no_server_is_restored_twice_in_a_row(self):
        for name in "abcd":
            told = [
                type(event)
                for event in self.harness.events
                if isinstance(event, BackendEjected | BackendRestored) and event.server == name
            ]
            assert (BackendRestored, BackendRestored) not in itertools.pairwise(told)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis.settings(stateful_step_count=40, max_examples=1000 if DEEP else 25)
