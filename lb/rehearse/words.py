"""What came of a rehearsal as text. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lb.config_file.values import duration_text
from lb.rehearse.expectation import Expectation
from lb.rehearse.outcome import Outcome
from lb.rehearse.scenario import Scenario
from lb.rehearse.tally import Tally

__all__ = ["came_to", "clock", "in_words", "seconds"]

MOST_LINES = 60
"""Of the timeline. A server that flaps makes many more, which say little; JSON and the report have them all."""


def clock(at: float) -> str:
    """A point of time: ``1:10:00.016``."""
    minutes, left = divmod(at, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{left:06.3f}"


def seconds(time: float) -> str:
    """How long something took: ``16 ms``, ``1.66 s``, ``never``."""
    if math.isinf(time):
        return "never"
    if time < 1:
        return f"{time * 1000:.3g} ms"
    return f"{time:.2f} s" if time < 60 else duration_text(round(time))


def _percent(share: float) -> str:
    """Rounded down: 99.999 % are not all."""
    return f"{math.floor(round(100 * share, 6)) / 100:g} %"


def came_to(expectation: Expectation, outcome: Outcome) -> str:
    """What was compared, with its unit: ``503``, ``99.3 %``, ``27.6 ms``."""
    value = expectation.came_to(outcome.statistics)
    match expectation.unit:
        case "count":
            return f"{int(value):,}"
        case "percent":
            return _percent(value)
        case "seconds":
            return seconds(value)


def in_words(scenario: Scenario, tally: Tally, outcome: Outcome, expectations: Sequence[Expectation]) -> str:
    """All of it."""
    blocks = [
        [f"{duration_text(scenario.duration)} rehearsed, seed {scenario.seed}"],
        list(_timeline(outcome)),
        list(_sessions(tally, outcome)),
        list(_servers(outcome)),
        list(_incidents(outcome)),
        list(_expectations(expectations, outcome)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _timeline(outcome: Outcome) -> Iterator[str]:
    for moment in outcome.timeline[:MOST_LINES]:
        yield f"{clock(moment.at):>12}  {moment.text}"
    more = len(outcome.timeline) - MOST_LINES
    if more > 0:
        yield f"{'…':>12}  and {more} more"


def _sessions(tally: Tally, outcome: Outcome) -> Iterator[str]:
    def line(name: str, note: str = "") -> str:
        return f"{name:<10}{int(outcome.statistics[name]):>12,}  {note}".rstrip()

    yield line("sessions")
    yield line("ok", f"{_percent(100 * tally.ends['ok'] / max(1, tally.ends.total()))} of those that ended")
    for end in ("failed", "cut", "left"):
        reasons = (
            f"{reason.replace('_', ' ')} {count:,}" for (of, reason), count in tally.reasons.items() if of == end
        )
        yield line(end, "" if end == "left" else ", ".join(reasons))
    yield line("open", "at the end")
    yield line("moved", "got another server than the first that was tried")
    half, most, longest = map(seconds, outcome.waits)
    yield f"{'wait':<10}{half:>12}  for a server, half of them at most; 99 %: {most}; the longest: {longest}"


def _servers(outcome: Outcome) -> Iterator[str]:
    rows = [
        [server.name, f"{server.share:.1f} %", f"{server.sessions:,}", str(server.ejections)]
        for server in outcome.servers
    ]
    return _table(["server", "share", "sessions", "ejections"], rows)


def _incidents(outcome: Outcome) -> Iterator[str]:
    rows = [
        [
            str(incident),
            clock(incident.at),
            "" if incident.does == "join" else seconds(incident.ejected_after),
            "" if math.isinf(incident.ended_at) or not incident.restored_after else seconds(incident.restored_after),
        ]
        for incident in outcome.incidents
    ]
    return _table(["incident", "at", "ejected after", "restored after"], rows)


def _expectations(expectations: Sequence[Expectation], outcome: Outcome) -> Iterator[str]:
    for expectation in expectations:
        met = "met   " if expectation.met(outcome.statistics) else "FAILED"
        yield f"{met}  {expectation.text}  ({came_to(expectation, outcome)})"


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """The first column to the left, the others to the right; nothing without rows."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        first, *others = (cell for cell in row)
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
