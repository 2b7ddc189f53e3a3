"""Predicted picks compared with the pool's actual picks: for every strategy, after any history."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from healthcheck.result import Advice, CheckResult
from lb.events import Fault
from lb.explain.explain import explain
from lb.model import HealthSpec, PassiveSpec
from lb.model.address import Client
from tests.properties.test_strategies import SPECS
from tests.support.pooling import Harness, server

CERTAIN = ("client", "load", "turn")

name = st.sampled_from("abcde")
specs = st.lists(
    st.builds(
        server,
        name,
        weight=st.sampled_from([0, 1, 1, 2]),
        backup=st.sampled_from([False, False, True]),
        max_connections=st.sampled_from([0, 0, 0, 1, 2]),
    ),
    unique_by=lambda spec: spec.name,
    min_size=2,
    max_size=5,
)
advice = st.builds(Advice, st.none() | st.integers(0, 100), st.sampled_from([None, "ready", "drain", "maint"]))
pick = st.tuples(st.just("pick"), st.just(set()))
operations = st.lists(
    st.one_of(
        pick,
        pick,
        pick,
        st.tuples(st.just("pick"), st.sets(name, max_size=3)),
        st.tuples(st.just("release"), st.integers(0, 20)),
        st.tuples(st.just("fail"), name),
        st.tuples(st.just("check"), st.tuples(name, st.booleans())),
        st.tuples(st.just("bounce"), name),
        st.tuples(st.just("advise"), st.tuples(name, advice)),
        st.tuples(st.just("ramp"), st.integers(0, 8)),
        st.tuples(st.just("reload"), specs),
    ),
    min_size=10,
    max_size=40,
)


class Told(Harness):
    """A pool with random events, and the connections that hold leases."""

    def __init__(self, specs, **options):
        super().__init__(*specs, **options)
        self.leases = []

    def do(self, operation, value):
        match operation:
            case "release" if self.leases:
                self.pool.release(self.leases.pop(value % len(self.leases)))
            case "fail" if value in self.pool.backends:
                self.pool.connect_failed(self[value], "connection refused", self.now)
            case "check" if value[0] in self.pool.backends:
                self.check(*value)
            case "bounce" if value in self.pool.backends:
                self.check(value, False)
                self.check(value, True)
                self.pool.ramp(self.now)
            case "advise" if value[0] in self.pool.backends:
                result = CheckResult(passed=True, detail="up", ms=1.0, at_once=True, advice=value[1])
                self.pool.checked(self[value[0]], result, self.now)
            case "ramp":
                self.now += value
                self.pool.ramp(self.now)
            case "reload":
                self.reload(*value)

    def pick_for(self, client, names):
        backend = self.pool.pick(client, self.named(names))
        if backend is not None:
            self.leases.append(backend)
        return backend

    def named(self, names):
        return tuple(self[name] for name in sorted(names) if name in self.pool.backends)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@given(
    first=specs,
    operations=operations,
    options=st.fixed_dictionaries(
        {
            "when_all_down": st.sampled_from(["reject", "any", "hold"]),
            "queue": st.sampled_from([0, 5]),
            "slow_start": st.sampled_from([0.0, 10.0]),
        }
    ),
)
@settings(max_examples=40, deadline=None)
def test_it_is_what_the_pool_then_does_and_changes_nothing(spec, first, operations, options):
    options |= {"strategy": spec, "health": HealthSpec(rise=1, fall=1), "passive": PassiveSpec(failures=1)}
    asked, alone = Told(first, **options), Told(first, **options)
    for number, (operation, value) in enumerate(operations):
        if operation != "pick":
            asked.do(operation, value)
            alone.do(operation, value)
            continue
        client = Client(f"10.0.0.{number}", 5000 + number)
        decision = explain(asked.pool, client, asked.named(value))
        verdicts = verdicts_of(decision)
        expected = {backend.name: true_verdict(asked, backend, value) for backend in asked.pool.backends.values()}
        may_have_been = {server for server, verdict in verdicts.items() if verdict in ("chosen", "candidate")}
        backend = asked.pick_for(client, value)
        assert (backend.name in may_have_been) if backend is not None else not may_have_been
        assert (decision.chosen is None) == (not may_have_been) or decision.decides not in CERTAIN
        assert decision.chosen in (None, backend and backend.name)
        assert (decision.otherwise == "") is bool(may_have_been)
        free = None in expected.values()
        for each, verdict in verdicts.items():
            if verdict in ("chosen", "candidate"):  # no other fault, or health is ignored because no server is free
                assert expected[each] in ((None,) if free else ("down", "ejected", "checking"))
            else:
                assert expected[each] == (None if verdict in ("slow start", "backup") else verdict)
        assert sum(decision.counts.values()) == len(decision.servers) == len(asked.pool.backends)
        other = alone.pick_for(client, value)
        if spec.name != "random-two":  # which has a test of its own
            assert (other and other.name) == (backend and backend.name), "the explanation changed it"
    assert not asked.of(Fault)


def verdicts_of(decision):
    verdicts = {each.name: each.verdict for each in decision.servers}
    assert len(verdicts) == len(decision.servers), "a server is listed twice"
    return verdicts


def true_verdict(harness, backend, tried):
    """Return why this server cannot be chosen, if so; from its own state, not from the pool's."""
    if backend.name in tried:
        return "tried"
    if backend.health.state != "up":
        return backend.health.state
    if backend.spec.weight == 0 or not backend.health.advice.wants_new:
        return "draining"
    return "full" if 0 < backend.spec.max_connections <= backend.active else None
