"""What was measured, and how it compares: with each other, and with the bars."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence

import attrs
from measure import Summary
from model import Bar, Case, Metric, Sample
from targets import DIRECT, Target

__all__ = ["Results"]


@attrs.define
class Results:
    """The values of all rounds by metric and the target's name, and all that went wrong."""

    cases: list[Case] = attrs.field(factory=list)
    values: dict[tuple[Metric, str], list[float]] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)

    def add(self, case: Case, samples: dict[Target, Sample]) -> None:
        """Take one round of a case."""
        if case not in self.cases:
            self.cases.append(case)
        for target, sample in samples.items():
            for index, metric in enumerate(case.metrics):
                base = samples[DIRECT].values[index] if metric.above_direct else 0.0
                value = sample.values[index]
                if value is not None and base is not None and not (metric.above_direct and target == DIRECT):
                    self.values.setdefault((metric, target.name), []).append(value - base)

    def bars(self) -> Iterator[tuple[Case, Metric, Bar]]:
        """All that is asked for."""
        for case in self.cases:
            for metric in case.metrics:
                if metric.bar:
                    yield case, metric, metric.bar

    def summary(self, metric: Metric, target: Target) -> Summary | None:
        """None if the target was not measured so."""
        values = self.values.get((metric, target.name))
        return Summary.of(values) if values else None

    def ratio(self, metric: Metric, ours: Target, other: Target) -> Summary | None:
        """One target's median divided by another's, with the least and the most ratio of a round.

        None if one of them was not measured so, or there is nothing to divide by.
        """
        mine, theirs = (self.values.get((metric, target.name), []) for target in (ours, other))
        if not mine or not theirs or min(theirs) <= 0:
            return None
        ratios = [*map(operator.truediv, mine, theirs)]
        return Summary(Summary.of(mine).median / Summary.of(theirs).median, min(ratios), max(ratios))

    def excess(self, case: Case, metric: Metric) -> float | None:
        """By how much a metric's bar is missed, as a part of the bar; 0 or less: it is met. None: not measured."""
        ours, limits = self._against_bar(case, metric)
        if not ours or not limits:
            return None
        ours_at = max(ours) if metric.bar and metric.bar.always else Summary.of(ours).median
        return _excess(ours_at, Summary.of(limits).median)

    def rounds_met(self, case: Case, metric: Metric) -> tuple[int, int]:
        """In how many rounds the bar was met, of how many."""
        ours, limits = self._against_bar(case, metric)
        return sum(map(operator.le, ours, limits)), len(ours)

    def _against_bar(self, case: Case, metric: Metric) -> tuple[Sequence[float], Sequence[float]]:
        """The balancer's values, and beside each how much it may be."""
        assert metric.bar is not None
        ours = self.values.get((metric, case.targets[0].name), [])
        if metric.bar.against is None:
            return ours, [metric.bar.at_most] * len(ours)
        theirs = self.values.get((metric, metric.bar.against.name), [])
        return ours, [value * metric.bar.at_most for value in theirs]


def _excess(value: float, limit: float) -> float:
    """Relative where that means something; a limit of nothing, or less, is met or missed wholly."""
    if limit > 0:
        return value / limit - 1
    return 0.0 if value <= limit else math.inf
