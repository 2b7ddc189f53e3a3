"""The data of a measurement: cases, metrics, limits, samples."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from target import Target
from targets import HAPROXY, Running

__all__ = ["Bar", "Case", "Metric", "Sample", "Scale"]


@attrs.frozen
class Scale:
    """The amount of work: rounds, and per round seconds of wrk, seconds of ping-pong, downloads, bytes of upload."""

    rounds: int
    seconds: int
    ping_seconds: float
    downloads: int
    upload: int


@attrs.frozen
class Bar:
    """The limit of a figure of the first target of a case."""

    at_most: float
    against: Target | None = HAPROXY
    """The limit applies to the ratio to this target's figure; None: to the figure itself."""
    always: bool = False
    """The limit applies to the worst round, not to the median."""


@attrs.frozen
class Metric:
    """A figure: a row of the report."""

    title: str
    unit: str
    cost: bool = True
    """Lower is better, and it is compared. Other figures are only shown."""
    above_direct: bool = False
    """Subtract the figure without a balancer in the same round."""
    bar: Bar | None = None


@attrs.frozen
class Sample:
    """One round of one target: a value per metric of the case (None if not applicable), and the errors."""

    values: tuple[float | None, ...]
    problems: tuple[str, ...] = ()


@attrs.frozen
class Case:
    """A load, its targets and its metrics. Cases of the same name share a table."""

    name: str
    metrics: tuple[Metric, ...]
    targets: tuple[Target, ...]
    """The limits apply to the first target."""
    run: Callable[[Running, Scale], Sample]
    fresh: bool = False
    """Start a new process per round: memory left by an earlier round would distort the figure."""
    repeat: int = 1
    """Multiplier of the rounds, for short measurements that vary."""
    quick: bool = True
    """The case is part of the quick run."""
