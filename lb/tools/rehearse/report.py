"""The report of a rehearsal as an HTML page that loads nothing. No I/O except reading the style sheets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from lb.model.values import duration_text
from lb.tools.rehearse.charts import Axis, Band, ChartSeries, bars, lanes, lines, stack
from lb.tools.rehearse.expectation import Expectation
from lb.tools.rehearse.outcome import Incident, RehearsalOutcome, quantile
from lb.tools.rehearse.recorder import SLICES, VERBS, Recorder
from lb.tools.rehearse.scenario import Scenario
from lb.tools.rehearse.words import actual_text, clock_text, seconds

__all__ = ["report_page"]

HERE = Path(__file__).parent
STYLE_FILES = (HERE.parent.parent / "admin" / "page" / "dashboard.css", HERE / "page" / "report.css")
"""The style sheet of the dashboard, and that of the report."""
MAX_SERVERS = 8
"""Servers, or balancers, with a colour of their own; the others share one."""
MAX_LANES = 24
"""Servers with a lane, those with incidents first. An estimate of what is readable."""


def report_page(
    title: str, scenario: Scenario, recorder: Recorder, outcome: RehearsalOutcome, expectations: Sequence[Expectation]
) -> str:
    """Return the HTML page. ``title`` names the configuration and the scenario."""
    axis = Axis(scenario.duration, SLICES, sorted({incident.at for incident in outcome.incidents}))
    style = "".join(path.read_text(encoding="utf-8") for path in STYLE_FILES)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}: rehearsal</title>
<style>
{style}</style>
</head>
<body>
<header>
  <h1>Rehearsal</h1>
  {_verdict(outcome, expectations)}
  <p id="when">{escape(title)} · {duration_text(scenario.duration)}{_balancers(scenario)} · seed {scenario.seed}</p>
</header>
<main>
<section id="figures" aria-label="Figures">{"".join(_figures(outcome))}</section>
{"".join(_charts(axis, recorder, outcome))}
<div id="more">
{"".join(_sections(outcome, expectations))}
</div>
</main>
<footer>The balancer's own code, with simulated servers, clients and time. The same seed gives the same result.</footer>
</body>
</html>
"""


def _balancers(scenario: Scenario) -> str:
    return f" · {len(scenario.nodes)} balancers" if len(scenario.nodes) > 1 else ""


def _verdict(outcome: RehearsalOutcome, expectations: Sequence[Expectation]) -> str:
    failed = sum(not each.met(outcome.statistics) for each in expectations)
    if not outcome.statistics["sessions"]:
        failed, text = 1, "No sessions"
    elif expectations:
        text = f"{failed} of {len(expectations)} expectations not met" if failed else "All expectations met"
    else:
        failed = int(outcome.statistics["failed"])
        text = f"{failed:,} sessions failed" if failed else "No session failed"
    return f'<p id="verdict" data-ok="{"no" if failed else "yes"}">{text}</p>'


def _figures(outcome: RehearsalOutcome) -> Iterator[str]:
    statistics = outcome.statistics
    total = max(1.0, statistics["sessions"])
    for name, caption in (
        ("sessions", "Sessions"),
        ("failed", "Failed: no server"),
        ("cut", "Cut"),
        ("moved", "Moved to another server"),
        ("left", "Abandoned by clients"),
        *([("misplaced", "Misplaced between balancers")] if outcome.nodes else []),
    ):
        bad = "yes" if name in ("failed", "cut") and statistics[name] else "no"
        part = "" if name == "sessions" else f" <small>{100 * statistics[name] / total:.3g} %</small>"
        yield (
            f'<figure data-bad="{bad}"><figcaption>{caption}</figcaption>'
            f"<output>{int(statistics[name]):,}{part}</output></figure>"
        )
    yield (
        "<figure><figcaption>Wait for a server, 99th percentile</figcaption>"
        f"<output>{seconds(statistics['wait.p99'])}</output></figure>"
    )


def _charts(axis: Axis, recorder: Recorder, outcome: RehearsalOutcome) -> Iterator[str]:
    per_part = axis.duration / axis.parts
    parts = recorder.slices[: axis.parts]
    keys = (
        ("--strip", "in service"),
        ("--ejected", "ejected"),
        ("--down", "faulty"),
    )
    yield _chart(
        "Balancers and servers" if outcome.nodes else "Servers", _key(keys), lanes(axis, list(_lanes(outcome)))
    )
    if outcome.nodes:
        names = [node.name for node in outcome.nodes]
        took = list(_per_second(names, [part.took for part in parts], per_part))
        key = _key([(each.colour, each.name) for each in took])
        yield _chart("Sessions per second, by balancer", key, stack(axis, took, "", "Sessions per second, by balancer"))
    names = [server.name for server in outcome.servers]
    served = list(_per_second(names, [part.served for part in parts], per_part))
    key = _key([(each.colour, each.name) for each in served])
    yield _chart("Sessions per second", key, stack(axis, served, "", "Sessions per second, by server"))
    wrong = [
        ChartSeries("failed", "var(--down)", [part.ends["failed"] for part in parts]),
        ChartSeries("cut", "var(--ejected)", [part.ends["cut"] for part in parts]),
        ChartSeries("abandoned", "var(--rest)", [part.ends["left"] for part in parts]),
        ChartSeries("moved", "var(--accent)", [part.moved for part in parts]),
    ]
    if any(any(each.values) for each in wrong):
        key = _key([(each.colour, each.name) for each in wrong])
        chart = bars(axis, wrong, "Sessions with problems")
    else:
        key, chart = "", '<p class="quiet">None: each session ran to its end on the server that was tried first.</p>'
    yield _chart(f"Sessions with problems, per {duration_text(per_part)}", key, chart)
    ordered = [sorted(part.waits) for part in parts]
    waits = [
        ChartSeries("99th percentile", "var(--s0)", [1000 * quantile(each, 0.99) for each in ordered]),
        ChartSeries("median", "var(--s1)", [1000 * quantile(each, 0.5) for each in ordered]),
    ]
    key = _key([(each.colour, each.name) for each in waits])
    yield _chart("Wait for a server", key, lines(axis, waits, " ms", "Time until a client has a server"))


