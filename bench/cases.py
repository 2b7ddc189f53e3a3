"""The list of what is measured: a load each, and what it says about a target."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import loads
from backends import LARGE
from targets import DIRECT, HAPROXY, HAPROXY_SPLICE, LB, NGINX, Running, Target

__all__ = ["CASES", "FULL", "QUICK", "Case", "Metric", "Sample", "Scale"]

GIB = 1024**3
IDLE_FOR_MEMORY = 3_500
IDLE_FOR_SPEED = 5_000
BALANCERS = (LB, HAPROXY, NGINX)


@attrs.frozen
class Scale:
    """How much is done: the rounds, and in each the seconds of wrk, downloads, bytes of upload, pings."""

    rounds: int
    seconds: int
    downloads: int
    upload: int
    pings: int


FULL = Scale(rounds=5, seconds=3, downloads=5, upload=GIB, pings=10_000)
QUICK = Scale(rounds=1, seconds=1, downloads=2, upload=GIB // 4, pings=2_000)


@attrs.frozen
class Metric:
    """One figure: a row of the report."""

    title: str
    unit: str
    cost: bool = True
    """Of the balancer, the less the better, and compared. Otherwise a rate that is shown beside it."""
    above_direct: bool = False
    """What it is more than without a balancer, in the same round."""


@attrs.frozen
class Sample:
    """One round of one target: a value for each metric of the case, and what went wrong."""

    values: tuple[float, ...]
    problems: tuple[str, ...] = ()


@attrs.frozen
class Case:
    """A load, the targets that get it, and what comes out."""

    name: str
    metrics: tuple[Metric, ...]
    targets: tuple[Target, ...]
    run: Callable[[Running, Scale], Sample]
    fresh: bool = False
    """Each round gets a new process: what an earlier round left in its memory would hide what is measured."""


def _requests(running: Running, scale: Scale, *, path: str, close: bool = False, logs: bool = False) -> Sample:
    """CPU per request in microseconds, and requests per second."""
    lines, cpu = running.log_lines() if logs else 0, running.cpu()
    work = loads.wrk(running.ports.web, path, scale.seconds, close=close)
    cpu = running.cpu() - cpu
    problems = work.problems
    if logs and running.log_lines() - lines < 0.95 * work.count:  # a few may still be on their way
        problems += ("log lines are missing",)
    return Sample((cpu / max(work.count, 1) * 1e6, work.count / work.seconds), problems)


def _transfer(running: Running, transfer: Callable[[], loads.Work], unit: int) -> Sample:
    """CPU per ``unit`` bytes in milliseconds, and megabytes per second."""
    cpu = running.cpu()
    work = transfer()
    cpu = running.cpu() - cpu
    return Sample((cpu / max(work.count, 1) * unit * 1e3, work.count / work.seconds / 1e6), work.problems)


def _downloads(running: Running, scale: Scale) -> Sample:
    return _transfer(running, partial(loads.download, running.ports.web, scale.downloads), LARGE)


def _upload(running: Running, scale: Scale) -> Sample:
    return _transfer(running, partial(loads.upload, running.ports.sink, scale.upload), GIB)


def _idle(running: Running, scale: Scale) -> Sample:
    """KiB per idle connection, and how many times as much CPU a request takes beside many of them."""
    port = running.ports.web
    alone = _requests(running, scale, path="/small")
    before = running.memory()
    with loads.idle_connections(port, IDLE_FOR_MEMORY):
        held = running.memory() - before
        with loads.idle_connections(port, IDLE_FOR_SPEED - IDLE_FOR_MEMORY):
            beside = _requests(running, scale, path="/small")
    values = (held / IDLE_FOR_MEMORY / 1024, beside.values[0] / alone.values[0])
    return Sample(values, alone.problems + beside.problems)


def _latency(running: Running, scale: Scale) -> Sample:
    """Median and 99th percentile in microseconds: twice, as the report shows what is added and what was seen."""
    taken = loads.pings(running.ports.web, scale.pings)
    p50, p99 = (taken[len(taken) * percent // 100] * 1e6 for percent in (50, 99))
    return Sample((p50, p99, p50, p99))


CASES = (
    Case(
        "keepalive",
        (Metric("CPU of a request, 32 kept connections", "µs"), Metric("requests", "1/s", cost=False)),
        (*BALANCERS, DIRECT),
        partial(_requests, path="/small"),
    ),
    Case(
        "connections",
        (Metric("CPU of a connection with one request, 32 at a time", "µs"), Metric("connections", "1/s", cost=False)),
        (*BALANCERS, DIRECT),
        partial(_requests, path="/small", close=True),
    ),
    Case(
        "connections-logged",
        (
            Metric("CPU of a connection with one request and a log line", "µs"),
            Metric("connections with log lines", "1/s", cost=False),
        ),
        tuple(target.with_log() for target in BALANCERS),
        partial(_requests, path="/small", close=True, logs=True),
    ),
    Case(
        "medium",
        (Metric("CPU of a 64 KiB answer, 32 kept connections", "µs"), Metric("64 KiB answers", "1/s", cost=False)),
        (LB, HAPROXY, HAPROXY_SPLICE, NGINX, DIRECT),
        partial(_requests, path="/medium"),
    ),
    Case(
        "download",
        (Metric("CPU of a 200 MB answer", "ms"), Metric("200 MB answers", "MB/s", cost=False)),
        (LB, HAPROXY, HAPROXY_SPLICE, NGINX, DIRECT),
        _downloads,
    ),
    Case(
        "upload",
        (Metric("CPU of 1 GiB uploaded", "ms"), Metric("1 GiB uploads", "MB/s", cost=False)),
        (LB, HAPROXY, HAPROXY_SPLICE, NGINX, DIRECT),
        _upload,
    ),
    Case(
        "idle",
        (
            Metric(f"memory of an idle connection, {IDLE_FOR_MEMORY:,} held", "KiB"),
            Metric(f"CPU of a request beside {IDLE_FOR_SPEED:,} idle connections ÷ beside none", "times"),
        ),
        BALANCERS,
        _idle,
        fresh=True,
    ),
    Case(
        "latency",
        (
            Metric("latency added at one connection, median", "µs", above_direct=True),
            Metric("latency added at one connection, 99th percentile", "µs", above_direct=True),
            Metric("latency at one connection, median", "µs", cost=False),
            Metric("latency at one connection, 99th percentile", "µs", cost=False),
        ),
        (*BALANCERS, DIRECT),
        _latency,
    ),
)
