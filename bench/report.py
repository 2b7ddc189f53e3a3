"""The figures of a run as Markdown tables and as a plot of the ratios."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import attrs
from cases import Case, Metric
from measure import Summary
from targets import DIRECT, HAPROXY, HAPROXY_SPLICE, LB, NGINX, Target

__all__ = ["Results", "markdown_table", "plot", "spread", "tables"]

NONE = "-"
OTHERS = (HAPROXY, HAPROXY_SPLICE, NGINX)
BAR, GAP, LABELS, PLOT = 13, 12, 430, 420
"""Pixels of the plot: a bar's height, the space between groups, the width of the labels and of the bars' area."""
COLOURS = {HAPROXY.name: "#4477aa", HAPROXY_SPLICE.name: "#99bbdd", NGINX.name: "#66aa55"}


@attrs.define
class Results:
    """What was measured: the values of all rounds by metric and the target's name, and all that went wrong."""

    values: dict[tuple[Metric, str], list[float]] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)

    def add(self, case: Case, values: dict[Target, tuple[float, ...]]) -> None:
        """Take one round of a case."""
        for target, figures in values.items():
            for index, metric in enumerate(case.metrics):
                base = values[DIRECT][index] if metric.above_direct else 0.0
                self.values.setdefault((metric, target.name), []).append(figures[index] - base)

    def metrics(self, *, cost: bool) -> list[Metric]:
        return [metric for metric in dict.fromkeys(metric for metric, _ in self.values) if metric.cost is cost]

    def summary(self, metric: Metric, target: Target) -> Summary | None:
        """None if the target was not measured so."""
        values = self.values.get((metric, target.name))
        return Summary.of(values) if values else None

    def ratio(self, metric: Metric, other: Target) -> float | None:
        """The balancer's median divided by the other's; None if there is none, or nothing to divide by."""
        ours, theirs = self.summary(metric, LB), self.summary(metric, other)
        return ours.median / theirs.median if ours and theirs and theirs.median > 0 else None


def tables(results: Results) -> str:
    """The costs with their ratios, then the rates."""
    costs = []
    for metric in results.metrics(cost=True):
        figures = [spread(results.summary(metric, target)) for target in (LB, *OTHERS)]
        ratios = [_ratio(results.ratio(metric, other)) for other in OTHERS]
        costs.append([metric.title, metric.unit, *figures, *ratios])
    rates = []
    for metric in results.metrics(cost=False):
        figures = [spread(results.summary(metric, target)) for target in (LB, *OTHERS, DIRECT)]
        rates.append([metric.title, metric.unit, *figures])
    names = [target.name for target in OTHERS]
    cost_titles = ["cost", "unit", LB.name, *names, *(f"{LB.name} ÷ {name}" for name in names)]
    rate_titles = ["seen beside it", "unit", LB.name, *names, DIRECT.name]
    return f"{markdown_table(cost_titles, costs)}\n{markdown_table(rate_titles, rates)}"


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text in the first column, figures in the others."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spread(summary: Summary | None) -> str:
    """The median, in brackets the least and the most."""
    if summary is None:
        return NONE
    if summary.least == summary.most:
        return _number(summary.median)
    return f"{_number(summary.median)} ({_number(summary.least)} to {_number(summary.most)})"


def _number(value: float) -> str:
    """Three digits or more."""
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"


def _ratio(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.2f}"


def plot(results: Results) -> str:
    """An SVG: for each cost a bar per competitor, as long as the balancer's cost in units of the competitor's."""
    groups = [
        (metric, [(other, ratio) for other in OTHERS if (ratio := results.ratio(metric, other)) is not None])
        for metric in results.metrics(cost=True)
    ]
    widest = max((ratio for _, bars in groups for _, ratio in bars), default=1.0)
    scale = PLOT / max(widest, 1.5)
    y = 30
    parts = []
    for metric, bars in groups:
        middle = y + len(bars) * BAR / 2 + 4
        parts.append(f'<text x="{LABELS - 8}" y="{middle:.0f}" text-anchor="end">{escape(metric.title)}</text>')
        for other, ratio in bars:
            width = max(ratio, 0) * scale
            parts.append(
                f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{COLOURS[other.name]}"/>'
                f'<text x="{LABELS + width + 5:.1f}" y="{y + BAR - 3}">{ratio:.2f}</text>'
            )
            y += BAR
        y += GAP
    same = LABELS + scale
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + PLOT + 50}" height="{y}" '
        'font-family="sans-serif" font-size="11" fill="#222222">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{_legend()}\n'
        + "\n".join(parts)
        + f'\n<path d="M{same:.1f} 24V{y}" stroke="#222222" stroke-dasharray="3 3"/>\n</svg>\n'
    )


def _legend() -> str:
    parts = []
    x = LABELS
    for name, colour in COLOURS.items():
        label = f"{LB.name} ÷ {name}"
        parts.append(f'<rect x="{x}" y="7" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="16">{escape(label)}</text>')
        x += 34 + 6 * len(label)
    return "".join(parts)
