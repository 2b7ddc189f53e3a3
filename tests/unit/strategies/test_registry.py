import sys
from importlib.metadata import EntryPoint

import pytest

from lb.model import PluginSpec
from strategies import registry
from strategies.consistent_hash import ConsistentHash
from strategies.round_robin import RoundRobin
from tests.support.paths import EXAMPLES
from tests.support.strategy_driver import CLIENT, make_servers, start

MODULE = """
from strategies.base import Strategy

class Unfinished(Strategy):
    pass

class Picky(Strategy):
    def __init__(self, level, **others):
        super().__init__()
        self.options = {"level": level + 0, **others}

    def pick(self, client, tried):
        return None

number = 5
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A user's module, unloaded afterwards."""
    (tmp_path / "users_module.py").write_text(MODULE)
    (tmp_path / "users_broken_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("users_module", None)


@pytest.fixture
def installed(monkeypatch):
    """Two entry points as an installed distribution would have them."""
    plugins = [
        EntryPoint("in-turn", "strategies.round_robin:RoundRobin", "lb.strategies"),
        EntryPoint("lost", "no_such_module:Strategy", "lb.strategies"),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: plugins if group == "lb.strategies" else [])


def failure(name, *options):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the tests compare the text
        registry.create(PluginSpec(name, options))
    return str(caught.value)


def test_the_built_ins_have_the_names_of_the_contract():
    assert registry.names()[:6] == ["weighted", "round-robin", "first", "least-conn", "random-two", "consistent-hash"]


def test_a_built_in_is_made_with_its_options():
    strategy = registry.create(PluginSpec("consistent-hash", (("table", "ketama"),)))
    assert isinstance(strategy, ConsistentHash)
    assert strategy._kind == "ketama"


def test_an_unknown_name_is_refused_with_a_suggestion():
    message = failure("round_robin")
    assert message.startswith(
        "unknown strategy 'round_robin', did you mean 'round-robin'?; known: weighted, round-robin, first"
    )


def test_an_unknown_option_is_refused_with_those_there_are():
    assert failure("consistent-hash", ("tabel", "ketama")) == (
        "consistent-hash has no option 'tabel', did you mean 'table'?; it has key, table, size"
    )
    assert failure("round-robin", ("foo", 1)) == "round-robin has no option 'foo'; it has none"


def test_a_bad_value_keeps_the_message_of_the_strategy():
    assert failure("consistent-hash", ("size", 6)) == "size must be a prime, not 6; the next one is 7"


@pytest.mark.usefixtures("installed")
def test_an_entry_point_is_found_by_its_name():
    assert registry.load("in-turn") is RoundRobin
    assert "in-turn" in registry.names()


@pytest.mark.usefixtures("installed")
def test_an_entry_point_that_does_not_load_says_so():
    assert failure("lost").startswith("strategy 'lost': module 'no_such_module' does not import: ModuleNotFoundError")


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:X", "module 'no_such_module' does not import: ModuleNotFoundError"),
        ("users_broken_module:X", "module 'users_broken_module' does not import: ZeroDivisionError"),
        ("users_module:Piky", "module 'users_module' has no 'Piky', did you mean 'Picky'?"),
        ("users_module:number", "users_module:number is not a subclass of strategies.base.Strategy"),
        ("users_module:Unfinished", "Unfinished does not define pick"),
        ("users_module:", "must be 'module:Name'"),
        (":Name", "must be 'module:Name'"),
    ],
)
def test_a_strategy_of_ones_own_that_cannot_be_used_says_why(name, message):
    assert message in failure(name)


@pytest.mark.usefixtures("module")
def test_a_constructor_with_options_of_its_own_takes_them():
    strategy = registry.create(PluginSpec("users_module:Picky", (("level", 3), ("colour", "red"))))
    assert strategy.options == {"level": 3, "colour": "red"}


@pytest.mark.usefixtures("module")
def test_a_missing_option_or_one_of_a_wrong_type_is_a_plain_message():
    assert "missing 1 required positional argument: 'level'" in failure("users_module:Picky")
    assert failure("users_module:Picky", ("level", "x")).startswith("users_module:Picky: can only concatenate")


def test_the_example_strategy_loads_and_prefers_the_first_server_that_is_up(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    strategy = registry.create(PluginSpec("strategies_first_up:FirstUp"))
    first, second, third = servers = make_servers(1, 1, 1)
    start(strategy, servers)
    assert [strategy.pick(CLIENT, ()) for _ in range(3)] == [first] * 3
    assert strategy.pick(CLIENT, [first]) is second
    strategy.disable(first)
    assert strategy.pick(CLIENT, [second]) is third
