"""Which servers are much slower than the others of their pool: a pure judgement of what was measured.

Close to Envoy's outlier detection by success rate (a minimum of hosts and of requests, a maximum ejected, a dry run),
but of durations, and against the median, which a single slow server cannot move.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

import attrs

from lb.backend import Backend
from lb.model import OutlierSpec
from lb.timing import Measure, Spread, Timing

__all__ = ["Verdict", "judge", "may_go", "measure"]


@attrs.frozen
class Verdict:
    """A server that is too slow, and by how much."""

    server: str
    factor: float
    """Times the pool's median."""
    reason: str


def judge(timings: Mapping[str, Mapping[Measure, Spread]], spec: OutlierSpec, most: int) -> list[Verdict]:
    """The slow ones among the servers that ``timings`` tells of, at most so many, the slowest first."""
    found: dict[str, Verdict] = {}
    measures: tuple[Measure, ...] = ("connect", "first byte")
    for measure in measures:
        spreads = {server: told[measure] for server, told in timings.items() if measure in told}
        for verdict in _slow(measure, spreads, spec):
            if verdict.server not in found or found[verdict.server].factor < verdict.factor:
                found[verdict.server] = verdict
    slowest_first = sorted(found.values(), key=lambda verdict: -verdict.factor)
    return slowest_first[: max(0, most)]


def _slow(measure: Measure, spreads: Mapping[str, Spread], spec: OutlierSpec) -> Iterable[Verdict]:
    medians = {server: spread.median for server, spread in spreads.items() if spread.total >= spec.min_samples}
    if len(medians) < spec.min_servers:
        return
    usual = statistics.median(medians.values())
    for server, seconds in medians.items():
        if seconds > spec.factor * usual and seconds - usual > spec.min_difference:
            factor = seconds / usual
            text = f"{measure} {_ms(seconds)}, {_short(factor)} times the pool's median of {_ms(usual)}"
            yield Verdict(server, factor, text)


def _ms(seconds: float) -> str:
    return f"{_short(seconds * 1000)} ms"


def _short(number: float) -> str:
    """Two digits that mean something."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def may_go(backends: Iterable[Backend], spec: OutlierSpec) -> int:
    """How many servers may still be ejected: of all that would get traffic, one or ``max_ejected_percent`` may be out.

    For whatever reason they are.
    """
    members = [backend for backend in backends if backend.spec.weight > 0]
    out = sum(not backend.health.serving for backend in members)
    return max(1, len(members) * spec.max_ejected_percent // 100) - out


def measure(backends: Iterable[Backend], spec: OutlierSpec | None) -> None:
    """Begin to measure these servers, or go on; or (None) leave it."""
    for backend in backends:
        if spec is None:
            backend.timing = None
        elif backend.timing is None or (backend.timing.first_byte is not None) is not spec.first_byte:
            backend.timing = Timing(first_byte=Spread() if spec.first_byte else None)
