"""The checks of `lb strategy test`, on each built-in strategy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.model import PluginSpec
from lb.tools.strategy_kit.checks import checks, examine
from lb.tools.strategy_kit.trial import SERVERS, Trial, TrialStep
from strategies import registry

SPECS = {
    "round-robin": PluginSpec("round-robin"),
    "weighted": PluginSpec("weighted"),
    "first": PluginSpec("first"),
    "first without failback": PluginSpec("first", (("failback", False),)),
    "least-conn": PluginSpec("least-conn"),
    "random-two": PluginSpec("random-two"),
    "maglev": PluginSpec("consistent-hash", (("size", 1009),)),
    "crowded maglev": PluginSpec("consistent-hash", (("size", 3),)),
    "ketama": PluginSpec("consistent-hash", (("table", "ketama"),)),
    **{
        f"maglev by {key}": PluginSpec("consistent-hash", (("key", key), ("size", 1009)))
        for key in ("uri", "path", "host", "header:X-User", "cookie:session", "query:id")
    },
}
every_strategy = pytest.mark.parametrize("name", SPECS)

number = st.integers(0, SERVERS - 1)
some = st.lists(number, max_size=SERVERS, unique=True).map(tuple)
steps = st.lists(
    st.one_of(
        st.builds(TrialStep, st.sampled_from(["enable", "disable", "release"]), number),
        st.builds(TrialStep, st.just("pick"), others=some),
        st.builds(TrialStep, st.just("share"), number, amount=st.sampled_from([1, 50, 100])),
        st.builds(TrialStep, st.just("use"), others=some, amount=st.integers(0, 4)),
    ),
    max_size=60,
)


def test_every_built_in_is_tested_here():
    assert {spec.name for spec in SPECS.values()} == set(registry.names())


@every_strategy
@given(steps=steps)
@settings(max_examples=60, deadline=None)
def test_picks_available_untried_servers_and_none_only_without_any(name, steps):
    trial = Trial(registry.create(SPECS[name]))
    for step in steps:
        trial.take(step)


@every_strategy
def test_it_passes_the_kit(name):
    found = examine(checks(lambda: registry.create(SPECS[name])))
    intended = {"crowded maglev": {"balance", "weights", "disruption"}}.get(name, set())
    intended |= {"balance", "weights"} if name.startswith("first") else set()
    assert {finding.check for finding in found if finding.verdict != "ok"} == intended
