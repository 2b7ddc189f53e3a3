"""Read squid.conf as a list of directives."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from lb.tools.migrate.files import configuration_text, listed_values
from lb.tools.migrate.formats import UnreadableError
from lb.tools.migrate.migration import Directive

__all__ = ["file_values", "read_squid"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LOGIN = re.compile(r"(login=|user-credential=)[^ ]*:[^ ]+")


def read_squid(path: Path) -> Directive:
    """Return the file as a block without a name. Raises UnreadableError."""
    text = configuration_text(path)
    found: list[Directive] = []
    begun, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        first = first if begun else number
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        words = _words(re.sub(r"\s#.*", "", begun + line))
        begun = ""
        if words and not _NAME.fullmatch(words[0]):
            raise UnreadableError(f"{path}:{first}: {words[0]} is no directive")
        if words:
            found.append(Directive(words[0], tuple(words[1:]), path.name, first))
    return Directive("", (), path.name, 0, tuple(found))


def _words(line: str) -> list[str]:
    """Return the words of a line, with their quotes, which mean a file; passwords are left out."""
    return _LOGIN.sub(r"\1(hidden)", line).split()


def file_values(words: tuple[str, ...], directory: Path) -> list[str]:
    """Return values of an acl, with those that stand in files. Raises ValueError if one cannot be read."""
    found = []
    for word in words:
        if not word.startswith('"'):
            found.append(word)
            continue
        found += listed_values(directory / shlex.split(word)[0])
    return found
