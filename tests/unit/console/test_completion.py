"""What completion offers after some words, without a shell."""

from __future__ import annotations

import argparse

import pytest

from lb import cli
from lb.console.completion import SCRIPTS, offered

PARSER = cli._parser()
NAMES = {
    "listeners": ["web"],
    "pools": ["web", "api"],
    "servers": ["web/a", "web/127.0.0.1:9001", "api/b"],
    "caches": ["videos"],
}


def offer(*words):
    """Return what is offered, and with which options the names were asked for."""
    asked = []

    def names(kind, endpoint):
        asked.append(list(endpoint))
        return NAMES[kind]

    return offered(PARSER, words, names), *asked


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["c"], ["check", "ctl", "complete"]),
        (["ctl", "dr"], ["drain"]),
        (["ctl", "--json", "completion", ""], ["bash", "fish", "zsh"]),
        (["run", "--con"], ["--config"]),
        (["ctl", "drain", "--to"], ["--token-file"]),
        (["strategy", ""], ["list", "test"]),
        (["ctl", "cache", ""], ["purge"]),
        (["ctl", "cache", "purge", "zone", "--u"], ["--url"]),
        (["nonsense", "x"], []),
    ],
)
def test_words_and_options(words, expected):
    assert offer(*words) == (expected,)


def test_all_commands_are_offered_first():
    (commands,) = (action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
    assert offer("") == offer() == ([*commands.choices],)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "-c", ""],
        ["-c", "l"],
        ["ctl", "--config", "l"],
        ["ctl", "drain", "--token-file", "d"],
        ["check", "l"],
        ["diff", "a.toml", "b"],
        ["rehearse", "a.toml", "b"],
    ],
)
def test_files_are_left_to_the_shell(words):
    assert offer(*words) == ([],)


@pytest.mark.parametrize(
    ("words", "expected", "endpoint"),
    [
        (["ctl", "drain", ""], NAMES["servers"], []),
        (["ctl", "enable", "web/1"], ["web/127.0.0.1:9001"], []),
        (["ctl", "-c", "x.toml", "servers", ""], NAMES["pools"], ["--config", "x.toml"]),
        (["ctl", "connections", "--pool", "a"], ["api"], []),
        (
            ["ctl", "--admin", "h:1", "close", "--token-file", "t", "w"],
            NAMES["servers"][:2],
            ["--admin", "h:1", "--token-file", "t"],
        ),
        (["explain", "--listener", ""], ["web"], []),
        (["ctl", "cache", "purge", ""], ["videos"], []),
    ],
)
def test_names_come_from_the_balancer_that_the_command_would_ask(words, expected, endpoint):
    assert offer(*words) == (expected, endpoint)


def test_a_weight_is_not_a_server():
    assert offer("ctl", "weight", "web/a", "") == ([],)


def test_there_is_a_script_for_each_shell_that_the_command_names():
    ctl = next(action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction)).choices["ctl"]
    actions = next(action for action in ctl._actions if isinstance(action, argparse._SubParsersAction))
    (shell,) = (action for action in actions.choices["completion"]._actions if action.dest == "shell")
    assert set(shell.choices) == set(SCRIPTS)
