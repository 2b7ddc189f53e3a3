"""Which pages the manual has: one for each command, and one for each page of the reference."""
# ruff: noqa: SLF001 - argparse has no public access to the arguments of a parser

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from functools import partial

import attrs

from lb import __version__
from lb.tools.manual.blocks import Block, Code, Heading, Paragraph, Span, TableRow, blocks_of, words
from lb.tools.manual.roff import roff
from lb.tools.manual.text import plain_page
from lb.tools.reference.tables import page

__all__ = ["ManPage", "man_pages"]

_REFERENCE: Mapping[str, tuple[int, str, str]] = {
    "lb.toml": (5, "configuration.md", "the configuration of the load balancer lb"),
    "lb-admin": (7, "admin.md", "the admin endpoint of lb: status, control, metrics"),
    "lb-cache": (7, "cache.md", "how the cache of lb decides what it keeps and serves"),
    "lb-events": (7, "events.md", "the lines of the log of lb"),
    "lb-forward": (7, "forward.md", "targets and rules of the forward proxy of lb"),
    "lb-glossary": (7, "glossary.md", "the terms of lb"),
    "lb-http": (7, "http.md", "requests and responses of the mode http of lb"),
}
"""A page of the manual for each page of docs/reference, but those of commands: section, page, what it is about."""
_COMMANDS = "command-line.md"
_PAGES_OF_COMMANDS = {"rehearse": "rehearse.md"}
_WITHOUT_PAGE = ("help", "version", "complete")
_WIDTH = 76
"""Columns of a synopsis."""


@attrs.frozen
class ManPage:
    name: str
    """As man is asked for it: ``lb-ctl``."""
    section: int
    about: str
    """What it is about, in a few words."""
    parts: tuple[Block, ...]

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.section}"

    @property
    def roff(self) -> str:
        return roff(self.name, self.section, f"trio-lb {__version__}", self._blocks)

    @property
    def plain(self) -> str:
        return plain_page(self._blocks)

    @property
    def _blocks(self) -> tuple[Block, ...]:
        return (_section("NAME"), Paragraph(words(f"{self.name} - {self.about}")), *self.parts)


def man_pages(parser: argparse.ArgumentParser) -> dict[str, ManPage]:
    """Return all pages by name. ``parser`` is that of the command line."""
    about = {choice.dest: choice.help or "" for choice in _subparsers(parser)._choices_actions}
    commands = {name: each for name, each in _subparsers(parser).choices.items() if name not in _WITHOUT_PAGE}
    pages = [_of_lb(parser, commands)]
    pages += [_of_command(name, each, about[name]) for name, each in commands.items()]
    for name, (section, source, told) in _REFERENCE.items():
        pages.append(ManPage(name, section, told, tuple(_of_page(source))))
    found = {each.name: each for each in pages}
    return {name: attrs.evolve(each, parts=(*each.parts, *_see_also(each, found))) for name, each in found.items()}


def _of_lb(parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser]) -> ManPage:
    _, introduction, *sections = _sections(page(_COMMANDS))
    own = [part for part in sections if not re.match(r"## `lb (?:" + "|".join(commands) + ")`", part)]
    parts = (
        _section("SYNOPSIS"),
        Code(("lb --config FILE", "lb COMMAND ...")),
        _section("DESCRIPTION"),
        Paragraph(words(parser.description or "")),
        *blocks_of(introduction),
        *(block for part in own for block in blocks_of(part)),
    )
    return ManPage("lb", 1, "a load balancer, reverse proxy, forward proxy and media server", parts)


def _of_command(name: str, parser: argparse.ArgumentParser, about: str) -> ManPage:
    parts = (
        _section("SYNOPSIS"),
        Code(tuple(line for each in _leaves(parser) for line in _usage(each))),
        _section("DESCRIPTION"),
        *blocks_of(parser.description or about),
        *_told(name),
        _section("OPTIONS"),
        *(entry for each in _leaves(parser) for entry in _options(each, with_name=each is not parser)),
    )
    return ManPage(f"lb-{name}", 1, about, parts)


def _told(command: str) -> list[Block]:
    """Return what the reference says of a command, beside its row in the table of commands."""
    found: list[Block] = []
    if command in _PAGES_OF_COMMANDS:
        found += _of_page(_PAGES_OF_COMMANDS[command])
    for part in _sections(page(_COMMANDS)):
        heading, _, rest = part.partition("\n")
        if heading == f"## `lb {command}`":
            found += blocks_of(rest)
        elif heading.startswith("## ") and heading.endswith(f" of `lb {command}`"):
            found += blocks_of(part)
    return found


def _of_page(source: str) -> Iterator[Block]:
    """Yield a page of the reference without its title; what stands before its first section is the description."""
    if source not in _PAGES_OF_COMMANDS.values():
        yield _section("DESCRIPTION")
    yield from blocks_of(page(source).partition("\n")[2])


def _sections(markdown: str) -> list[str]:
    """Return the title, what is before the first section, and the sections with their headings."""
    title, _, rest = markdown.partition("\n")
    return [title, *re.split(r"^(?=## )", rest, flags=re.MULTILINE)]


def _section(title: str) -> Heading:
    return Heading(2, words(title))


def _subparsers(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    (found,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return found


def _leaves(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the parsers of the commands below a command; the command itself if it has none."""
    if any(isinstance(each, argparse._SubParsersAction) for each in parser._actions):
        return [leaf for each in _subparsers(parser).choices.values() for leaf in _leaves(each)]
    return [parser]


def _usage(parser: argparse.ArgumentParser) -> list[str]:
    parser.formatter_class = partial(argparse.HelpFormatter, width=_WIDTH)
    lines = parser.format_usage().replace(" [-h]", "").rstrip().split("\n")
    return [line[len("usage: ") :] for line in lines]  # those after the first are indented by as much


def _options(parser: argparse.ArgumentParser, *, with_name: bool) -> Iterator[Block]:
    """Yield the arguments and options of a command. Those of ``lb ctl`` are told apart by its commands."""
    actions = [each for each in parser._actions if each.help not in (None, argparse.SUPPRESS)]
    if with_name and actions:
        yield Heading(3, words(parser.prog))
    formatter = argparse.HelpFormatter("")
    for action in actions:
        term = (Span(formatter._format_action_invocation(action), "bold"),)
        yield TableRow(term, (), (words(formatter._expand_help(action)),))


def _see_also(own: ManPage, pages: Mapping[str, ManPage]) -> Iterator[Block]:
    others = [f"{each.name}({each.section})" for each in pages.values() if each.name != own.name]
    yield from (_section("SEE ALSO"), Paragraph(words(", ".join(others))))
