"""What ``lb top`` shows: a state and the size of a terminal in, a picture out. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice

import attrs
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from lb.operate.ctl_words import Json, event_fields, local_time, printable, since, size, weight, why
from lb.operate.screen import LEVEL_STYLES, STATE_STYLES, curve, key_line, panel
from lb.operate.top_view import Place, TopView

__all__ = ["picture"]

FRAME = 4
"""Columns that a frame takes: a line and a blank on either side."""
WIDE = 110
"""Columns from which there is room for addresses."""
KEYS = {"↑↓": "select", "d": "drain", "e": "enable", "t": "trouble", "p": "pause", "?": "help", "q": "quit"}
HELP = """\
[reverse] ↑ [/] [reverse] ↓ [/] or [reverse] k [/] [reverse] j [/]   select a server; also page up, page down, home, end
[reverse] d [/]              drain it: no new connections; those it has go on
[reverse] e [/]              enable it: end that
[reverse] t [/]              only the servers that are not up, or all of them
[reverse] p [/] or [reverse] space [/]   pause: the picture stands still, to be read
[reverse] q [/]              quit

[bold]since[/]   how long it has been in this state
[bold]wt[/]      its weight in force; * set by an operator
[bold]active[/]  connections that hold it now
[bold]new/s[/]   connections that came to it, each second
[bold]checks[/]  its last active checks, the newest at the right: [green]▂[/] passed, [red]█[/] failed

