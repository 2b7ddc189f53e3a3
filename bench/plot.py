"""The figures of a run as an SVG: each cost compared with the other balancers', and with its limit."""

from __future__ import annotations

from html import escape

import attrs
from results import Results
from targets import HAPROXY, HAPROXY_SPLICE, LB, NGINX

__all__ = ["plot"]

BAR, GAP, LABELS, PLOT, MARGIN = 13, 12, 470, 420, 90
"""Pixels: height of a bar, space between groups, widths of labels, plot area and right margin."""
LONGEST = 2.5
"""Maximum length of a bar, in units of the other balancer's cost or of the limit; longer bars are cut off."""
COLOURS = {HAPROXY.name: "#4477aa", HAPROXY_SPLICE.name: "#99bbdd", NGINX.name: "#66aa55"}
PLAIN, LIMIT, INK = "#999999", "#cc3311", "#222222"
HALO = 'paint-order="stroke" stroke="#ffffff" stroke-width="3"'
"""White outline of figures, for readability on lines."""
SCALE = PLOT / LONGEST


@attrs.frozen
class Group:
    """A group of bars: their lengths and colours, and their limit."""

    title: str
    bars: tuple[tuple[float, str], ...]
    limit: float


def plot(results: Results) -> str:
    """Return the SVG: ratios at the top, below them figures without comparison, relative to their limit."""
    compared, alone = _compared(results), _alone(results)
    y = 52
    parts = [*_legend()]
    for title, groups in (("lb ÷ the other", compared), ("lb ÷ limit", alone)):
        if groups:
            parts.append(f'<text x="{LABELS}" y="{y - 6}" font-weight="bold">{escape(title)}</text>')
            bottom = y + sum(len(group.bars) * BAR + GAP for group in groups)
            same = LABELS + SCALE
            parts.append(f'<path d="M{same:.1f} {y}V{bottom - GAP}" stroke="{INK}" stroke-dasharray="3 3"/>')
            for group in groups:
                parts += _drawn(group, y)
                y += len(group.bars) * BAR + GAP
            y += 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + PLOT + MARGIN}" height="{y - 24}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">\n'
        '<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _compared(results: Results) -> list[Group]:
    groups = []
    for case, metric, bar in results.bars():
        ratios = [(other, results.ratio(metric, case.targets[0], other)) for other in case.targets[1:]]
        bars = tuple((ratio.median, COLOURS.get(other.name, PLAIN)) for other, ratio in ratios if ratio)
        if bar.against and bars:
            groups.append(Group(metric.title, bars, bar.at_most))
    return groups


def _alone(results: Results) -> list[Group]:
    return [
        Group(metric.title, ((excess + 1, PLAIN),), 1.0)
        for case, metric, bar in results.bars()
        if bar.against is None and (excess := results.excess(case, metric)) is not None
    ]


def _drawn(group: Group, y: int) -> list[str]:
    height = len(group.bars) * BAR
    parts = [f'<text x="{LABELS - 8}" y="{y + height / 2 + 4:.0f}" text-anchor="end">{escape(group.title)}</text>']
    for number, (length, colour) in enumerate(group.bars):
        top = y + number * BAR
        width = min(max(length, 0.0), LONGEST) * SCALE
        more = " →" if length > LONGEST else ""
        parts.append(
            f'<rect x="{LABELS}" y="{top}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>'
            f'<text x="{LABELS + width + 5:.1f}" y="{top + BAR - 3}" {HALO}>{length:.2f}{more}</text>'
        )
    x = LABELS + group.limit * SCALE
    return [*parts, f'<path d="M{x:.1f} {y - 3}V{y + height + 1}" stroke="{LIMIT}" stroke-width="2"/>']


def _legend() -> list[str]:
    parts = []
    x = LABELS
    for name, colour in COLOURS.items():
        label = f"{LB.name} ÷ {name}"
        parts.append(f'<rect x="{x}" y="7" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="16">{escape(label)}</text>')
        x += 34 + 6 * len(label)
    parts.append(f'<path d="M{x + 5} 6V18" stroke="{LIMIT}" stroke-width="2"/>')
    parts.append(f'<text x="{x + 14}" y="16">at most</text>')
    return parts
