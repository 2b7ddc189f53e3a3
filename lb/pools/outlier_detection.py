"""Outlier detection: find the servers that are much slower than the others of their pool. Pure functions.

Similar to Envoy's outlier detection by success rate (minimum hosts and requests, maximum ejection, dry run), but
compares durations with the pool's median, which a single slow server cannot shift.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from lb.model import OutlierSpec
from lb.model.timing import Histogram, Measure, Timing
from lb.pools.backend import Backend

__all__ = ["OutlierVerdict", "ejections_left", "judge", "measure"]


@attrs.frozen
class OutlierVerdict:
    """A slow server."""

    server: str
    factor: float
    """Its median, as a multiple of the pool's median."""
    reason: str


def judge(timings: Mapping[str, Mapping[Measure, Histogram]], spec: OutlierSpec, most: int) -> list[OutlierVerdict]:
    """Return the slow servers in ``timings``, slowest first, at most ``most``."""
    found: dict[str, OutlierVerdict] = {}
    measures: tuple[Measure, ...] = ("connect", "first byte")
    for measure in measures:
        histograms = {server: timing[measure] for server, timing in timings.items() if measure in timing}
        for verdict in _slow(measure, histograms, spec):
            if verdict.server not in found or found[verdict.server].factor < verdict.factor:
                found[verdict.server] = verdict
    slowest_first = sorted(found.values(), key=lambda verdict: -verdict.factor)
    return slowest_first[: max(0, most)]


def _slow(measure: Measure, histograms: Mapping[str, Histogram], spec: OutlierSpec) -> Iterable[OutlierVerdict]:
    medians = {server: found.median for server, found in histograms.items() if found.total >= spec.min_samples}
    if len(medians) < spec.min_servers:
        return
    usual = _median(medians.values())
    for server, seconds in medians.items():
        if seconds > spec.factor * usual and seconds - usual > spec.min_difference:
            factor = seconds / usual
            text = f"{measure} {_ms(seconds)}, {_short(factor)} times the pool's median of {_ms(usual)}"
            yield OutlierVerdict(server, factor, text)


def _median(values: Iterable[float]) -> float:
    """As the module statistics has it, whose import takes a hundredth of a start."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2


def _ms(seconds: float) -> str:
    return f"{_short(seconds * 1000)} ms"


def _short(number: float) -> str:
    """Format a number with two significant digits."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def ejections_left(backends: Iterable[Backend], spec: OutlierSpec) -> int:
    """Return how many more servers may be ejected.

    Of the servers with a weight, one or ``max_ejected_percent`` may be out of service, for any reason.
    """
    members = [backend for backend in backends if backend.spec.effective_weight > 0]
    out = sum(not backend.health.serving for backend in members)
    return max(1, len(members) * spec.max_ejected_percent // 100) - out


def measure(backends: Iterable[Backend], spec: OutlierSpec | None) -> None:
    """Start or continue to measure these servers; stop if ``spec`` is None."""
    for backend in backends:
        if spec is None:
            backend.timing = None
        elif backend.timing is None or (backend.timing.first_byte is not None) is not spec.first_byte:
            backend.timing = Timing(first_byte=Histogram() if spec.first_byte else None)
