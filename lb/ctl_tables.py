"""What the admin endpoint answers as tables for people, in colour on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lb.config_values import duration_text
from lb.ctl_words import Json, event_fields, local_time, printable, since, size, weight, why
from lb.screen import LEVEL_STYLES, STATE_STYLES

__all__ = ["connections", "event_line", "servers", "show", "status"]

UNBOUNDED = 100_000
"""Columns of what is no terminal: a program that reads lines wants them whole."""
STYLES = {
    **STATE_STYLES,
    "open": "green", "greeting": "yellow", "connecting": "yellow", "held": "yellow",
}  # fmt: skip
NUMBERS = ("weight", "active", "total", "failed", "in", "out", "id", "count", "connects", "retries", "mean connect")
"""Columns that stand at the right."""


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
            since(each["last_change"], now),
            weight(each),
            each["active"],
            each["total"],
            each["failed_connects"],
            why(each),
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
    when = local_time(fields["timestamp"]).isoformat(" ", "seconds")
    line = Text.assemble(
        (when, "dim"),
        "  ",
        (f"{fields['level']:7}", LEVEL_STYLES.get(fields["level"], "")),
        "  ",
        (printable(fields["event"]), "bold"),
    )
    for key, value in event_fields(fields).items():
        line.append(f" {key}=", "dim").append(value)
    return line


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
    return Text(text, STYLES.get(text, ""))


def _available(count: int, servers: int) -> Text:
    style = "red" if not count else "green" if count == servers else "yellow"
    return Text(f"{count} of {servers}", style)
