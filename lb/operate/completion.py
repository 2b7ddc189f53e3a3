"""What teaches a shell the words of a command line, read from its parser."""

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
"""What fits nothing else is the name of a file (``-o default``). Older shells know no tables with words for keys."""
ZSH = "autoload -Uz bashcompinit && bashcompinit\n"
"""zsh takes completions that were made for bash, once it is told to, after its own ``compinit``."""


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """A script for ``bash`` or ``zsh``, to be evaluated in the shell's start file."""
    words = dict(_places(parser, "lb"))
    cases = "\n".join(f'        "{place}") offered="{" ".join(each)}" ;;' for place, each in words.items())
    places = "|".join(f'"{place}"' for place in words if place != "lb")
    return SCRIPT.format(before=ZSH if shell == "zsh" else "", places=places, cases=cases)


def _places(parser: argparse.ArgumentParser, place: str) -> Iterator[tuple[str, list[str]]]:
    """Each command, as it is typed, and the words that may follow."""
    words: list[str] = []
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse tells its words in no other way
        words += action.option_strings
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            below |= action.choices
        elif action.choices:
            words += action.choices
    yield place, [*below, *words]
    for name, each in below.items():
        yield from _places(each, f"{place} {name}")
