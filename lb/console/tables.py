"""Tables of the admin endpoint's responses, in colour on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lb.console.screen import LEVEL_STYLES, STATE_STYLES
from lb.console.stream_explanation import stream_lines
from lb.console.text import Json, bitrate, event_cells, local_time, milliseconds, percent, since, size, weight, why
from lb.model.printable import printable
from lb.model.values import duration_text

__all__ = [
    "caches_table",
    "connections_table",
    "event_line",
    "explanation_table",
    "servers_table",
    "show",
    "status_table",
    "stream_table",
    "streams_table",
]

UNBOUNDED = 100_000
"""Width if the output is not a terminal: a program that reads lines needs them unwrapped."""
CELL_STYLES = {
    **STATE_STYLES,
    "open": "green", "greeting": "yellow", "connecting": "yellow", "held": "yellow",
}  # fmt: skip
CRITERIA = {
    "client": "by a hash of the client",
    "request": "by a hash of the request",
    "cookie": "by the cookie of the client",
    "order": "the first in order",
    "load": "by load",
    "turn": "by turn",
    "chance": "at random",
    "unknown": "the strategy does not report its criterion",
}
EFFECTS = {
    "rate": "429 above it",
    "auth": "401 without a password of these users",
    "forward_auth": "the request passes if it answers 2xx",
    "compress": "what can be, as Accept-Encoding says",
}
"""What the keys of a route do to a request."""
WITHOUT_SERVER = {
    "reject": "no server: the connection is closed",
    "hold": "no server: the connection is held until one is available",
    "queue": "no server: the connection waits in the queue",
}
NUMBERS = (
    "weight", "active", "total", "failed", "in", "out", "id", "count", "connects", "retries", "mean connect", "kept",
    "requests/s", "2xx", "3xx", "4xx", "5xx", "none", "p50", "p90", "p99",
    "objects", "hits in the last minute", "hits since the start", "fills under way",
    "bitrate", "viewers", "RTMP players", "segments", "latest",
    "turn", "credit", "deadline", "load", "share", "distance",
)  # fmt: skip
"""Right-aligned columns."""


def show(picture: RenderableType) -> None:
    """Print to stdout."""
    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=UNBOUNDED)
    console.print(picture)


def status_table(answer: Json) -> RenderableType:
    """Return the tables of ``lb ctl status``."""
    listeners = [
        (name, ", ".join(each["bind"]), each["pool"], each["active"], each["total"])
        for name, each in answer["listeners"].items()
    ]
    pools = [
        (
            name,
            f"{each['strategy']}, ignores weights" if "weight" in each["ignored"] else each["strategy"],
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
        *_sources(answer),
        *_requests(answer),
    ]
    if answer["ended"]:
        parts.append(_table(("ended", "count"), answer["ended"].items()))
    below = [Text(f"{size(answer['bytes_in'])} in, {size(answer['bytes_out'])} out"), *_announced(answer)]
    return Group(*(Padding(part, (0, 0, 1, 0), expand=False) for part in parts), *below)


def _sources(answer: Json) -> Iterable[Table]:
    """Return the table of discovery sources, if there are any. A balancer of an older version does not say."""
    rows = [
        (name, source["source"], source["servers"], source["from"], source["error"] or "")
        for name, each in answer["pools"].items()
        for source in each.get("sources", ())
    ]
    if rows:
        yield _table(("pool", "source", "servers", "from", "error"), rows)


def _announced(answer: Json) -> Iterable[Text]:
    """Return the line of the announced addresses, if there are any. A balancer of an older version does not say."""
    announce = answer.get("announce")
    if announce is not None:
        state = "announced" if announce["up"] else "not announced"
        addresses = ", ".join(announce["addresses"])
        yield Text(f"{addresses} on {announce['interface']}: {state} since {announce['since']}")


def _requests(answer: Json) -> Iterable[Table]:
    """Return tables of the last minute's requests and of kept connections, if there are listeners of mode ``http``."""
    listeners = answer["listeners"].items()
    latest = {name: each["requests"]["last_minute"] for name, each in listeners if "requests" in each}
    if latest:
        statuses = ("2xx", "3xx", "4xx", "5xx", "none")
        rows = [
            (
                name,
                f"{each['per_second']:g}",
                *(f"{each['statuses'][status]:g}" for status in statuses),
                *(milliseconds(each[percentile]) for percentile in ("p50_ms", "p90_ms", "p99_ms")),
                ", ".join(
                    f"{route['route'] or '(no route)'} {milliseconds(route['p90_ms'])}"
                    for route in each["slowest_routes"]
                ),
            )
            for name, each in latest.items()
        ]
        yield _table(("listener", "requests/s", *statuses, "p50", "p90", "p99", "slowest routes"), rows)
        kept = {name: each["kept_connections"] for name, each in answer["pools"].items() if each["kept_connections"]}
        if kept:
            yield _table(("pool", "kept"), kept.items())


