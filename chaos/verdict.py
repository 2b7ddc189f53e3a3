"""The table at the end: what had to hold, the figures, and whether it held. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from chaos.judge import fates, judge
from chaos.ledger import Ledger
from chaos.outside import Sight
from chaos.storm import LEASES, SERVERS, Outcome

__all__ = ["Line", "lines", "of_processes", "table"]

IDLE_PIPES = 64
"""Descriptors of pipes that a process may keep in stock; see lb/splicing/pipes.py."""
IDLE_THREADS = 2
"""Threads that trio keeps for ten seconds, after a reload for one."""
GROWTH = 1.25
"""Resident memory after the storm, over that before. Guesses, both: a leak of a hundred bytes a session would show in
a storm of five minutes, and the allocator's habits do not."""
SLACK_KIB = 8 * 1024
"""On top of that."""
HAPPENINGS = {
    "config.applied": "reloads",
    "config.rejected": "refused",
    "backend.ejected": "servers out",
    "worker.died": "workers lost",
    "accept.paused": "times short of descriptors",
}
"""Events, and what they are called in the table."""


@attrs.frozen
class Line:
    """Something that had to hold."""

    what: str
    figures: str
    wrong: tuple[str, ...] = ()
    """Why it did not."""


def lines(ledger: Ledger, outcome: Outcome) -> list[Line]:
    """All of them, in the table's order."""
    complaints = judge(ledger)
    lost = tuple(text for text in complaints if text.startswith(("session", "a record")))
    wrong = tuple(f"wrong byte: {text}" for text in ledger.wrong)
    records = sum(map(len, ledger.records.values()))
    received = sum(session.received for session in ledger.sessions.values()) / 1e6
    sent = sum(session.sent for session in ledger.sessions.values()) / 1e6
    what_became = ", ".join(f"{count} {fate}" for fate, count in fates(ledger).most_common())
    served, beyond = outcome.leases
    expected = LEASES * len(SERVERS)
    return [
        Line("every byte is the right one", f"{sent:.1f} MB up, {received:.1f} MB down", wrong),
        Line("every session is answered or accounted for, with one record", f"{what_became}; {records} records", lost),
        Line("reloads get their verdict, and nothing is broken", _happened(outcome), tuple(ledger.broken)),
        Line(
            "all leases are back",
            f"{served} of {expected} connections at once, {beyond} beyond the limit",
            () if (served, beyond) == (expected, 0) else ("leases leaked, or limits did not hold",),
        ),
        *of_processes(outcome.before, outcome.after),
        Line(
            "it stops with nothing open",
            f"{outcome.open_at_stop} open, exit code {outcome.exit_code}",
            () if (outcome.open_at_stop, outcome.exit_code) == (0, 0) else ("it did not",),
        ),
    ]


def _happened(outcome: Outcome) -> str:
    return ", ".join(f"{outcome.said[event]} {what}" for event, what in HAPPENINGS.items())


def of_processes(before: Mapping[str, Sight], after: Mapping[str, Sight]) -> list[Line]:
    """What was seen of the balancer before and after."""
    descriptors, memory, figures, sizes = [], [], [], []
    for role, old in before.items():
        new = after.get(role)
        if new is None:
            descriptors.append(f"{role} is not there any more")
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
        Line("all descriptors, pipes and threads are back", "; ".join(figures), tuple(descriptors)),
        Line("memory is where it was", "; ".join(sizes), tuple(memory)),
    ]


def table(results: list[Line]) -> str:
    """For people: a line each, and what is wrong below it, of many the first ten."""
    text = []
    for line in results:
        text.append(f"{'FAILED' if line.wrong else 'holds ':6}  {line.what}{': ' * bool(line.figures)}{line.figures}")
        text += (f"          {each}" for each in line.wrong[:10])
        if len(line.wrong) > 10:
            text.append(f"          and {len(line.wrong) - 10} more")
    return "\n".join(text)
