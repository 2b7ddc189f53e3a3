"""The results of a run: comparison of targets with each other, and with the limits."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence

import attrs
from measure import Summary
from model import Bar, Case, Metric, Sample
from target import Target
from targets import DIRECT

__all__ = ["Results"]


@attrs.define
class Results:
    """The values of all rounds by metric and target name, and all errors."""

    cases: list[Case] = attrs.field(factory=list)
    values: dict[tuple[Metric, str], list[float]] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)

    def add(self, case: Case, samples: dict[Target, Sample]) -> None:
        """Add one round of a case."""
        if case not in self.cases:
            self.cases.append(case)
        for target, sample in samples.items():
            for index, metric in enumerate(case.metrics):
                base = samples[DIRECT].values[index] if metric.above_direct else 0.0
                value = sample.values[index]
                if value is not None and base is not None and not (metric.above_direct and target == DIRECT):
                    self.values.setdefault((metric, target.name), []).append(value - base)

    def bars(self) -> Iterator[tuple[Case, Metric, Bar]]:
        """Yield all limits."""
        for case in self.cases:
            for metric in case.metrics:
                if metric.bar:
                    yield case, metric, metric.bar

    def summary(self, metric: Metric, target: Target) -> Summary | None:
        """Return the summary of a target; None if it was not measured."""
        values = self.values.get((metric, target.name))
        return Summary.of(values) if values else None

    def ratio(self, metric: Metric, ours: Target, other: Target) -> Summary | None:
        """Return the ratio of two targets' medians, with minimum and maximum over the rounds.

        None if one of them was not measured, or the divisor is 0 or less.
        """
        mine, theirs = (self.values.get((metric, target.name), []) for target in (ours, other))
        if not mine or not theirs or min(theirs) <= 0:
            return None
        ratios = [*map(operator.truediv, mine, theirs)]
        return Summary(Summary.of(mine).median / Summary.of(theirs).median, min(ratios), max(ratios))

    def excess(self, case: Case, metric: Metric) -> float | None:
        """Return by how much a metric exceeds its limit, relative to it; 0 or less: met; None: not measured."""
        ours, limits = self._against_bar(case, metric)
        if not ours or not limits:
            return None
        ours_at = max(ours) if metric.bar and metric.bar.always else Summary.of(ours).median
        return _excess(ours_at, Summary.of(limits).median)

    def rounds_met(self, case: Case, metric: Metric) -> tuple[int, int]:
        """Return in how many rounds the limit was met, and the number of rounds."""
        ours, limits = self._against_bar(case, metric)
        return sum(map(operator.le, ours, limits)), len(ours)

    def _against_bar(self, case: Case, metric: Metric) -> tuple[Sequence[float], Sequence[float]]:
        """Return the values of the balancer, and the limit of each."""
        assert metric.bar is not None
        ours = self.values.get((metric, case.targets[0].name), [])
        if metric.bar.against is None:
            return ours, [metric.bar.at_most] * len(ours)
        theirs = self.values.get((metric, metric.bar.against.name), [])
        return ours, [value * metric.bar.at_most for value in theirs]


def _excess(value: float, limit: float) -> float:
    """Return the relative excess. With a limit of 0 or less it is 0 (met) or infinite (exceeded)."""
    if limit > 0:
        return value / limit - 1
    return 0.0 if value <= limit else math.inf
