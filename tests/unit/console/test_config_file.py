"""Which file a command uses: named, from the environment, or in the usual places."""

from __future__ import annotations

from pathlib import Path

import pytest

from lb import cli
from lb.console import config_file
from lb.console.config_file import UsageError

COMMANDS = [
    ["run"],
    ["check"],
    ["diff", "new.toml"],
    ["rehearse", "s.toml"],
    ["explain", "--listener", "l", "--source", "a"],
]


def chosen(*words):
    return config_file.config_file(cli._parsed(words))


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty working directory, and a place for the whole machine."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(config_file, "PLACES", ("./lb.toml", str(tmp_path / "lb.toml")))
    monkeypatch.delenv("LB_CONFIG", raising=False)
    return tmp_path


@pytest.mark.parametrize("words", [*COMMANDS, ["ctl", "status"], ["top"]])
@pytest.mark.usefixtures("places")
def test_every_command_takes_the_file_as_an_option(words):
    for option in (["-c", "my.toml"], ["--config=my.toml"]):
        assert chosen(words[0], *option, *words[1:]) == Path("my.toml")


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.usefixtures("places")
def test_or_as_its_argument(words):
    assert chosen(words[0], "my.toml", *words[1:]) == Path("my.toml")
    assert chosen(words[0], "-", *words[1:]) == Path("-")


@pytest.mark.usefixtures("places")
def test_an_option_may_stand_between_two_files():
    options = cli._parsed(["rehearse", "my.toml", "--json", "scenario.toml"])
    assert (options.file, options.other) == (Path("my.toml"), Path("scenario.toml"))
    with pytest.raises(SystemExit):
        cli._parsed(["rehearse", "my.toml", "scenario.toml", "--json", "more.toml"])


def test_without_a_name_it_is_looked_for(places, monkeypatch):
    with pytest.raises(UsageError, match=r"there is no \./lb\.toml and no .*/lb\.toml; use --config FILE or LB_CONFIG"):
        chosen("check")
    (places / "lb.toml").touch()
    assert chosen("check") == places / "lb.toml"
    (places / "here" / "lb.toml").touch()
    assert chosen("check") == Path("lb.toml")
    monkeypatch.setenv("LB_CONFIG", "other.toml")
    assert chosen("check") == Path("other.toml"), "also if it is not there: the mistake is told"
    assert chosen("check", "my.toml") == Path("my.toml")
    monkeypatch.setenv("LB_CONFIG", "")
    assert chosen("check") == Path("lb.toml")


@pytest.mark.usefixtures("places")
def test_two_names_are_a_mistake(capsys):
    assert cli.main(["check", "-c", "a.toml", "b.toml"]) == 2
    assert capsys.readouterr().err == "lb: the configuration file is given twice: a.toml and b.toml\n"


def test_the_token_of_a_file_in_the_usual_places_goes_to_no_other_address(places, capsys):
    (places / "lb.toml").write_text("not toml")
    assert cli.main(["ctl", "--admin", "127.0.0.1:1", "status"]) == 1
    assert "connection refused" in capsys.readouterr().err
