"""Read nginx.conf and what it includes, through nginx's own parser, as a tree of directives."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from lb.tools.migrate.formats import UnreadableError
from lb.tools.migrate.migration import Directive

__all__ = ["read_nginx"]

_Parsed: TypeAlias = "Sequence[Mapping[str, Any]]"
"""Directives as crossplane has them."""
_MAY_BE_MISSING = ("mime.types", "fastcgi_params", "fastcgi.conf", "fastcgi-php.conf", "uwsgi_params", "scgi_params")
"""Included files that say nothing that is needed: a file that was copied from another machine comes without them."""


def read_nginx(path: Path) -> Directive:
    """Return the file as a block without a name. Raises UnreadableError."""
    try:
        import crossplane  # noqa: PLC0415 - an extra, for this format alone
    except ImportError as error:
        raise UnreadableError("nginx's configuration needs its parser: pip install 'trio-lb[migrate]'") from error
    # A file included from several blocks is parsed once: the context of directives cannot be checked.
    payload = crossplane.parse(str(path), check_ctx=False)
    errors = [each for each in payload["errors"] if not _is_harmless(each)]
    if errors:
        raise UnreadableError("\n    ".join(_message(each) for each in errors))
    files = [(os.path.relpath(each["file"], path.parent), each["parsed"]) for each in payload["config"]]
    try:
        found = _directives(0, files)
    except RecursionError as error:
        raise UnreadableError(f"{path}: includes itself") from error
    return Directive("", (), path.name, 1, tuple(_in_their_blocks(found)))


def _is_harmless(error: Mapping[str, Any]) -> bool:
    return "No such file" in error["error"] and any(f"{each}'" in error["error"] for each in _MAY_BE_MISSING)


def _message(error: Mapping[str, Any]) -> str:
    """Return one line: crossplane's messages end with the file and the line, those of the system do not."""
    text = re.sub(r"^\[Errno [0-9]+\] ", "", str(error["error"]))
    return text if error["line"] is None or " in " in text else f"{text} in {error['file']}:{error['line']}"


def _directives(number: int, files: Sequence[tuple[str, _Parsed]]) -> list[Directive]:
    """Return the directives of a file, with those that it includes in their place."""
    name, parsed = files[number]
    return _of_block(name, parsed, files)


def _of_block(name: str, parsed: _Parsed, files: Sequence[tuple[str, _Parsed]]) -> list[Directive]:
    found = []
    for each in parsed:
        if each["directive"] == "include":
            found += [inner for number in each["includes"] for inner in _directives(number, files)]
            continue
        block = tuple(_of_block(name, each["block"], files)) if "block" in each else None
        found.append(Directive(each["directive"], tuple(each["args"]), name, each["line"], block))
    return found


def _in_their_blocks(found: list[Directive]) -> list[Directive]:
    """Return the directives of a file that is a part of another, such as one site, in the blocks around them."""
    names = {each.name for each in found}
    if names & {"http", "stream", "rtmp"}:
        return found
    if "location" in names:
        found = [Directive("server", (), found[0].file, 1, tuple(found))]
    if {"server", "upstream"} & {each.name for each in found}:
        found = [Directive("http", (), found[0].file, 1, tuple(found))]
    return found
