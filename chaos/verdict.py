"""The table of results: checks, figures, verdicts. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from chaos.judge import fates, judge
from chaos.ledger import Ledger
from chaos.outside import ProcessStats
from chaos.storm import LEASES, SERVERS, Outcome

__all__ = ["Line", "lines", "of_processes", "table"]

IDLE_PIPES = 64
"""Descriptors of pipes that a process may keep in its pool; see lb/relay/pipes.py."""
IDLE_THREADS = 2
"""Threads that trio keeps for ten seconds, for example after a reload."""
GROWTH = 1.25
"""Maximum ratio of resident memory after the storm to that before. This and SLACK_KIB are estimates: a leak of a
hundred bytes per session shows in a storm of five minutes, variation of the allocator does not."""
SLACK_KIB = 8 * 1024
"""Additional memory allowed, in KiB."""
EVENT_LABELS = {
    "config.applied": "reloads",
    "config.rejected": "reloads rejected",
    "backend.ejected": "ejections",
    "worker.died": "workers died",
    "accept.paused": "times out of descriptors",
}
"""Event -> its label in the table."""


@attrs.frozen
class Line:
    """The result of one check."""

    what: str
    figures: str
    wrong: tuple[str, ...] = ()
    """Violations; empty if the check passed."""


def lines(ledger: Ledger, outcome: Outcome) -> list[Line]:
    """Return the results of all checks, in the order of the table."""
    violations = judge(ledger)
    lost = tuple(text for text in violations if text.startswith(("session", "a record")))
    wrong = tuple(f"wrong byte: {text}" for text in ledger.wrong)
    records = sum(map(len, ledger.records.values()))
    received = sum(session.received for session in ledger.sessions.values()) / 1e6
    sent = sum(session.sent for session in ledger.sessions.values()) / 1e6
    results_text = ", ".join(f"{count} {result}" for result, count in fates(ledger).most_common())
    served, beyond = outcome.leases
    expected = LEASES * len(SERVERS)
    return [
        Line("every byte is correct", f"{sent:.1f} MB up, {received:.1f} MB down", wrong),
        Line(
            "every session succeeds or has an explained end, with one record",
            f"{results_text}; {records} records",
            lost,
        ),
        Line("reloads get the right verdict, and nothing else is broken", _events_text(outcome), tuple(ledger.broken)),
        Line(
            "all leases are released",
            f"{served} of {expected} connections at once, {beyond} beyond the limit",
            () if (served, beyond) == (expected, 0) else ("leases leaked, or limits did not hold",),
        ),
        *of_processes(outcome.before, outcome.after),
        Line(
            "it stops without open connections",
            f"{outcome.open_at_stop} open, exit code {outcome.exit_code}",
            () if (outcome.open_at_stop, outcome.exit_code) == (0, 0) else ("it did not",),
        ),
    ]


def _events_text(outcome: Outcome) -> str:
    return ", ".join(f"{outcome.event_counts[event]} {label}" for event, label in EVENT_LABELS.items())


def of_processes(before: Mapping[str, ProcessStats], after: Mapping[str, ProcessStats]) -> list[Line]:
    """Compare the statistics of the processes before and after."""
    descriptors, memory, figures, sizes = [], [], [], []
    for role, old in before.items():
        new = after.get(role)
        if new is None:
            descriptors.append(f"{role} no longer exists")
            continue
        figures.append(f"{role} {old.descriptors} -> {new.descriptors}, pipes {old.pipes} -> {new.pipes}")
        sizes.append(f"{role} {old.kib // 1024} -> {new.kib // 1024} MiB")
        if new.descriptors > old.descriptors or new.pipes > max(old.pipes, IDLE_PIPES):
            descriptors.append(f"{role} has more descriptors than before: {old} -> {new}")
        if new.threads > old.threads + IDLE_THREADS:
            descriptors.append(f"{role} has more threads than before: {old} -> {new}")
        if new.kib > old.kib * GROWTH + SLACK_KIB:
            memory.append(f"{role} has grown: {old} -> {new}")
    return [
        Line("all descriptors, pipes and threads are released", "; ".join(figures), tuple(descriptors)),
        Line("memory has not grown", "; ".join(sizes), tuple(memory)),
    ]


def table(results: list[Line]) -> str:
    """Format the results: a line each, with up to ten violations below it."""
    text = []
    for line in results:
        text.append(f"{'FAILED' if line.wrong else 'passed':6}  {line.what}{': ' * bool(line.figures)}{line.figures}")
        text += (f"          {each}" for each in line.wrong[:10])
        if len(line.wrong) > 10:
            text.append(f"          and {len(line.wrong) - 10} more")
    return "\n".join(text)
