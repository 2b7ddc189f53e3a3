"""Measurements of waiting times: latency, fairness beside downloads, reload, startup."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence

import loads
from model import Sample, Scale
from targets import Running

__all__ = ["DOWNLOADERS", "beside_scrapes", "fairness", "imports", "latency", "reload", "slow_heads", "startup"]

DOWNLOADERS = (1, 4)
"""Numbers of clients that download beside the measured one."""
APPLIED, REJECTED = b'"config.applied"', b'"config.rejected"'
RELOAD_TIMEOUT = 30.0
"""Timeout of a reload in seconds. An estimate: it takes less than one."""
AFTERWARDS = 200
"""Requests after the reload that still count, as cleanup happens then."""
SLOW_HEADS = 5_000
SCRAPES = 10
"""Answers of the admin endpoint of each kind that a client is beside."""


def latency(running: Running, scale: Scale) -> Sample:
    """Return median and 99th percentile in microseconds, twice: the report shows the added and the measured latency.

    Then the CPU of a request in microseconds; None without a balancer.
    """
    cpu = running.cpu()
    waits = loads.pings(running.ports.web, scale.ping_seconds)
    cpu = running.cpu() - cpu
    p50, p99, _ = _percentiles(waits)
    return Sample((p50, p99, p50, p99, cpu / len(waits) * 1e6 if cpu else None))


def fairness(running: Running, scale: Scale) -> Sample:
    """Return one client's median, 99th percentile and longest wait in microseconds, alone and beside downloads.

    Per number of downloads: difference and ratio of the 99th percentile to that alone. Then the figures alone. Then per
    number of downloads: the figures beside them, MB/s of all downloads, and CPU of the balancer in percent of one core.
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


def slow_heads(running: Running, scale: Scale) -> Sample:
    """Return KiB of a connection with a slow head, then one client's waits beside so many of them ÷ alone: the median,
    and the 99th percentile. Then both waits alone and beside, in microseconds.
    """
    alone = _percentiles(loads.pings(running.ports.web, scale.ping_seconds))
    before = running.memory()
    with (
        loads.slow_heads(running.ports.web, SLOW_HEADS) as heads,
        contextlib.closing(loads.ping_pong(running.ports.web)) as waits,
    ):
        next(waits)
        held = running.memory() - before
        until = time.perf_counter() + scale.ping_seconds
        dripping = zip(waits, heads.drip(), strict=True)
        beside = _percentiles(
            sorted(wait for wait, _ in itertools.takewhile(lambda _: time.perf_counter() < until, dripping))
        )
    ratios = [beside[part] / alone[part] for part in (0, 1)]
    return Sample((held / SLOW_HEADS / 1024, *ratios, *alone[:2], *beside[:2]))


def _percentiles(waits: Sequence[float]) -> tuple[float, float, float]:
    """Return median, 99th percentile and maximum in microseconds, of sorted waits."""
    return waits[len(waits) // 2] * 1e6, waits[len(waits) * 99 // 100] * 1e6, waits[-1] * 1e6


def reload(running: Running, scale: Scale, *, replaced: int) -> Sample:  # noqa: ARG001 - always one reload
    """Return the longest wait of a client during a reload that replaces this number of servers, that of as many
    requests without one, and the time until the new configuration is in use; all in milliseconds.
    """
    with contextlib.closing(loads.ping_pong(running.ports.many)) as waits:
        next(waits)
        before = running.output.stat().st_size
        started = time.perf_counter()
        running.reload(replaced)
        during = list(_until_logged(running, before, waits))
        seconds = time.perf_counter() - started
        during += itertools.islice(waits, AFTERWARDS)
        quiet = max(itertools.islice(waits, len(during)))
    log = running.output.read_bytes()[before:]
    problems = () if APPLIED in log and REJECTED not in log else ("the reload was not applied",)
    return Sample((max(during) * 1e3, quiet * 1e3, seconds * 1e3), problems)


def beside_scrapes(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - always as many answers
    """Return the longest wait of a client while metrics and status are read, and that of as many requests without, in
    milliseconds.
    """
    with contextlib.closing(loads.ping_pong(running.ports.many)) as waits:
        next(waits)
        with loads.scraper(running.admin, SCRAPES) as scraper:
            during = [*itertools.takewhile(lambda _: scraper.is_alive(), waits)]
        quiet = max(itertools.islice(waits, len(during)))
    problems = () if scraper.exitcode == 0 else ("the admin endpoint did not answer",)
    return Sample((max(during) * 1e3, quiet * 1e3), problems)


def _until_logged(running: Running, before: int, waits: Iterator[float]) -> Iterator[float]:
    """Yield waits until the log, which had ``before`` bytes, has the result of the reload."""
    until = time.perf_counter() + RELOAD_TIMEOUT
    size = before
    for wait in waits:
        yield wait
        if time.perf_counter() > until:
            return
        if running.output.stat().st_size > size:
            log = running.output.read_bytes()
            size = len(log)
            if APPLIED in log[before:] or REJECTED in log[before:]:
                return


def startup(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - measured at the start
    """Return the seconds from the start to the first served request."""
    return Sample((running.start_seconds,))


def imports(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - measured at the start
    """Return the number of modules imported at the start."""
    return Sample((running.imports(),))
