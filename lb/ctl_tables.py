"""What the admin endpoint answers as tables for people, in colour on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lb.config_values import duration_text

__all__ = ["connections", "event_line", "servers", "show", "status"]

UNBOUNDED = 100_000
"""Columns of what is no terminal: a program that reads lines wants them whole."""
STATE_STYLES = {
    "up": "green", "down": "red", "ejected": "red", "draining": "yellow", "checking": "yellow",
    "open": "green", "greeting": "yellow", "connecting": "yellow", "held": "yellow",
    "warning": "yellow", "error": "red",
}  # fmt: skip
NUMBERS = ("weight", "active", "total", "failed", "in", "out", "id", "count", "connects", "retries", "mean connect")
"""Columns that stand at the right."""

Json = Mapping[str, Any]


def show(picture: RenderableType) -> None:
    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=UNBOUNDED)
    console.print(picture)


def status(answer: Json) -> RenderableType:
    listeners = [
        (name, ", ".join(each["bind"]), each["pool"], each["active"], each["total"])
        for name, each in answer["listeners"].items()
    ]
    pools = [
        (
            name,
            each["strategy"],
            _available(each["available"], len(each["servers"])),
            each["connects"],
            f"{each['connect_seconds'] / each['connects'] * 1000:.1f} ms" if each["connects"] else "",
            each["retries"],
        )
        for name, each in answer["pools"].items()
    ]
    parts = [
        _table(("listener", "bind", "pool", "active", "total"), listeners),
        _table(("pool", "strategy", "available", "connects", "mean connect", "retries"), pools),
    ]
    if answer["ended"]:
        parts.append(_table(("ended", "count"), answer["ended"].items()))
    traffic = Text(f"{size(answer['bytes_in'])} in, {size(answer['bytes_out'])} out")
    return Group(*(Padding(part, (0, 0, 1, 0), expand=False) for part in parts), traffic)


def servers(answer: Json, now: str) -> RenderableType:
    """``answer`` as ``lb ctl servers --json`` has it; ``now`` by the balancer's clock."""
    rows = [
        (
            f"{each['pool']}/{each['server']}",
            each["address"],
            each["state"],
            _since(each["last_change"], now),
            _weight(each),
            each["active"],
            each["total"],
            each["failed_connects"],
            each["reason"] or _role(each),
        )
        for each in answer["servers"]
    ]
    return _table(("server", "address", "state", "since", "weight", "active", "total", "failed", ""), rows)


def connections(answer: Json) -> RenderableType:
    rows = [
        (
            each["id"],
            each["client"],
            each["listener"],
            f"{each['pool']}/{each['server']}" if each["server"] else each["pool"],
            each["state"],
            duration_text(int(each["duration_ms"]) // 1000),
            size(each["bytes_in"]),
            size(each["bytes_out"]),
        )
        for each in answer["connections"]
    ]
    return _table(("id", "client", "listener", "server", "state", "for", "in", "out"), rows)


def event_line(fields: Json) -> RenderableType:
    """``2026-01-31T12:00:00+00:00  warning  backend.ejected  pool=web server=a``."""
    when = datetime.fromisoformat(fields["timestamp"]).astimezone().isoformat(" ", "seconds")
    told = {key: value for key, value in fields.items() if key not in ("timestamp", "level", "event")}
    line = Text.assemble(
        (when, "dim"),
        "  ",
        (f"{fields['level']:7}", STATE_STYLES.get(fields["level"], "")),
        "  ",
        (printable(fields["event"]), "bold"),
    )
    for key, value in told.items():
        line.append(f" {printable(key)}=", "dim").append(printable(value))
    return line


def size(count: int) -> str:
    """Bytes in words: ``17 B``, ``1.5 kB``, ``2.0 GB``; powers of 1000."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} PB"


def printable(value: object) -> str:
    """Text that a terminal takes for nothing but text: reasons hold what a server has answered."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(value))


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, head in enumerate(heads):
        last = number == len(heads) - 1
        table.add_column(head, justify="right" if head in NUMBERS else "left", no_wrap=not last, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    text = printable(value)
    return Text(text, STATE_STYLES.get(text, ""))


def _available(count: int, servers: int) -> Text:
    style = "red" if not count else "green" if count == servers else "yellow"
    return Text(f"{count} of {servers}", style)


def _weight(server: Json) -> str:
    """An asterisk says that somebody has set it since the configuration."""
    said = server["override"] or {}
    return f"{server['weight']}*" if said.get("weight") is not None else str(server["weight"])


def _role(server: Json) -> str:
    return "backup" if server["backup"] else ""


def _since(then: str, now: str) -> str:
    seconds = (datetime.fromisoformat(now) - datetime.fromisoformat(then)).total_seconds()
    return duration_text(max(0, int(seconds)))
