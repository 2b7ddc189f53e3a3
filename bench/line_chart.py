"""A small line chart as SVG: a logarithmic axis of balancers below, a linear or logarithmic one at the left."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

import attrs

__all__ = ["Chart", "Line", "page"]

WIDTH, HEIGHT, LEFT, TOP, FOOT, KEY = 430, 250, 62, 44, 40, 190
"""Pixels of a chart: plot area with its margins, and the column of its key."""
COLOURS = ("#4477aa", "#66aa55", "#cc3311", "#ee9911", "#8844aa", "#222222", "#999999")
INK, RULE = "#222222", "#dddddd"


@attrs.frozen
class Line:
    """One line of a chart: its points are numbers of balancers, and values."""

    name: str
    points: Sequence[tuple[float, float]]


@attrs.frozen
class Chart:
    """A chart with several lines.

    ``logarithmic``: values differ by orders of magnitude; those of 0 stand at the foot.
    """

    title: str
    unit: str
    lines: Sequence[Line]
    logarithmic: bool = False

    @property
    def least(self) -> float:
        """The value at the foot of the plot."""
        if not self.logarithmic:
            return 0.0
        values = [value for line in self.lines for _, value in line.points if value > 0]
        return float(10 ** math.floor(math.log10(min(values, default=0.1))))

    @property
    def most(self) -> float:
        """The value at the top of the plot."""
        value = max(value for line in self.lines for _, value in line.points)
        if self.logarithmic:
            return float(10 ** max(math.ceil(math.log10(max(value, self.least))), math.log10(self.least) + 1))
        step = 10 ** math.floor(math.log10(value or 1))
        return math.ceil(value / step) * step or 1.0

    def part(self, value: float) -> float:
        """Return how far up a value stands, 0 to 1."""
        if not self.logarithmic:
            return value / self.most
        low, high = math.log10(self.least), math.log10(self.most)
        return (math.log10(max(value, self.least)) - low) / (high - low)

    def ticks(self) -> list[float]:
        if not self.logarithmic:
            return [self.most * number / 4 for number in range(5)]
        low, high = round(math.log10(self.least)), round(math.log10(self.most))
        return [10.0**exponent for exponent in range(low, high + 1)]


def page(charts: Sequence[Chart]) -> str:
    """Return an SVG with two charts beside each other."""
    rows = math.ceil(len(charts) / 2)
    parts = [
        f'<g transform="translate({number % 2 * (WIDTH + KEY)} {number // 2 * (HEIGHT + TOP)})">'
        f"{''.join(_drawn(chart))}</g>"
        for number, chart in enumerate(charts)
    ]
    width, height = 2 * (WIDTH + KEY), rows * (HEIGHT + TOP) - TOP // 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">\n'
        '<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _drawn(chart: Chart) -> Iterator[str]:
    hops = sorted({at for line in chart.lines for at, _ in line.points})
    foot = HEIGHT - FOOT + TOP / 2

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - 12) * math.log2(at / hops[0]) / (math.log2(hops[-1] / hops[0]) or 1)

    def y(value: float) -> float:
        return foot - (foot - TOP) * chart.part(value)

    yield f'<text x="{LEFT}" y="20" font-weight="bold">{escape(chart.title)}</text>'
    yield f'<text x="{LEFT}" y="{TOP - 9}">{escape(chart.unit)}</text>'
    for value in chart.ticks():
        yield f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - 12}" stroke="{RULE}"/>'
        yield f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.6g}</text>'
    for at in hops:
        yield f'<text x="{x(at):.1f}" y="{foot + 15:.1f}" text-anchor="middle">{at:g}</text>'
    yield f'<text x="{(LEFT + WIDTH) / 2}" y="{foot + 30:.1f}" text-anchor="middle">balancers</text>'
    for number, line in enumerate(chart.lines):
        colour, dash = COLOURS[number % len(COLOURS)], ' stroke-dasharray="5 3"' if number >= len(COLOURS) else ""
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in line.points)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>'
        yield f'<path d="M{WIDTH} {TOP + 4 + 17 * number}h16" stroke="{colour}" stroke-width="2.5"{dash}/>'
        yield f'<text x="{WIDTH + 21}" y="{TOP + 8 + 17 * number}">{escape(line.name)}</text>'
