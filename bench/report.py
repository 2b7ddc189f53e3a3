"""The figures of a run as Markdown tables: the limits with their results, then all figures per case."""

from __future__ import annotations

import math
from collections.abc import Sequence

from measure import Summary
from model import Case, Metric
from results import Results
from targets import DIRECT

__all__ = ["bars_table", "case_tables", "markdown_table", "spread"]

NONE = "-"


def bars_table(results: Results) -> str:
    """Return a table with a line per limit."""
    lines = []
    for case, metric, bar in results.bars():
        ours = case.targets[0]
        figure = f"{spread(results.summary(metric, ours))} {metric.unit}"
        beside, ratio = NONE, NONE
        if bar.against:
            beside = f"{bar.against.name}: {spread(results.summary(metric, bar.against))}"
            ratio = spread(results.ratio(metric, ours, bar.against))
        limit = f"{bar.at_most:.2f}" if bar.against else f"{bar.at_most:g} {metric.unit}"
        lines.append([f"{case.name}: {metric.title}", figure, beside, ratio, limit, _verdict(results, case, metric)])
    return markdown_table(["cost", "lb", "compared with", "ratio", "limit", "verdict"], lines)


def _verdict(results: Results, case: Case, metric: Metric) -> str:
    """Return whether the limit is met, by how much it is exceeded, and in how many rounds it was met if they differ."""
    excess = results.excess(case, metric)
    if excess is None:
        return "not measured"
    met, rounds = results.rounds_met(case, metric)
    some = f" ({met} of {rounds} rounds met it)" if 0 < met < rounds else ""
    if excess <= 0:
        return f"met{some}"
    by = f" by {excess * 100:.{0 if excess >= 0.1 else 1}f} %" if math.isfinite(excess) else ""
    return f"**exceeded{by}**{some}"


def case_tables(results: Results) -> str:
    """Return a table per case, with a column per target, and the ratios of the first target to the others."""
    names = dict.fromkeys(case.name for case in results.cases)
    return "\n".join(_case_table(results, name) for name in names)


def _case_table(results: Results, name: str) -> str:
    cases = [case for case in results.cases if case.name == name]
    targets = list({target.name: target for case in cases for target in case.targets}.values())
    ours, *others = targets
    compared = [target for target in others if target != DIRECT]
    lines = []
    for metric in dict.fromkeys(metric for case in cases for metric in case.metrics):
        figures = [spread(results.summary(metric, target)) for target in targets]
        ratios = [spread(results.ratio(metric, ours, other)) if metric.cost else NONE for other in compared]
        lines.append([metric.title, metric.unit, *figures, *ratios])
    titles = [name, "unit", *(target.name for target in targets), *(f"÷ {other.name}" for other in compared)]
    return markdown_table(titles, lines)


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with text in the first column, figures in the others."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spread(summary: Summary | None) -> str:
    """Format the median, with minimum and maximum in brackets."""
    if summary is None:
        return NONE
    if summary.least == summary.most:
        return _number(summary.median)
    return f"{_number(summary.median)} ({_number(summary.least)} to {_number(summary.most)})"


def _number(value: float) -> str:
    """Format with at least three digits."""
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"
