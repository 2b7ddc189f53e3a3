"""The screen of ``lb top``, drawn from its state and the size of the terminal. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice

import attrs
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from lb.console.screen import LEVEL_STYLES, STATE_STYLES, amount, cells_in_columns, curve, key_line, panel, single_line
from lb.console.text import Json, event_cells, local_time, since, size, weight, why
from lb.console.top_caches import cache_lines
from lb.console.top_requests import requests_line, requests_panel
from lb.console.top_streams import stream_rows
from lb.console.top_view import ServerKey, TopView
from lb.model.printable import printable

__all__ = ["picture"]

FRAME_COLUMNS = 4
"""Columns of a frame: a line and a blank on either side."""
WIDE = 110
"""Minimum columns to show addresses."""
KEY_HELP = {"↑↓": "select", "d": "drain", "e": "enable", "t": "not up", "p": "pause", "?": "help", "q": "quit"}
REQUEST_KEY_HELP = {
    "↑↓": "select",
    "d": "drain",
    "e": "enable",
    "r": "requests",
    "p": "pause",
    "?": "help",
    "q": "quit",
}
"""With a listener of mode ``http``. All of them would not fit into 80 columns."""
HELP = """\
[reverse] ↑ [/] [reverse] ↓ [/] or [reverse] k [/] [reverse] j [/]   select a server; also page up, page down, home, end
[reverse] d [/]              drain it: no new connections; open ones may finish
[reverse] e [/]              enable it: new connections again
[reverse] t [/]              show only servers that are not up, or all
[reverse] r [/]              show requests by listener and their slowest routes, or servers
[reverse] p [/] or [reverse] space [/]   pause: freeze the screen; keys still work
[reverse] q [/]              quit

[bold]since[/]   time in this state
[bold]wt[/]      current weight; * set by an operator
[bold]active[/]  open connections
[bold]new/s[/]   new connections per second
[bold]kept[/]    idle connections to the pool's servers, kept for further requests
[bold]checks[/]  last health checks, newest at the right: [green]▂[/] passed, [red]█[/] failed

Overrides survive a reload unless it changes the server's weight."""


