"""The text of a ``servers_file``: one server a line, as scripts like to write it."""

from __future__ import annotations

import re

from lb.config_file.pools import read_server
from lb.config_file.table import Table
from lb.model import ServerSpec

__all__ = ["parse_servers_file"]

_WORDS: dict[str, object] = {"true": True, "false": False}
_NUMBER = re.compile(r"-?[0-9]{1,18}")  # more digits are too many for any key


def parse_servers_file(content: bytes, filename: str) -> tuple[tuple[ServerSpec, ...], tuple[str, ...]]:
    """The servers of a file, and all that is wrong with it, one line each: ``web.servers:3: weight: must be …``.

    A line is an address and then, if need be, ``key=value`` words with the keys of ``[[pools.NAME.servers]]``;
    ``backup`` alone is ``backup=true``. ``#`` starts a comment. No server at all is an error.
    """
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        broken = content.count(b"\n", 0, error.start) + 1
        return (), (f"{filename}:{broken}: is not UTF-8: byte 0x{content[error.start]:02x}",)
    servers: dict[str, ServerSpec] = {}
    errors: list[str] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        complaints = Table({}, "", [])
        server = _server(words, complaints)
        if server is not None and server.name in servers:
            complaints.complain(f"{server.name!r} is the name of a server above already")
        elif server is not None:
            servers[server.name] = server
        errors += (f"{filename}:{number}: {error.removeprefix(': ')}" for error in complaints.errors)
    if not (servers or errors):
        errors.append(f"{filename}: holds no server")
    return tuple(servers.values()), tuple(errors)


def _server(words: list[str], complaints: Table) -> ServerSpec | None:
    """One line, read as the table that it stands for."""
    address, *options = words
    entry: dict[str, object] = {"address": address}
    for key, value in map(_option, options):
        if key in entry:
            complaints.complain("is there twice", complaints.at(key))
            return None
        entry[key] = value
    return read_server(entry, "", complaints)


def _option(word: str) -> tuple[str, object]:
    key, equals, value = word.partition("=")
    if not equals and key == "backup":
        return key, True
    if key == "name":
        return key, value
    return key, int(value) if _NUMBER.fullmatch(value) else _WORDS.get(value, value)
