"""What a measurement is made of: a case with its metrics, their bars, and the samples that a round brings."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from targets import HAPROXY, Running, Target

__all__ = ["Bar", "Case", "Metric", "Sample", "Scale"]


@attrs.frozen
class Scale:
    """How much is done: the rounds, and in each the seconds of wrk, of ping-pong, downloads, bytes of upload."""

    rounds: int
    seconds: int
    ping_seconds: float
    downloads: int
    upload: int


@attrs.frozen
class Bar:
    """What is asked of a figure of the first target of a case: to be at most this."""

    at_most: float
    against: Target | None = HAPROXY
    """It is for the ratio to this target's figure; None: for the figure itself."""
    always: bool = False
    """The worst of all rounds has to meet it, not their median."""


@attrs.frozen
class Metric:
    """One figure: a row of the report."""

    title: str
    unit: str
    cost: bool = True
    """The less the better, and compared. Otherwise it is shown beside the costs."""
    above_direct: bool = False
    """What it is more than without a balancer, in the same round."""
    bar: Bar | None = None


@attrs.frozen
class Sample:
    """One round of one target: a value for each metric of the case that applies to it, and what went wrong."""

    values: tuple[float | None, ...]
    problems: tuple[str, ...] = ()


@attrs.frozen
class Case:
    """A load, the targets that get it, and what comes out. Cases of one name are shown together."""

    name: str
    metrics: tuple[Metric, ...]
    targets: tuple[Target, ...]
    """The first is the one that the bars are for."""
    run: Callable[[Running, Scale], Sample]
    fresh: bool = False
    """Each round gets a new process: what an earlier round left in its memory would hide what is measured."""
    repeat: int = 1
    """So many times the rounds of the others: of something quick that varies."""
    quick: bool = True
    """Part of the quick run."""