def _chart(title: str, key: str, chart: str) -> str:
    return f'<section class="chart"><h2>{title}</h2>{key}{chart}</section>\n'


def _key(colours: Sequence[tuple[str, str]]) -> str:
    spans = (
        f'<span style="--c:{f"var({colour})" if colour.startswith("--") else colour}">{escape(name)}</span>'
        for colour, name in colours
    )
    return f'<p class="key">{"".join(spans)}</p>'


def _lanes(outcome: RehearsalOutcome) -> Iterator[tuple[str, list[Band], list[Band]]]:
    """Yield the lanes of the balancers, if there are several, and of the servers."""
    for node in outcome.nodes:
        gone = [each for each in outcome.incidents if each.of_node and each.name == node.name]
        yield node.name, [_fault_band(each) for each in gone], [_absence_band(each) for each in gone]
    touched = {incident.name for incident in outcome.incidents}
    ordered = sorted(outcome.servers, key=lambda server: server.name not in touched and not server.ejections)
    shown = {server.name for server in ordered[:MAX_LANES]}
    for server in outcome.servers:
        if server.name in shown:
            faulty = [_fault_band(each) for each in outcome.incidents if each.name == server.name and not each.of_node]
            out = [
                Band(
                    each.start,
                    each.end,
                    _period(f"ejected{f' by {each.node}' if each.node else ''}", each.start, each.end),
                )
                for each in outcome.out[server.name]
            ]
            yield server.name, faulty, out


def _fault_band(incident: Incident) -> Band:
    start = 0 if incident.does == "join" else incident.at
    text = _period(str(incident), incident.at, incident.ended_at)
    return Band(start, incident.ended_at, text, VERBS[incident.does])


def _absence_band(incident: Incident) -> Band:
    """Return the time in which a balancer took no sessions."""
    start, end = incident.at + incident.ejected_after, incident.ended_at + incident.restored_after
    return Band(start, end, _period(f"{incident.name} takes no sessions", start, end))


def _period(text: str, start: float, end: float) -> str:
    return f"{text}: {clock_text(start)} to {'the end' if math.isinf(end) else clock_text(end)}"


def _per_second(names: Sequence[str], counts: Sequence[Mapping[str, int]], per_part: float) -> Iterator[ChartSeries]:
    """Yield the sessions per second of each name. The first one is at the bottom."""
    several = len(names) > MAX_SERVERS
    coloured = names[: MAX_SERVERS - 1] if several else names
    for number, name in enumerate(coloured):
        yield ChartSeries(name, f"var(--s{number})", [part.get(name, 0) / per_part for part in counts])
    if several:
        others = names[MAX_SERVERS - 1 :]
        values = [sum(part.get(name, 0) for name in others) / per_part for part in counts]
        yield ChartSeries(f"{len(others)} others", "var(--rest)", values)


def _sections(outcome: RehearsalOutcome, expectations: Sequence[Expectation]) -> Iterator[str]:
    if expectations:
        rows = [
            [f"<code>{escape(each.text)}</code>", actual_text(each, outcome), _met(each, outcome)]
            for each in expectations
        ]
        yield _table("Expectations", ["Expected", "Actual", ""], rows)
    incidents = [
        [
            escape(str(each)),
            clock_text(each.at),
            "" if each.does == "join" else seconds(each.ejected_after),
            "" if math.isinf(each.ended_at) or not each.restored_after else seconds(each.restored_after),
        ]
        for each in outcome.incidents
    ]
    if incidents:
        yield _table("Incidents", ["", "At", "Ejected after", "Restored after"], incidents)
    if outcome.nodes:
        nodes = [[node.name, f"{node.share:.1f} %", f"{node.sessions:,}"] for node in outcome.nodes]
        yield _table("Balancers", ["", "Share", "Sessions"], nodes)
    servers = [
        [escape(server.name), f"{server.share:.1f} %", f"{server.sessions:,}", str(server.ejections)]
        for server in outcome.servers
    ]
    yield _table("Servers", ["", "Share", "Sessions", "Ejections"], servers)
    moments = "".join(
        f'<li data-kind="{each.kind}"><time>{clock_text(each.at)}</time><span>{escape(each.text)}</span></li>'
        for each in outcome.timeline
    )
    yield f'<section><h2>Timeline</h2><ol id="events">{moments}</ol></section>'


def _met(expectation: Expectation, outcome: RehearsalOutcome) -> str:
    return "met" if expectation.met(outcome.statistics) else "failed"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cell(number: int, content: str) -> str:
        kind = content if content in ("met", "failed") else "number" if number else ""
        return f'<td class="{kind}">{content}</td>'

    heads = "".join(
        f'<th scope="col" class="{"number" if number else ""}">{name}</th>' for number, name in enumerate(head)
    )
    body = "".join(f"<tr>{''.join(cell(*each) for each in enumerate(row))}</tr>" for row in rows)
    return f"<section><h2>{title}</h2><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></section>"
