"""Measurements of what a client waits for: an answer, beside others, through a reload, after a start."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence

import loads
from model import Sample, Scale
from targets import Running

__all__ = ["DOWNLOADERS", "fairness", "imports", "latency", "reload", "startup"]

DOWNLOADERS = (1, 4)
"""So many clients download beside one that waits."""
APPLIED, REJECTED = b'"config.applied"', b'"config.rejected"'
RELOAD_TIMEOUT = 30.0
"""Seconds. A guess: a reload takes less than one."""
AFTERWARDS = 200
"""Requests after the reload is done that still count: what it left behind is cleared up then."""


def latency(running: Running, scale: Scale) -> Sample:
    """Median and 99th percentile in microseconds: twice, as the report shows what is added and what was seen."""
    p50, p99, _ = _percentiles(loads.pings(running.ports.web, scale.ping_seconds))
    return Sample((p50, p99, p50, p99))


def fairness(running: Running, scale: Scale) -> Sample:
    """One client's median, 99th percentile and longest wait in microseconds, alone and beside downloads.

    For each number of downloads: how much more the 99th percentile is than alone, how many times as much; then the
    figures alone; then for each number again the figures beside them, MB/s of the downloads together, and how busy
    the balancer was in per cent of one core.
    """
    alone = _percentiles(loads.pings(running.ports.web, scale.ping_seconds))
    rises: list[float] = []
    seen: list[float] = [*alone]
    problems: tuple[str, ...] = ()
    for count in DOWNLOADERS:
        with loads.downloads(running.ports.source, count) as downloads:
            started, cpu, total = time.perf_counter(), running.cpu(), downloads.total()
            beside = _percentiles(loads.pings(running.ports.web, scale.ping_seconds))
            seconds, cpu, total = time.perf_counter() - started, running.cpu() - cpu, downloads.total() - total
            problems += downloads.problems()
        rises += [beside[1] - alone[1], beside[1] / alone[1]]
        seen += [*beside, total / seconds / 1e6, cpu / seconds * 100]
    return Sample((*rises, *seen), problems)


def _percentiles(waits: Sequence[float]) -> tuple[float, float, float]:
    """Median, 99th percentile and maximum in microseconds, of waits in ascending order."""
    return waits[len(waits) // 2] * 1e6, waits[len(waits) * 99 // 100] * 1e6, waits[-1] * 1e6


def reload(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - one reload is one reload
    """The longest wait of a client around one reload in milliseconds, that among as many requests without one, and
    the time in milliseconds until the new configuration was in use.
    """
    with contextlib.closing(loads.ping_pong(running.ports.many)) as waits:
        next(waits)
        before = running.output.stat().st_size
        started = time.perf_counter()
        running.reload()
        during = list(_until_logged(running, before, waits))
        seconds = time.perf_counter() - started
        during += itertools.islice(waits, AFTERWARDS)
        quiet = max(itertools.islice(waits, len(during)))
    said = running.output.read_bytes()[before:]
    problems = () if APPLIED in said and REJECTED not in said else ("the reload was not applied",)
    return Sample((max(during) * 1e3, quiet * 1e3, seconds * 1e3), problems)


def _until_logged(running: Running, before: int, waits: Iterator[float]) -> Iterator[float]:
    """Waits until the log, which had ``before`` bytes, says what came of a reload."""
    until = time.perf_counter() + RELOAD_TIMEOUT
    size = before
    for wait in waits:
        yield wait
        if time.perf_counter() > until:
            return
        if running.output.stat().st_size > size:
            said = running.output.read_bytes()
            size = len(said)
            if APPLIED in said[before:] or REJECTED in said[before:]:
                return


def startup(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - it is measured when it starts
    """Seconds until it had served a request."""
    return Sample((running.start_seconds,))


def imports(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - likewise
    """Modules that are loaded by then."""
    return Sample((running.imports(),))