def servers_table(answer: Json, now: str) -> RenderableType:
    """Return the table of ``lb ctl servers``. ``answer`` is that of its ``--json``; ``now`` is the balancer's clock."""
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


def connections_table(answer: Json) -> RenderableType:
    """Return the table of ``lb ctl connections``."""
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


def caches_table(answer: Json) -> RenderableType:
    """Return the table of ``lb ctl cache``."""
    rows = [
        (
            name,
            *_tier(each["memory"]),
            *_tier(each["disk"]),
            *(percent(each["hit_ratio"][time]) for time in ("last_minute", "since_start")),
            each["fills_under_way"],
        )
        for name, each in answer["caches"].items()
    ]
    hits = ("hits in the last minute", "hits since the start")
    return _table(("cache", "objects", "memory", "objects", "disk", *hits, "fills under way"), rows)


def _tier(tier: Json | None) -> tuple[object, str]:
    """Return the objects and bytes of a tier; nothing if there is none."""
    return ("", "none") if tier is None else (tier["objects"], f"{size(tier['bytes'])} of {size(tier['max_bytes'])}")


def streams_table(answer: Json, now: str) -> RenderableType:
    """Return the table of ``lb ctl streams``. ``now`` is the balancer's clock."""
    heads = ("stream", "publisher", "since", "codecs", "bitrate", "viewers", "RTMP players", "segments", "latest", "")
    return _table(heads, [_stream(name, each, now) for name, each in answer.items()])


def _stream(name: str, stream: Json, now: str) -> Sequence[object]:
    publisher = stream["client"] or ("" if stream["live"] else Text("none", "yellow"))
    return (
        name,
        publisher,
        "" if stream["since"] is None else since(stream["since"], now),
        ", ".join(stream["codecs"]),
        bitrate(stream["bitrate"]) if stream["live"] else "",
        stream["viewers"],
        stream["players"],
        stream["segments"],
        "" if stream["latest"] is None else stream["latest"],
        f"ladder of {', '.join(stream['ladder'])}" if stream["ladder"] else "",
    )


def explanation_table(answer: Json) -> RenderableType:
    """Return the output of ``lb explain``: the server that a client gets, and why not the others."""
    lines = [f"denied: {answer['denied']}; if it were allowed:"] if answer["denied"] is not None else []
    lines.append(f"{answer['source']} on {answer['listener']} {_outcome(answer)}")
    lines += _of_target(answer["target"]) if "target" in answer else ()
    if "request" in answer:
        lines += _of_request(answer["request"], answer.get("stored"))
    if answer["pool"] is not None:
        lines.append(_criterion(answer))
    parts: list[RenderableType] = [Text(printable(line)) for line in lines]
    if answer["pool"] is not None:
        parts += [Text(""), _considered(answer["servers"])]
    if "without" in answer:
        parts += [Text(""), *(Text(printable(line)) for line in _without(answer["without"]))]
    if answer["notes"]:
        parts += [Text(""), *(Text(f"note: {printable(note)}") for note in answer["notes"])]
    return Group(*parts)


def stream_table(answer: Json) -> RenderableType:
    """Return the output of ``lb explain --stream``."""
    return Group(*(Text(printable(line)) for line in stream_lines(answer)))


def _outcome(answer: Json) -> str:
    """Return what becomes of a client."""
    judged = answer.get("target")
    if judged is not None and not judged["allowed"]:
        return f"is refused {judged['target']}"
    if judged is not None:
        way = f" through {_target(answer)}" if answer["pool"] is not None else ""
        return f"reaches {judged['target']}{way}"
    return f"gets {_target(answer) if answer['pool'] is not None else _own_answer(answer['request'])}"


