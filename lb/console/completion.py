"""Shell completion scripts, generated from an argument parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

__all__ = ["completion"]

SCRIPT = """\
{before}_lb() {{
    local place=lb word offered=
    for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}}"; do
        case "$place $word" in
            {places}) place="$place $word" ;;
        esac
    done
    case "$place" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$offered" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _lb lb"""
"""The bash script. Other words complete as file names (``-o default``). No associative arrays: bash 3 lacks them."""
ZSH = "autoload -Uz bashcompinit && bashcompinit\n"
"""Lets zsh use completions for bash. Needs ``compinit`` before."""


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for ``bash`` or ``zsh``. The shell's start file evaluates it."""
    words = dict(_places(parser, "lb"))
    cases = "\n".join(f'        "{place}") offered="{" ".join(each)}" ;;' for place, each in words.items())
    places = "|".join(f'"{place}"' for place in words if place != "lb")
    return SCRIPT.format(before=ZSH if shell == "zsh" else "", places=places, cases=cases)


def _places(parser: argparse.ArgumentParser, place: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command as typed, and the words that may follow it."""
    words: list[str] = []
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no public access to them
        words += action.option_strings
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            below |= action.choices
        elif action.choices:
            words += action.choices
    yield place, [*below, *words]
    for name, each in below.items():
        yield from _places(each, f"{place} {name}")
