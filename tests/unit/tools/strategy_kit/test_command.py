"""``lb strategy``: its output and exit codes."""

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from lb.cli import main
from lb.tools.strategy_kit.checks import Finding
from tests.support.paths import EXAMPLES

MODULE = '''
from strategies.base import Strategy

class Good(Strategy):
    """In turn.

    Of no further interest.
    """
    def __init__(self, step, first=0, *, names=()):
        self.turn, self.step = first, step

    def pick(self, client, tried):
        self.turn += self.step
        left = list(self.candidates(tried))
        return left[self.turn % len(left)] if left else None

class Hashes(Strategy):
    def pick(self, client, tried):
        left = list(self.candidates(tried))
        return left[hash(client.host) % len(left)] if left else None

class Bad(Strategy):
    def pick(self, client, tried):
        return self.servers[0]

class Endless(Strategy):
    def pick(self, client, tried):
        while True:
            try:
                "".join(map(str, range(100)))
            except Exception:
                pass

class EndlessStart(Endless):
    def __init__(self):
        self.pick(None, ())

class Interrupted(Strategy):
    def pick(self, client, tried):
        raise KeyboardInterrupt

class Exits(Strategy):
    def __init__(self):
        raise SystemExit(3)

    def pick(self, client, tried):
        return None

class Starts(Strategy):
    def __init__(self):
        raise RuntimeError("no key")

    def pick(self, client, tried):
        return None
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """A user's module in the working directory; removed from sys.modules afterwards."""
    (tmp_path / "my_strategies.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    yield
    sys.modules.pop("my_strategies", None)


@pytest.fixture
def installed(monkeypatch):
    plugins = [
        EntryPoint("mine", "my_strategies:Good", "lb.strategies"),
        EntryPoint("lost", "no_such_module:Strategy", "lb.strategies"),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: plugins)
    monkeypatch.syspath_prepend(Path.cwd())


def run(capsys, *words):
    code = main(["strategy", *words])
    return (code, *capsys.readouterr())


def verdicts(capsys, *words):
    code, out, _ = run(capsys, "test", "--json", *words)
    return code, {each["check"]: each["verdict"] for each in json.loads(out)}


@pytest.mark.usefixtures("installed")
def test_list_has_the_built_ins_and_what_is_installed_with_options(capsys):
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1] == "round-robin      Equal turns; weights have no effect."
    assert '                 options: key = "source-ip", table = "maglev", size' in lines
    lost, mine, options = lines[-3:]
    assert lost.startswith("lost             strategy 'lost': module 'no_such_module' does not import")
    assert mine == "mine             In turn."
    assert options.strip() == "options: step (required), first = 0, names = []"


@pytest.mark.usefixtures("installed")
def test_list_for_programs(capsys):
    _, out, _ = run(capsys, "list", "--json")
    *built_ins, lost, mine = json.loads(out)
    assert [each["name"] for each in built_ins[:2]] == ["weighted", "round-robin"]
    assert lost.keys() == {"name", "error"}
    options = [{"name": "step"}, {"name": "first", "default": 0}, {"name": "names", "default": []}]
    assert mine == {"name": "mine", "about": "In turn.", "options": options}


def test_a_good_strategy_of_ones_own_exits_0(capsys):
    code, out, err = run(capsys, "test", "my_strategies:Good", "--option", "step=1", "--option", "first=3")
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()] == [
        *(
            "choice",
            "none",
            "weight-0",
            "balance",
            "weights",
            "disruption",
            "reload",
            "determinism",
            "explain",
            "cost",
            "build",
        ),
    ]
    assert {line.split()[0] for line in out.splitlines()} <= {"ok", "warn"}


def test_the_example_is_allowed_to_send_everybody_to_one_server(capsys, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    code, found = verdicts(capsys, "strategies_first_up:FirstUp")
    assert (code, found["balance"], found["choice"]) == (0, "warn", "ok")


def test_one_that_breaks_a_rule_exits_1_and_is_not_timed(capsys):
    code, found = verdicts(capsys, "my_strategies:Bad")
    assert (code, found["choice"]) == (1, "fail")
    assert "cost" not in found


def test_one_that_does_not_end_is_stopped(capsys, monkeypatch):
    monkeypatch.setattr("lb.tools.strategy_kit.command.LIMIT", 0.05)
    text = "it was stopped after 0.05 s"
    code, out, _ = run(capsys, "test", "my_strategies:Endless")
    assert (code, out) == (1, f"fail  choice       {text}; the remaining checks are skipped\n")
    assert run(capsys, "test", "my_strategies:EndlessStart") == (
        2,
        "",
        f"lb: 'my_strategies:EndlessStart' cannot be created: {text}\n",
    )


def test_each_finding_is_printed_as_it_comes(capsys, monkeypatch):
    def found():
        for check in ("one", "two"):
            yield Finding(check, "ok", "fine")
            assert capsys.readouterr().out.split() == ["ok", check, "fine"]

    monkeypatch.setattr("lb.tools.strategy_kit.command.findings", lambda *_: found())
    assert run(capsys, "test", "any") == (0, "", "")


def test_an_interrupt_is_told(capsys):
    assert run(capsys, "test", "my_strategies:Interrupted") == (130, "", "lb: interrupted\n")


def test_a_module_that_exits_is_no_exit_of_the_command(capsys):
    Path("exits.py").write_text("raise SystemExit('no licence')")
    code, _, err = run(capsys, "test", "exits:Any")
    assert (code, err) == (2, "lb: strategy 'exits:Any': module 'exits' does not import: SystemExit: no licence\n")


def test_one_that_goes_by_hash_is_found_by_asking_another_process(capsys):
    code, out, _ = run(capsys, "test", "my_strategies:Hashes")
    assert code == 1
    (line,) = [line for line in out.splitlines() if line.startswith("fail")]
    assert line.startswith("fail  determinism  another process differs in")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["roundrobin"], "unknown strategy 'roundrobin', did you mean 'round-robin'?"),
        (["my_strategies:Good"], "my_strategies:Good: Good.__init__() missing 1 required positional argument: 'step'"),
        (["my_strategies:Starts"], "'my_strategies:Starts' cannot be created: RuntimeError: no key"),
        (["my_strategies:Exits"], "'my_strategies:Exits' cannot be created: SystemExit: 3"),
        (["consistent-hash", "--option", "tabel=1"], "consistent-hash has no option 'tabel', did you mean 'table'?"),
        (["consistent-hash", "--option", "size=6"], "size must be a prime, not 6; the next one is 7"),
        (["consistent-hash", "--option", "table"], "an option must be KEY=VALUE, not 'table'"),
        (
            ["consistent-hash", "--option", "table=ketama"],
            "table: 'ketama' is not a TOML value; a string needs its quotes, as in 'table=\"ketama\"'",
        ),
    ],
)
def test_one_that_cannot_be_loaded_exits_2(capsys, words, error):
    code, out, err = run(capsys, "test", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"lb: {error}")
    assert err.count("\n") == 1
