"""The result of a rehearsal as text. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lb.model.values import duration_text
from lb.tools.rehearse.expectation import Expectation
from lb.tools.rehearse.outcome import RehearsalOutcome
from lb.tools.rehearse.recorder import Recorder
from lb.tools.rehearse.scenario import Scenario

__all__ = ["actual_text", "as_text", "clock_text", "seconds"]

MAX_TIMELINE_LINES = 60
"""Maximum lines of the timeline. A flapping server makes many more; JSON and the report have all."""


def clock_text(at: float) -> str:
    """Format a time of the rehearsal: ``1:10:00.016``."""
    minutes, left = divmod(at, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{left:06.3f}"


def seconds(time: float) -> str:
    """Format a duration: ``16 ms``, ``1.66 s``, ``never``."""
    if math.isinf(time):
        return "never"
    if time < 1:
        return f"{time * 1000:.3g} ms"
    return f"{time:.2f} s" if time < 60 else duration_text(round(time))


def _percent(share: float) -> str:
    """Format a percentage, rounded down: 99.999 % is not 100 %."""
    return f"{math.floor(round(100 * share, 6)) / 100:g} %"


def actual_text(expectation: Expectation, outcome: RehearsalOutcome) -> str:
    """Format the actual value with its unit: ``503``, ``99.3 %``, ``27.6 ms``."""
    value = expectation.actual(outcome.statistics)
    match expectation.unit:
        case "count":
            return f"{int(value):,}"
        case "percent":
            return _percent(value)
        case "seconds":
            return seconds(value)


def as_text(
    scenario: Scenario, recorder: Recorder, outcome: RehearsalOutcome, expectations: Sequence[Expectation]
) -> str:
    """Return the whole result as text."""
    blocks = [
        [f"{duration_text(scenario.duration)} rehearsed{_balancers(scenario)}, seed {scenario.seed}"],
        list(_timeline(outcome)),
        list(_sessions(recorder, outcome)),
        list(_nodes(outcome)),
        list(_servers(outcome)),
        list(_incidents(outcome)),
        list(_expectations(expectations, outcome)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _balancers(scenario: Scenario) -> str:
    number = len(scenario.nodes)
    return f" with {number} balancer{'s' if number > 1 else ''}" if number else ""


def _timeline(outcome: RehearsalOutcome) -> Iterator[str]:
    for moment in outcome.timeline[:MAX_TIMELINE_LINES]:
        yield f"{clock_text(moment.at):>12}  {moment.text}"
    more = len(outcome.timeline) - MAX_TIMELINE_LINES
    if more > 0:
        yield f"{'…':>12}  and {more} more"


def _sessions(recorder: Recorder, outcome: RehearsalOutcome) -> Iterator[str]:
    def line(name: str, note: str = "") -> str:
        return f"{name:<10}{int(outcome.statistics[name]):>12,}  {note}".rstrip()

    yield line("sessions")
    yield line("ok", f"{_percent(100 * recorder.ends['ok'] / max(1, recorder.ends.total()))} of the ended sessions")
    for end in ("failed", "cut", "left"):
        reasons = (
            f"{reason.replace('_', ' ')} {count:,}" for (of, reason), count in recorder.reasons.items() if of == end
        )
        yield line(end, "" if end == "left" else ", ".join(reasons))
    yield line("open", "at the end")
    yield line("stalled", "of these, with a server that is silent")
    yield line("moved", "served by another server than the first one tried")
    if outcome.nodes:
        yield line("misplaced", "whose server depended on the balancer, in pools that hash")
    median, p99, maximum = map(seconds, outcome.waits)
    yield f"{'wait':<10}{median:>12}  median wait for a server; 99th percentile {p99}, maximum {maximum}"


def _nodes(outcome: RehearsalOutcome) -> Iterator[str]:
    return _table(
        ["node", "share", "sessions"],
        [[node.name, f"{node.share:.1f} %", f"{node.sessions:,}"] for node in outcome.nodes],
    )


def _servers(outcome: RehearsalOutcome) -> Iterator[str]:
    rows = [
        [server.name, f"{server.share:.1f} %", f"{server.sessions:,}", str(server.ejections)]
        for server in outcome.servers
    ]
    return _table(["server", "share", "sessions", "ejections"], rows)


def _incidents(outcome: RehearsalOutcome) -> Iterator[str]:
    rows = [
        [
            str(incident),
            clock_text(incident.at),
            "" if incident.does == "join" else seconds(incident.ejected_after),
            "" if math.isinf(incident.ended_at) or not incident.restored_after else seconds(incident.restored_after),
        ]
        for incident in outcome.incidents
    ]
    return _table(["incident", "at", "ejected after", "restored after"], rows)


def _expectations(expectations: Sequence[Expectation], outcome: RehearsalOutcome) -> Iterator[str]:
    for expectation in expectations:
        met = "met   " if expectation.met(outcome.statistics) else "FAILED"
        yield f"{met}  {expectation.text}  ({actual_text(expectation, outcome)})"


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Yield a table, first column left-aligned, others right-aligned; nothing without rows."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        first, *others = (cell for cell in row)
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
