"""Shell completion: a script for each shell, and the words that it offers, from the argument parser."""
# ruff: noqa: SLF001 - argparse has no public access to the arguments of a parser

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

__all__ = ["SCRIPTS", "names_of_balancer", "offered"]

BASH = """\
_lb() {
    local IFS=$' \\t\\n' line="${COMP_LINE:0:COMP_POINT}" current words
    read -ra words <<< "$line"  # COMP_WORDS is split at colons, too
    case "$line" in *[[:space:]]) words+=("") ;; esac
    current="${words[${#words[@]} - 1]}"
    IFS=$'\\n'
    COMPREPLY=($(lb complete -- "${words[@]:1}" 2> /dev/null))
    case "$COMP_WORDBREAKS" in *:*) COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}") ;; esac
}
complete -o default -F _lb lb"""
"""No associative arrays, no negative index: bash 3 lacks them."""
ZSH = """\
_lb() {
    local -a offered
    offered=(${(f)"$(lb complete -- "${(@)words[2,CURRENT]}" 2> /dev/null)"})
    if (( $#offered )); then compadd -a offered; else _files; fi
}
compdef _lb lb"""
"""Needs ``compinit`` before."""
FISH = """\
function __lb_offered
    set -l words (commandline -opc) (commandline -ct)
    set -l offered (lb complete -- $words[2..-1] 2> /dev/null)
    if set -q offered[1]
        printf '%s\\n' $offered
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c lb -f -a '(__lb_offered)'"""
SCRIPTS: Mapping[str, str] = {"bash": BASH, "fish": FISH, "zsh": ZSH}
"""A script per shell, for its start file. Where ``lb complete`` offers nothing, the shell offers files."""

KINDS: Mapping[object, str] = {
    "LISTENER": "listeners",
    "POOL": "pools",
    "ZONE": "caches",
    "POOL/SERVER": "servers",
    "ID|POOL/SERVER": "servers",
}
"""The names that an argument takes, by its placeholder in the help."""
NAMES_TIMEOUT = 2.0
"""Seconds to wait for the names of a balancer: somebody waits at the keyboard."""

ListNames = Callable[[str, Sequence[str]], list[str]]
"""From ``listeners``, ``pools``, ``servers`` or ``caches``, and the options that say whom to ask, to names."""


def offered(parser: argparse.ArgumentParser, words: Sequence[str], names: ListNames) -> list[str]:
    """Return what may stand in the place of the last word; empty if that is a file, or anything.

    ``words`` are those after ``lb``. ``names`` is asked for the names of a running balancer.
    """
    *before, current = words or [""]
    option: argparse.Action | None = None
    endpoint: list[str] = []
    given = 0
    for word in before:
        if option is not None:
            endpoint += [option.option_strings[-1], word] if option.dest in ("config", "admin", "token_file") else []
            option = None
        elif word.startswith("-"):
            option = _options(parser).get(word)
        elif word in _commands(parser):
            parser, given = _commands(parser)[word], 0
        else:
            given += 1
    if option is not None:
        found = _values(option, endpoint, names)
    elif current.startswith("-"):
        found = [text for action in parser._actions for text in action.option_strings]
    else:
        arguments = _arguments(parser)[given:]
        found = [*_commands(parser), *(_values(arguments[0], endpoint, names) if arguments else [])]
    return [each for each in found if each.startswith(current)]


def _options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the options that take a value."""
    return {text: each for each in parser._actions if each.nargs != 0 for text in each.option_strings}


def _commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    found = [each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return found[0] if found else {}


def _arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the positional arguments."""
    return [
        each for each in parser._actions if not (each.option_strings or isinstance(each, argparse._SubParsersAction))
    ]


def _values(action: argparse.Action, endpoint: Sequence[str], names: ListNames) -> list[str]:
    if action.choices is not None:
        return list(action.choices)
    kind = KINDS.get(action.metavar)
    return names(kind, endpoint) if kind else []


def names_of_balancer(parser: argparse.ArgumentParser, kind: str, endpoint: Sequence[str]) -> list[str]:
    """Ask the balancer that ``lb ctl`` asks with the options ``endpoint``. An error is a line on stderr."""
    from lb.console.client import AdminClient  # noqa: PLC0415 - most completions need no balancer
    from lb.console.endpoint import OK, with_client  # noqa: PLC0415

    found: list[str] = []

    def ask(client: AdminClient) -> int:
        client.timeout = NAMES_TIMEOUT
        status = client.status()
        if kind == "servers":
            found.extend(f"{name}/{server}" for name, pool in status["pools"].items() for server in pool["servers"])
        else:
            found.extend(status[kind])
        return OK

    with_client(parser.parse_args(["ctl", *endpoint, "status"]), ask)
    return found
