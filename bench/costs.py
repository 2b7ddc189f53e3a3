"""Measurements of what a unit of work costs a balancer: CPU and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Timer

import loads
from backends import LARGE, large_file
from model import Sample, Scale
from targets import Running

__all__ = [
    "GIB",
    "IDLE_FOR_MEMORY",
    "IDLE_FOR_SPEED",
    "cost_of_many",
    "downloads",
    "idle",
    "requests",
    "scraped",
    "upload",
]

GIB = 1024**3
IDLE_FOR_MEMORY = 3_500
IDLE_FOR_SPEED = 5_000
SCRAPE_INTERVAL = 5
"""Seconds between two questions for the metrics: three times as often as most ask."""
SCRAPES = 20


def requests(running: Running, scale: Scale, *, path: str, close: bool = False, logs: bool = False) -> Sample:
    """CPU per request in microseconds, and requests per second."""
    return Sample(*_wrk(running, running.ports.web, scale.seconds, path=path, close=close, logs=logs))


def scraped(running: Running, scale: Scale, *, close: bool = False, logs: bool = False) -> Sample:  # noqa: ARG001
    """As :func:`requests`, for as long as from one question for the metrics to the next, which comes in the middle.

    Without an admin endpoint, for as long. The last figure is the CPU of such an answer by itself, in milliseconds: the
    sharper of the two, as what 5 s of traffic take differs by more than a few answers do.
    """
    answers: list[bytes] = []
    scraper = Timer(SCRAPE_INTERVAL / 2, lambda: answers.append(loads.scrape(running.admin)))
    if running.target.admin:
        scraper.start()
    figures, problems = _wrk(running, running.ports.web, SCRAPE_INTERVAL, close=close, logs=logs)
    if running.target.admin:
        scraper.join()
        if not (answers and b"lb_connections_total{" in answers[0]):
            problems += ("no metrics were answered",)
    return Sample((*figures, _scrape(running)), problems)


def _scrape(running: Running) -> float | None:
    if not running.target.admin:
        return None
    cpu = running.cpu()
    for _ in range(SCRAPES):
        loads.scrape(running.admin)
    return (running.cpu() - cpu) / SCRAPES * 1e3


def _wrk(
    running: Running, port: int, seconds: int, *, path: str = "/small", close: bool = False, logs: bool = False
) -> tuple[tuple[float | None, float], tuple[str, ...]]:
    """CPU per request in microseconds, if there is a balancer, requests per second; and what went wrong."""
    lines, cpu = running.log_lines() if logs else 0, running.cpu()
    work = loads.wrk(port, path, seconds, close=close)
    problems = work.problems
    if logs:
        missing = lines + work.count - running.log_lines(lines + work.count)
        problems += (f"{missing} log lines are missing",) if missing > 0 else ()
    cpu = running.cpu() - cpu
    return (cpu / max(work.count, 1) * 1e6 if cpu else None, work.count / work.seconds), problems


def _transfer(running: Running, transfer: Callable[[], loads.Work], unit: int) -> Sample:
    """CPU per ``unit`` bytes in milliseconds, and megabytes per second."""
    cpu = running.cpu()
    work = transfer()
    cpu = running.cpu() - cpu
    rate = work.count / work.seconds / 1e6
    return Sample((cpu / max(work.count, 1) * unit * 1e3 if cpu else None, rate), work.problems)


def downloads(running: Running, scale: Scale, *, path: str) -> Sample:
    """For each 200 MB."""
    return _transfer(running, partial(loads.download, running.ports.web, path, scale.downloads), LARGE)


def upload(running: Running, scale: Scale, *, from_file: bool) -> Sample:
    """For each GiB."""
    file = large_file(running.directory) if from_file else None
    return _transfer(running, partial(loads.upload, running.ports.sink, scale.upload, file), GIB)


def idle(running: Running, scale: Scale) -> Sample:
    """KiB per idle connection, and how many times as much CPU a request takes beside many of them."""
    port = running.ports.web
    (alone, _), first = _wrk(running, port, scale.seconds)
    before = running.memory()
    with loads.idle_connections(port, IDLE_FOR_MEMORY):
        held = running.memory() - before
        with loads.idle_connections(port, IDLE_FOR_SPEED - IDLE_FOR_MEMORY):
            (beside, _), second = _wrk(running, port, scale.seconds)
    return Sample((held / IDLE_FOR_MEMORY / 1024, _times(beside, alone)), first + second)


def cost_of_many(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - always as short as wrk can be
    """How many times as much CPU a connection takes with many servers as with few, and both in microseconds.

    In the order few, many, many, few: what drifts in one direction hits both alike.
    """
    few, many = running.ports.few, running.ports.many
    taken: dict[int, list[float]] = {few: [], many: []}
    problems: tuple[str, ...] = ()
    for port in (few, many, many, few):
        (cpu, _), went_wrong = _wrk(running, port, 1, close=True)
        taken[port].append(cpu or 0.0)
        problems += went_wrong
    with_few, with_many = (sum(taken[port]) / 2 for port in (few, many))
    return Sample((_times(with_many, with_few), with_few, with_many), problems)


def _times(cost: float | None, base: float | None) -> float | None:
    return cost / base if cost and base else None