@attrs.frozen
class Columns:
    """Widths of the columns. The reason gets the rest."""

    name: int
    address: int
    checks: int

    @classmethod
    def fitting(cls, view: TopView, width: int) -> Columns:
        wide = width >= WIDE
        servers = [(name, view.status["pools"][pool]["servers"][name]) for pool, name in view.servers]
        addresses = [each["address"] for name, each in servers if each["address"] != name]
        return cls(
            name=max(6, min(max((len(name) for name, _ in servers), default=0), width - 64, 40)),
            address=min(max(map(len, addresses), default=0), 24) if wide else 0,
            checks=min(60, max(10, (width - 60) // 2)) - (10 if wide else 0),
        )


def picture(view: TopView, width: int, height: int) -> RenderableType:
    """Draw the screen. It fills exactly this width and height."""
    whole = Layout()
    traffic = _traffic(view, width)
    events = 0 if height < 16 else max(5, height // 4)
    room = height - events - len(traffic) - 3
    middle: list[Layout]
    if view.show_help:
        middle = [Layout(panel(Text.from_markup(HELP), "help: press any key to close"))]
    else:
        requests = view.requests if view.show_requests else {}
        large = requests_panel(requests, width, room) if requests else _servers(view, width, room)
        middle = [Layout(large), Layout(_selected(view), size=1)]
        if events:
            middle.append(Layout(_events(view, events - 2), size=events))
    whole.split_column(
        Layout(_headline(view), size=1),
        Layout(Group(*traffic), size=len(traffic)),
        *middle,
        Layout(key_line(REQUEST_KEY_HELP if view.requests else KEY_HELP), size=1),
    )
    return whole


def _headline(view: TopView) -> Text:
    pools = view.status["pools"].values()
    servers = [server for pool in pools for server in pool["servers"].values()]
    without = [name for name, pool in view.status["pools"].items() if not pool["available"]]
    if view.lost:
        headline = ("● no response; retrying", "bold red")
    elif view.paused:
        headline = ("● paused", "bold yellow")
    elif without:
        headline = (f"● no available server: {', '.join(without)}", "bold red")
    else:
        up = sum(server["state"] == "up" for server in servers)
        headline = (f"● {up} of {len(servers)} servers up", "bold green" if up == len(servers) else "bold yellow")
    when = local_time(view.status["timestamp"])
    line = Text.assemble(" ", ("trio-lb", "bold"), "  ", (printable(view.address), "cyan"), f"  {when:%H:%M:%S}  ")
    return single_line(line.append(printable(headline[0]), headline[1]))


def _traffic(view: TopView, width: int) -> list[Text]:
    """Draw the figures of connections, of requests, caches and streams if there are any, and the curve of new ones."""
    status = view.status
    open_now = sum(listener["active"] for listener in status["listeners"].values())
    figures = {
        "open": f"{open_now:,}",
        "new/s": amount(view.connection_rate),
        "in": f"{size(view.byte_rate('bytes_in'))}/s",
        "out": f"{size(view.byte_rate('bytes_out'))}/s",
    }
    ended = [f"{count:,} {reason}" for reason, count in islice(status["ended"].items(), 4)]
    line = Text(" ")
    for name, figure in figures.items():
        line.append(f"{name} ", "dim").append(figure, "bold").append("   ")
    line.append("ended ", "dim").append(", ".join(ended) or "none")
    bars = Text.assemble(" ", (curve(list(view.rates)[-(width - 2) :]), "cyan"))
    requests = [requests_line(view.requests)] if view.requests else []
    return [
        single_line(line),
        *requests,
        *cache_lines(status["caches"]),
        *stream_rows(status["streams"]),
        single_line(bars),
    ]


# The servers


def _servers(view: TopView, width: int, height: int) -> Panel:
    """Draw the lines around the selected one, as many as fit."""
    columns = Columns.fitting(view, width)
    lines = _lines(view)
    room = max(height - 3, 1)
    chosen = lines.index(view.selected) if view.selected is not None else 0
    first = min(max(chosen - room // 2, 0), max(len(lines) - room, 0))
    shown = lines[first : first + room]
    rows = [_server(view, key, columns) if key[1] else _pool(view, key[0]) for key in shown]
    if view.selected is not None:
        chosen_row = rows[chosen - first]
        chosen_row.truncate(max(width - FRAME_COLUMNS, 0), overflow="ellipsis", pad=True)
        chosen_row.stylize("on grey19")
    title = "servers not up" if view.only_not_up else "servers"
    if len(lines) > room and view.selected is not None:
        title += f", {view.servers.index(view.selected) + 1} of {len(view.servers)}"
    return panel(Group(_heads(columns), *map(single_line, rows)), title)


def _lines(view: TopView) -> list[ServerKey]:
    """Return a key per line: each pool with an empty server name, then its servers."""
    lines: list[ServerKey] = []
    servers = view.servers
    for pool in view.status["pools"]:
        lines += [(pool, ""), *(key for key in servers if key[0] == pool)]
    return lines


def _heads(columns: Columns) -> Text:
    heads = [("", 1), ("server", columns.name)]
    if columns.address:
        heads.append(("address", columns.address))
    heads += [("state", 10), ("since", 6)]
    line = cells_in_columns([Text(head) for head, _ in heads], [wide for _, wide in heads])
    for head, wide in (("wt", 4), ("active", 6), ("new/s", 6)):
        line.append(f" {head:>{wide}}")
    line.append(f"  {'checks':{columns.checks}}  why")
    line.stylize("dim")
    return single_line(line)


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
    if pool["kept_connections"]:
        line.append("  kept ", "dim").append(f"{pool['kept_connections']:,}")
    for source in pool.get("sources", ()):  # a balancer of an older version does not say
        if source["error"]:
            line.append(f"  {printable(source['source'])}: {printable(source['error'])}", "yellow")
    return line


def _server(view: TopView, key: ServerKey, columns: Columns) -> Text:
    pool, name = key
    server = view.status["pools"][pool]["servers"][name]
    style = STATE_STYLES.get(server["state"], "")
    chosen = key == view.selected
    cells = [Text("▸" if chosen else " ", "bold cyan"), Text(printable(name), "bold" if chosen else "")]
    widths = [1, columns.name]
    if columns.address:
        cells.append(Text(printable(server["address"]), "dim"))
        widths.append(columns.address)
    cells += [
        Text(f"● {printable(server['state'])}", style),
        Text(since(server["last_change"], view.status["timestamp"]), "dim"),
    ]
    line = cells_in_columns(cells, [*widths, 10, 6])
    line.append(f" {weight(server):>4} {server['active']:>6,} {amount(view.server_rate(key)):>6}  ")
    line.append_text(_strip(server["history"][-columns.checks :], columns.checks))
    line.append("  ").append(why(server), style if server["state"] != "up" else "dim")
    return line


def _strip(history: Sequence[int], width: int) -> Text:
    """Draw a bar per check, newest at the right. Failures differ by height too, for readers who see no colours."""
    strip = Text(" " * (width - len(history)))
    for passed, alike in groupby(history):
        strip.append(("▂" if passed else "█") * len([*alike]), "green" if passed else "red")
    return strip


def _selected(view: TopView) -> Text:
    """Draw the error of the connection, the result of the last order, or the details of the selected server."""
    if view.lost:
        return single_line(Text(f" {printable(view.lost)}", "red"))
    if view.message:
        return single_line(Text(f" {printable(view.message)}", "bold"))
    if view.selected is None:
        return Text(" no server to show", "dim")
    pool, name = view.selected
    server = view.status["pools"][pool]["servers"][name]
    return single_line(Text.assemble(" ", (printable(f"{pool}/{name}"), "bold"), "  ", ", ".join(_details(server))))


def _details(server: Json) -> Iterator[str]:
    yield printable(server["address"])
    if reason := why(server):
        yield reason
    check = server["last_check"]
    if check is not None:
        verdict = "passed" if check["ok"] else "failed"
        detail = "" if check["ok"] or check["detail"] == server["reason"] else f": {check['detail']}"
        yield printable(f"last check {verdict} in {check['ms']:.1f} ms{detail}")
    if checked_by := server.get("checked_by"):
        yield printable(f"checked by {', '.join(checked_by)}")
    if server["failed_connects"]:
        yield f"{server['failed_connects']:,} failed connects"
    if server["max_connections"]:
        yield f"at most {server['max_connections']:,} connections"


# The events


def _events(view: TopView, room: int) -> Panel:
    lines = [_event(event) for event in islice(reversed(view.events), max(room, 0))]
    return panel(Group(*lines) if lines else Text("none yet", "dim"), "events, newest first")


def _event(event: Json) -> Text:
    when = local_time(event["timestamp"])
    line = Text.assemble(
        (f"{when:%H:%M:%S}  ", "dim"), (printable(event["event"]), LEVEL_STYLES.get(event["level"], "green"))
    )
    for key, value in event_cells(event).items():
        line.append(f" {key}=", "dim").append(value)
    return single_line(line)
