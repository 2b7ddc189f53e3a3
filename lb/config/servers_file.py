"""Parse a ``servers_file``: one server per line, easy to write from scripts."""

from __future__ import annotations

import re
from pathlib import Path

from lb.config.pools import read_server
from lb.model import ServerSpec
from lb.model.printable import shortened
from lb.model.table import Table

__all__ = ["parse_servers_file"]

_BOOLEANS: dict[str, object] = {"true": True, "false": False}
_NUMBER = re.compile(r"-?[0-9]{1,18}")  # longer numbers exceed the bounds of every key

MOST_LINES = 10
"""Maximum lines of errors: a file of the wrong kind has an error on each of its lines."""
_LONGEST_ERROR = 500  # characters: a word of the file may have any length


def parse_servers_file(content: bytes, filename: str) -> tuple[tuple[ServerSpec, ...], tuple[str, ...]]:
    """Return the servers of a file and its errors, at most MOST_LINES lines: ``web.servers:3: weight: must be …``.

    A line is an address and optional ``key=value`` fields with the keys of ``[[pools.NAME.servers]]``;
    ``backup`` alone is ``backup=true``. ``#`` starts a comment.
    """
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        broken = content.count(b"\n", 0, error.start) + 1
        return (), (f"{filename}:{broken}: is not UTF-8: byte 0x{content[error.start]:02x}",)
    servers: dict[str, ServerSpec] = {}
    errors: list[str] = []
    more = 0
    for number, line in enumerate(lines, 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        complaints = Table({}, "", [])
        server = _server(fields, complaints, Path(filename).parent)
        if server is not None and server.name in servers:
            complaints.complain(f"{server.name!r} is already the name of a server above")
        elif server is not None:
            servers[server.name] = server
        for complaint in complaints.errors:
            if len(errors) < MOST_LINES:
                errors.append(shortened(f"{filename}:{number}: {complaint}", _LONGEST_ERROR))
            else:
                more += 1
    if more:
        errors[-1] = f"{filename}: {more + 1} more errors"
    return tuple(servers.values()), tuple(errors)


def _server(fields: list[str], complaints: Table, directory: Path) -> ServerSpec | None:
    """Read one line like a table of the configuration file."""
    address, *options = fields
    entry: dict[str, object] = {"address": address}
    for key, value in map(_option, options):
        if key in entry:
            complaints.complain("is given twice", complaints.at(key))
            return None
        entry[key] = value
    server = read_server(entry, "", complaints, directory)
    if server is not None and server.address.has_no_port:
        complaints.complain(f"{address!r} needs a port")
    return server


def _option(field: str) -> tuple[str, object]:
    key, equals, value = field.partition("=")
    if not equals and key == "backup":
        return key, True
    if key == "name":
        return key, value
    return key, int(value) if _NUMBER.fullmatch(value) else _BOOLEANS.get(value, value)
