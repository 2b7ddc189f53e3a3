"""The formats that ``lb migrate`` reads, and how they are told apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

import attrs

from lb.tools.migrate.migration import Migration

__all__ = ["FORMATS", "Format", "UnreadableError", "format_of"]


class UnreadableError(Exception):
    """A file cannot be migrated at all. The text is one line, or several, without the name of the program."""


@attrs.frozen
class Format:
    """A format: how its files look, and the module that reads them."""

    name: str
    module: str
    """It has ``translate(path)``, which returns a :class:`Migration` with a filled draft or raises UnreadableError, and
    ``WORDS``, from the words of the format to keys of lb.toml."""
    file_names: re.Pattern[str]
    content: re.Pattern[str]
    """A line that no other format has."""

    def translate(self, path: Path) -> Migration:
        """Read a file. Raises UnreadableError."""
        return cast("Callable[[Path], Migration]", import_module(self.module).translate)(path)

    def words(self) -> Mapping[str, str]:
        """Return the words that have a counterpart, and its key."""
        return cast("Mapping[str, str]", import_module(self.module).WORDS)


def _line(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*(?:{pattern})", re.MULTILINE)


FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format(
            "nginx",
            "lb.tools.migrate.nginx.translation",
            re.compile(r"nginx.*\.conf|.*\.nginx"),
            _line(r"(?:(?:http|server|stream|events|rtmp)\s*|(?:upstream|location)\s[^;{}\n]*)\{"),
        ),
        Format(
            "haproxy",
            "lb.tools.migrate.haproxy.translation",
            re.compile(r"haproxy.*\.(?:cfg|conf)|.*\.haproxy"),
            _line(r"(?:frontend|backend|listen)[ \t]+[\w.:-]+[ \t]*(?:$|#|from)|use_backend[ \t]|default_backend[ \t]"),
        ),
        Format(
            "traefik",
            "lb.tools.migrate.traefik.translation",
            re.compile(r"traefik.*\.(?:ya?ml|toml)"),
            _line(r"(?:entryPoints|providers|certificatesResolvers):|\[+(?:entryPoints|http|tcp)\.|(?:http|tcp):\s*$"),
        ),
        Format(
            "squid",
            "lb.tools.migrate.squid.translation",
            re.compile(r"squid.*\.conf"),
            _line(r"(?:http_access|http_port|cache_peer|cache_dir|refresh_pattern)[ \t]"),
        ),
    )
}


def format_of(path: Path, text: str) -> Format:
    """Return the format of a file, by its name, else by its content. Raises UnreadableError if that is not clear."""
    named = [each for each in FORMATS.values() if each.file_names.fullmatch(path.name.lower())]
    found = named or [each for each in FORMATS.values() if each.content.search(text)]
    if len(found) == 1:
        return found[0]
    problem = "may be of " + " or ".join(each.name for each in found) if found else "is of no known program"
    raise UnreadableError(f"{path}: {problem}; say which with --from: {', '.join(FORMATS)}")