def _of_target(judged: Json) -> Iterable[str]:
    """Return why a target is reached or not, and how each of its addresses is judged."""
    yield judged["why"]
    for each in judged["addresses"]:
        yield f"  {each['address']}: {'may be reached' if each['refused'] is None else each['refused']}"


def _criterion(answer: Json) -> str:
    key = answer.get("key", {})
    where = f" ({key['key']} is at {key['position']} of {key['of']})" if key else ""
    return f"pool {answer['pool']}, {answer['strategy']}: {CRITERIA.get(answer['decides'], answer['decides'])}{where}"


def _of_request(request: Json, stored: Sequence[Json] | None) -> Iterable[str]:
    """Return the way of a request: its route, and what happens before and after its server.

    ``stored`` is what its cache has for it; None: that is not known.
    """
    yield f"{request['method']} {request['url']}"
    yield request["why"]
    for key, value in request["on_the_way"].items():
        effect = EFFECTS.get(key)
        yield f"  {key} = {value}{f': {effect}' if effect else ''}"
    if request["cache_key"] is not None:
        yield f"  its key in the cache is {request['cache_key']}"
        yield from _stored(stored)
    if request["sticky_server"] is not None:
        yield f"  the sticky cookie names {request['sticky_server']}"
    if request["server_gets"] is not None:
        target, host = request["server_gets"]["target"], request["server_gets"]["host"]
        yield f"  the server gets {request['method']} {target}, Host {host}"


def _stored(stored: Sequence[Json] | None) -> Iterable[str]:
    """Return what a cache has under a key: one response, or its variants and slices."""
    if stored == []:
        yield "  nothing is stored in its cache"
    for each in stored or ():
        length = "" if each["bytes"] is None else f", {size(each['bytes'])}"
        left = duration_text(int(abs(each["fresh_for"])))
        state = f"fresh for {left}" if each["fresh_for"] > 0 else f"stale since {left}"
        yield f"  stored in its cache: status {each['status']}{length}, {state}"


def _own_answer(request: Json) -> str:
    return f"{request['answer']}, from the balancer" if request["answer"] else f"the error {request['error']}"


def _target(answer: Json) -> str:
    if answer["chosen"] is not None:
        return str(answer["chosen"])
    if "otherwise" in answer:
        return WITHOUT_SERVER[answer["otherwise"]]
    return f"one of {answer['counts']['candidate']}"


def _considered(servers: Sequence[Json]) -> Table:
    seen = list(dict.fromkeys(name for server in servers for name in server["saw"]))
    rows = [
        (
            server["server"],
            Text("chosen", "green") if server["verdict"] == "chosen" else server["verdict"],
            *(_figure(name, server["saw"].get(name)) for name in seen),
            server.get("reason", ""),
        )
        for server in servers
    ]
    return _table(("server", "verdict", *(name.replace("_", " ") for name in seen), ""), rows)


def _figure(name: str, figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:.1%}" if name == "share" else f"{figure:g}"


def _without(then: Json) -> Iterable[str]:
    names = then["names"]
    who = "requests" if then["decides"] == "request" else "clients"
    they_are, them = ("it is", "it") if len(names) == 1 else ("they are", "them")
    yield f"without {' and '.join(names)}: {_target(then)}"
    if "otherwise" in then:
        yield f"100.0% of the {who} get no server"
    elif then["moves"] is not None:
        yield f"{then['moves']['down']:.1%} of the {who} get another server while {they_are} down, then return"
        yield f"{then['moves']['removed']:.1%} get another server if {they_are} removed from the configuration"
    elif then["share"] is not None:
        yield f"clients are not tied to a server; {then['share']:.1%} of the new connections go to another server"
    else:
        yield f"clients are not tied to a server; only those connected to {them} are affected"


def event_line(fields: Json) -> RenderableType:
    """Return a line like ``2026-01-31 12:00:00+00:00  warning  backend.ejected pool=web server=a``."""
    when = local_time(fields["timestamp"]).isoformat(" ", "seconds")
    line = Text.assemble(
        (when, "dim"),
        "  ",
        (f"{fields['level']:7}", LEVEL_STYLES.get(fields["level"], "")),
        "  ",
        (printable(fields["event"]), "bold"),
    )
    for key, value in event_cells(fields).items():
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
    return Text(text, CELL_STYLES.get(text, ""))


def _available(count: int, servers: int) -> Text:
    style = "red" if not count else "green" if count == servers else "yellow"
    return Text(f"{count} of {servers}", style)
