"""The charts of a report as SVG. No I/O. All have the same time axis; the page defines the colours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

import attrs

from lb.model.values import duration_text

__all__ = ["Axis", "Band", "ChartSeries", "bars", "lanes", "lines", "stack"]

LEFT, RIGHT, WIDTH = 92, 992, 1000
HEIGHT = 150
LANE = 34
FOOT = 20
"""Height of the time axis."""
TICK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Possible seconds between two ticks of the time axis."""


@attrs.frozen
class Axis:
    """The time axis: equal parts, and marks at the incidents."""

    duration: float
    parts: int
    marks: Sequence[float]

    def x(self, at: float) -> float:
        return LEFT + (RIGHT - LEFT) * min(at / self.duration, 1)

    def part(self, number: int) -> float:
        """Return the x position where a part begins."""
        return LEFT + (RIGHT - LEFT) * number / self.parts

    def ticks(self) -> Iterator[float]:
        step = next((each for each in TICK_STEPS if self.duration / each <= 13), self.duration / 10)
        return (number * step for number in range(int(self.duration / step) + 1))


@attrs.frozen
class ChartSeries:
    """A series of one value per part of the time."""

    name: str
    colour: str
    """A CSS colour."""
    values: Sequence[float]


@attrs.frozen
class Band:
    """A period of time with a text."""

    start: float
    end: float
    text: str
    label: str = ""
    """Short label, always visible."""


def _frame(axis: Axis, height: float, inside: Iterator[str], label: str) -> str:
    """Return a chart with its time axis."""
    ticks = "".join(
        f'<line class="grid" x1="{axis.x(at):.1f}" x2="{axis.x(at):.1f}" y1="0" y2="{height}"/>'
        f'<text x="{axis.x(at):.1f}" y="{height + 15}" text-anchor="middle">{duration_text(at)}</text>'
        for at in axis.ticks()
    )
    marks = "".join(
        f'<line class="mark" x1="{axis.x(at):.1f}" x2="{axis.x(at):.1f}" y1="0" y2="{height}"/>' for at in axis.marks
    )
    return (
        f'<div class="wide"><svg viewBox="0 -6 {WIDTH} {height + FOOT + 6}" role="img" aria-label="{escape(label)}">'
        f"{ticks}{''.join(inside)}{marks}</svg></div>"
    )


def lanes(axis: Axis, rows: Sequence[tuple[str, Sequence[Band], Sequence[Band]]]) -> str:
    """Return a lane per server: its name, its faults, and the times when it was ejected."""
    return _frame(axis, LANE * len(rows), _lanes(axis, rows), "Servers over time")


def _lanes(axis: Axis, rows: Sequence[tuple[str, Sequence[Band], Sequence[Band]]]) -> Iterator[str]:
    for number, (name, wrong, out) in enumerate(rows):
        top = LANE * number
        yield f'<text class="name" x="{LEFT - 10}" y="{top + 24}" text-anchor="end">{escape(name)}</text>'
        yield _bar("in", LEFT, RIGHT, top + 13, 15, f"{name} in service")
        for band in out:
            yield _bar("out", axis.x(band.start), axis.x(band.end), top + 13, 15, band.text)
        for band in wrong:
            left, right = axis.x(band.start), axis.x(band.end)
            yield _bar("wrong", left, right, top + 6, 4, band.text)
            x, anchor = (left - 5, "end") if left > WIDTH / 4 else (right + 5, "start")
            yield f'<text class="label" x="{x:.1f}" y="{top + 11}" text-anchor="{anchor}">{escape(band.label)}</text>'


def _bar(kind: str, left: float, right: float, top: float, height: float, text: str) -> str:
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{max(right - left, 1.2):.1f}" height="{height}"'
        ' rx="1.5">'
        f"<title>{escape(text)}</title></rect>"
    )


def _scale(most: float, unit: str) -> Iterator[str]:
    """Yield the value axis: zero, half, maximum."""
    for part in (0, 0.5, 1):
        y = HEIGHT * (1 - part)
        if part:
            yield f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{most * part:g}{unit}</text>'


def _top(most: float) -> float:
    """Return a round number that is not less."""
    if most <= 0:
        return 1
    magnitude = 10 ** math.floor(math.log10(most))
    return float(f"{next(step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * magnitude >= most) * magnitude:g}")


def _hovers(axis: Axis, series: Sequence[ChartSeries], unit: str) -> Iterator[str]:
    """Yield the tooltips, one per part."""
    width = axis.part(1) - axis.part(0)
    for number in range(axis.parts):
        at = duration_text(round(axis.duration * number / axis.parts, 2))
        tooltip = "\n".join([at, *(f"{each.name}: {each.values[number]:.4g}{unit}" for each in series)])
        yield (
            f'<rect class="hover" x="{axis.part(number):.1f}" y="0" width="{width:.2f}" height="{HEIGHT}">'
            f"<title>{escape(tooltip)}</title></rect>"
        )


def stack(axis: Axis, series: Sequence[ChartSeries], unit: str, label: str) -> str:
    """Return a chart of stacked areas."""
    return _frame(axis, HEIGHT, _stack(axis, series, unit), label)


def _stack(axis: Axis, series: Sequence[ChartSeries], unit: str) -> Iterator[str]:
    most = _top(max(map(sum, zip(*(each.values for each in series), strict=True)), default=0))
    yield from _scale(most, unit)
    below = [0.0] * axis.parts
    for each in series:
        above = [low + value for low, value in zip(below, each.values, strict=True)]
        edge = [*_steps(axis, above, most), *reversed(list(_steps(axis, below, most)))]
        yield f'<path class="area" style="fill:{each.colour}" d="M{" L".join(edge)}Z"/>'
        below = above
    yield from _hovers(axis, series, unit)


def _steps(axis: Axis, values: Sequence[float], most: float) -> Iterator[str]:
    for number, value in enumerate(values):
        y = HEIGHT * (1 - value / most)
        yield f"{axis.part(number):.1f} {y:.1f}"
        yield f"{axis.part(number + 1):.1f} {y:.1f}"


def lines(axis: Axis, series: Sequence[ChartSeries], unit: str, label: str) -> str:
    """Return a chart of lines."""
    return _frame(axis, HEIGHT, _lines(axis, series, unit), label)


def _lines(axis: Axis, series: Sequence[ChartSeries], unit: str) -> Iterator[str]:
    most = _top(max((max(each.values, default=0) for each in series), default=0))
    yield from _scale(most, unit)
    for each in series:
        yield f'<path class="plot" style="stroke:{each.colour}" d="M{" L".join(_steps(axis, each.values, most))}"/>'
    yield from _hovers(axis, series, unit)


def bars(axis: Axis, series: Sequence[ChartSeries], label: str) -> str:
    """Return a chart of stacked bars, for rare events."""
    return _frame(axis, HEIGHT, _bars(axis, series), label)


def _bars(axis: Axis, series: Sequence[ChartSeries]) -> Iterator[str]:
    most = _top(max(map(sum, zip(*(each.values for each in series), strict=True)), default=0))
    yield from _scale(most, "")
    width = axis.part(1) - axis.part(0) - 1
    below = [0.0] * axis.parts
    for each in series:
        for number, value in enumerate(each.values):
            if value:
                below[number] += value
                y, height = HEIGHT * (1 - below[number] / most), HEIGHT * value / most
                yield (
                    f'<rect style="fill:{each.colour}" x="{axis.part(number) + 0.5:.1f}" y="{y:.1f}"'
                    f' width="{width:.1f}" height="{height:.1f}"/>'
                )
    yield from _hovers(axis, series, "")
