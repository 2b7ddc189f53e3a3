"""A pool with a faulty strategy: its errors are reported, and have no worse effect than no choice."""

from __future__ import annotations

import pytest

from lb.events import Fault
from lb.model import HealthSpec, PluginSpec
from strategies.base import Strategy
from tests.support.pooling import Harness, servers


class Misbehaving(Strategy):
    """Raises or returns an invalid server on demand; otherwise picks the first available server."""

    trouble = ""

    def pick(self, client, tried):
        match self.trouble:
            case "raises":
                raise ZeroDivisionError
            case "unhashable":
                return ["a"]
            case "unavailable":
                return next(server for server in self.servers if server not in self.available)
            case "tried":
                return next(iter(tried), None)
        return next(self.candidates(tried), None)

    def enable(self, server):
        super().enable(server)
        if self.trouble == "enable":
            raise ZeroDivisionError

    def disable(self, server):
        super().disable(server)
        if self.trouble == "disable":
            raise ZeroDivisionError

    def load_changed(self, server):
        if self.trouble == "load_changed":
            raise ZeroDivisionError


@pytest.fixture
def misbehaving(monkeypatch):
    def make(trouble):
        harness = Harness(*servers("ab"), strategy=PluginSpec(f"{__name__}:Misbehaving"), health=HealthSpec(fall=1))
        monkeypatch.setattr(type(harness.pool._primary.strategy), "trouble", trouble)
        return harness

    return make


@pytest.mark.parametrize("trouble", ["raises", "unhashable", "unavailable", "tried"])
def test_a_pick_that_goes_wrong_is_a_fault_and_no_answer(misbehaving, trouble):
    harness = misbehaving("")
    harness.check("a", False)
    type(harness.pool._primary.strategy).trouble = trouble
    assert harness.pick(harness["b"]) is None
    (fault,) = harness.of(Fault)
    assert fault.where == "pool web: strategy tests.unit.pools.test_pool_plugins:Misbehaving"
    assert sum(backend.active for backend in harness.pool.backends.values()) == 0


@pytest.mark.parametrize("trouble", ["enable", "disable", "load_changed"])
def test_a_hook_that_raises_is_a_fault_and_the_pool_goes_on(misbehaving, trouble):
    harness = misbehaving(trouble)
    backend = harness.pick()
    harness.pool.release(backend)
    harness.check("a", False)
    harness.check("a", True, 2)
    assert harness["a"].available
    assert harness.of(Fault)
    assert {type(fault.exception) for fault in harness.of(Fault)} == {ZeroDivisionError}
    assert sum(backend.active for backend in harness.pool.backends.values()) == 0