What is drained here stays so over a reload that does not contradict it."""


@attrs.frozen
class Columns:
    """Their widths: what is left is for the reason."""

    name: int
    address: int
    checks: int

    @classmethod
    def fitting(cls, view: TopView, width: int) -> Columns:
        wide = width >= WIDE
        servers = [(name, view.status["pools"][pool]["servers"][name]) for pool, name in view.places]
        addresses = [each["address"] for name, each in servers if each["address"] != name]
        return cls(
            name=max(6, min(max((len(name) for name, _ in servers), default=0), width - 64, 40)),
            address=min(max(map(len, addresses), default=0), 24) if wide else 0,
            checks=min(60, max(10, (width - 60) // 2)) - (10 if wide else 0),
        )


def picture(view: TopView, width: int, height: int) -> RenderableType:
    """Fills exactly so many columns and lines."""
    whole = Layout()
    events = 0 if height < 16 else max(5, height // 4)
    middle: list[Layout]
    if view.helping:
        middle = [Layout(panel(Text.from_markup(HELP), "help: any key ends it"))]
    else:
        middle = [Layout(_servers(view, width, height - events - 5)), Layout(_selected(view), size=1)]
        if events:
            middle.append(Layout(_events(view, events - 2), size=events))
    whole.split_column(
        Layout(_headline(view), size=1),
        Layout(_traffic(view, width), size=2),
        *middle,
        Layout(key_line(KEYS), size=1),
    )
    return whole


def _headline(view: TopView) -> Text:
    pools = view.status["pools"].values()
    servers = [server for pool in pools for server in pool["servers"].values()]
    without = [name for name, pool in view.status["pools"].items() if not pool["available"]]
    if view.lost:
        how = ("● no answer; asking again", "bold red")
    elif view.paused:
        how = ("● paused", "bold yellow")
    elif without:
        how = (f"● no available server: {', '.join(without)}", "bold red")
    else:
        up = sum(server["state"] == "up" for server in servers)
        how = (f"● {up} of {len(servers)} servers up", "bold green" if up == len(servers) else "bold yellow")
    when = local_time(view.status["timestamp"])
    line = Text.assemble(" ", ("trio-lb", "bold"), "  ", (printable(view.address), "cyan"), f"  {when:%H:%M:%S}  ")
    return _one_line(line.append(printable(how[0]), how[1]))


def _traffic(view: TopView, width: int) -> Group:
    status = view.status
    open_now = sum(listener["active"] for listener in status["listeners"].values())
    figures = {
        "open": f"{open_now:,}",
        "new/s": _amount(view.connection_rate),
        "in": f"{size(view.byte_rate('bytes_in'))}/s",
        "out": f"{size(view.byte_rate('bytes_out'))}/s",
    }
    ended = [f"{count:,} {reason}" for reason, count in islice(status["ended"].items(), 4)]
    line = Text(" ")
    for name, figure in figures.items():
        line.append(f"{name} ", "dim").append(figure, "bold").append("   ")
    line.append("ended ", "dim").append(", ".join(ended) or "none")
    bars = Text.assemble(" ", (curve(list(view.rates)[-(width - 2) :]), "cyan"))
    return Group(_one_line(line), _one_line(bars))


# The servers


def _servers(view: TopView, width: int, height: int) -> Panel:
    """The lines around the selected one, as many as fit."""
    columns = Columns.fitting(view, width)
    lines = _lines(view)
    room = max(height - 3, 1)
    chosen = lines.index(view.selected) if view.selected is not None else 0
    first = min(max(chosen - room // 2, 0), max(len(lines) - room, 0))
    shown = lines[first : first + room]
    rows = [_server(view, place, columns) if place[1] else _pool(view, place[0]) for place in shown]
    if view.selected is not None:
        chosen_row = rows[chosen - first]
        chosen_row.truncate(max(width - FRAME, 0), overflow="ellipsis", pad=True)
        chosen_row.stylize("on grey19")
    title = "servers that are not up" if view.sifted else "servers"
    if len(lines) > room and view.selected is not None:
        title += f", {view.places.index(view.selected) + 1} of {len(view.places)}"
    return panel(Group(_heads(columns), *map(_one_line, rows)), title)


def _lines(view: TopView) -> list[Place]:
    """The servers, those of each pool below a line without one."""
    lines: list[Place] = []
    places = view.places
    for pool in view.status["pools"]:
        lines += [(pool, ""), *(place for place in places if place[0] == pool)]
    return lines


def _heads(columns: Columns) -> Text:
    heads = [("", 1), ("server", columns.name)]
    if columns.address:
        heads.append(("address", columns.address))
    heads += [("state", 10), ("since", 6)]
    line = _row([Text(head) for head, _ in heads], [wide for _, wide in heads])
    for head, wide in (("wt", 4), ("active", 6), ("new/s", 6)):
        line.append(f" {head:>{wide}}")
    line.append(f"  {'checks':{columns.checks}}  why")
    line.stylize("dim")
    return _one_line(line)


def _pool(view: TopView, name: str) -> Text:
    pool = view.status["pools"][name]
    servers = len(pool["servers"])
    style = "red" if not pool["available"] else "green" if pool["available"] == servers else "yellow"
    took = view.connect_seconds(name)
    line = Text.assemble(
        (printable(name), "bold"),
        (f"  {printable(pool['strategy'])}  ", "dim"),
        (f"{pool['available']} of {servers} available", style),
    )
    if took is not None:
        line.append("  connect ", "dim").append(f"{took * 1000:.1f} ms")
    if pool["retries"]:
        line.append("  retries ", "dim").append(f"{pool['retries']:,}")
    return line


def _server(view: TopView, place: Place, columns: Columns) -> Text:
    pool, name = place
    server = view.status["pools"][pool]["servers"][name]
    style = STATE_STYLES.get(server["state"], "")
    chosen = place == view.selected
    cells = [Text("▸" if chosen else " ", "bold cyan"), Text(printable(name), "bold" if chosen else "")]
    widths = [1, columns.name]
    if columns.address:
        cells.append(Text(printable(server["address"]), "dim"))
        widths.append(columns.address)
    cells += [
        Text(f"● {printable(server['state'])}", style),
        Text(since(server["last_change"], view.status["timestamp"]), "dim"),
    ]
    line = _row(cells, [*widths, 10, 6])
    line.append(f" {weight(server):>4} {server['active']:>6,} {_amount(view.server_rate(place)):>6}  ")
    line.append_text(_strip(server["history"][-columns.checks :], columns.checks))
    line.append("  ").append(why(server), style if server["state"] != "up" else "dim")
    return line


def _row(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    """Each cell cut or filled to its width, a blank between two."""
    line = Text()
    for number, (cell, wide) in enumerate(zip(cells, widths, strict=True)):
        cell.truncate(wide, overflow="ellipsis", pad=True)
        line.append(" " if number else "").append_text(cell)
    return line


def _strip(history: Sequence[int], width: int) -> Text:
    """A check each, the newest at the right. Failures stand out by height too, for those who see no colours."""
    strip = Text(" " * (width - len(history)))
    for passed, alike in groupby(history):
        strip.append(("▂" if passed else "█") * len([*alike]), "green" if passed else "red")
    return strip


def _selected(view: TopView) -> Text:
    """Why nobody answers, what became of the last order, or all that there is to say of the selected server."""
    if view.lost:
        return _one_line(Text(f" {printable(view.lost)}", "red"))
    if view.said:
        return _one_line(Text(f" {printable(view.said)}", "bold"))
    if view.selected is None:
        return Text(" no server to be seen", "dim")
    pool, name = view.selected
    server = view.status["pools"][pool]["servers"][name]
    return _one_line(Text.assemble(" ", (printable(f"{pool}/{name}"), "bold"), "  ", ", ".join(_details(server))))


def _details(server: Json) -> Iterator[str]:
    yield printable(server["address"])
    if words := why(server):
        yield words
    check = server["last_check"]
    if check is not None:
        verdict = "passed" if check["ok"] else "failed"
        detail = "" if check["ok"] or check["detail"] == server["reason"] else f": {check['detail']}"
        yield printable(f"last check {verdict} in {check['ms']:.1f} ms{detail}")
    if server["failed_connects"]:
        yield f"{server['failed_connects']:,} failed connects"
    if server["max_connections"]:
        yield f"at most {server['max_connections']:,} connections"


# The events


def _events(view: TopView, room: int) -> Panel:
    lines = [_event(event) for event in islice(reversed(view.events), max(room, 0))]
    return panel(Group(*lines) if lines else Text("none yet", "dim"), "events, the latest first")


def _event(event: Json) -> Text:
    when = local_time(event["timestamp"])
    line = Text.assemble(
        (f"{when:%H:%M:%S}  ", "dim"), (printable(event["event"]), LEVEL_STYLES.get(event["level"], "green"))
    )
    for key, value in event_fields(event).items():
        line.append(f" {key}=", "dim").append(value)
    return _one_line(line)


def _amount(number: float) -> str:
    return f"{number:,.1f}" if number < 10 else f"{number:,.0f}"


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
