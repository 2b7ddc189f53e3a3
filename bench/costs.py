"""Measurements of the cost of a unit of work: CPU and memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from threading import Timer

import loads
from backends import LARGE, large_file
from measure import begun_connections
from model import Sample, Scale
from target import MANY
from targets import Running
from visits import visit

__all__ = [
    "GIB",
    "IDLE_FOR_MEMORY",
    "IDLE_FOR_SPEED",
    "IDLE_TLS",
    "IDLE_TUNNELS",
    "checks",
    "connections",
    "cost_of_many",
    "downloads",
    "http_upload",
    "idle",
    "idle_memory",
    "idle_tunnels",
    "requests",
    "scraped",
    "tunnelled",
    "tunnels",
    "upload",
]

GIB = 1024**3
IDLE_FOR_MEMORY = 3_500
IDLE_FOR_SPEED = 5_000
IDLE_TLS = 1_000
IDLE_TUNNELS = 9_500
"""About as many as 20,000 open files allow: a proxy needs two for each."""
SCRAPE_INTERVAL = 5
"""Seconds between two scrapes: three times as often as usual."""
SCRAPES = 20
CHECK_SECONDS, CHECK_INTERVAL = 20, 2
UNTIL_CHECKS = 4
"""Seconds until all servers have had their first checks, which some balancers make faster."""


def requests(
    running: Running, scale: Scale, *, path: str, close: bool = False, logs: bool = False, vary: str = ""
) -> Sample:
    """Return CPU per request in microseconds, and requests per second."""
    return Sample(*_wrk(running, running.ports.web, scale.seconds, path=path, close=close, logs=logs, vary=vary))


def connections(running: Running, scale: Scale, *, resume: bool = False) -> Sample:
    """Return CPU per connection in microseconds, connections per second, and the percentage of full TLS handshakes.

    These are the handshakes with the servers if there are such, else those with the clients.
    """
    behind = running.target.features.server_tls
    cpu = running.cpu()
    visits = visit(running.ports.web, "/resumed" if behind else "/small", scale.seconds, running.client, resume=resume)
    cpu = running.cpu() - cpu
    count = max(visits.count, 1)
    full = 1 - (visits.resumed_behind if behind else visits.resumed) / count
    return Sample((cpu / count * 1e6, visits.count / visits.seconds, full * 100), visits.problems)


def tunnelled(running: Running, scale: Scale) -> Sample:
    """Return CPU per request in microseconds, and requests per second, over kept connections or tunnels."""
    cpu = running.cpu()
    work = loads.requests(running.ports.web, scale.seconds, running.client)
    cpu = running.cpu() - cpu
    return Sample((work.cost(cpu * 1e6), work.count / work.seconds), work.problems)


def tunnels(running: Running, scale: Scale) -> Sample:
    """Return CPU per new tunnel in microseconds, tunnels per second, and the first figure again, for a second limit."""
    sample = connections(running, scale)
    cpu, rate, _ = sample.values
    return Sample((cpu, rate, cpu), sample.problems)


def idle_tunnels(running: Running, scale: Scale) -> Sample:
    """Return KiB per idle tunnel."""
    visits = visit(running.ports.web, "/small", scale.seconds, running.client)
    before = running.memory()
    with loads.idle_connections(running.ports.web, IDLE_TUNNELS, running.client):
        return Sample(((running.memory() - before) / IDLE_TUNNELS / 1024,), visits.problems)


def checks(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - shorter would be imprecise
    """Return the CPU of the health checks in percent of a core, and checks per second."""
    time.sleep(UNTIL_CHECKS)  # noqa: TID251 - what is measured is the CPU of a time
    before, cpu = begun_connections(), running.cpu()
    time.sleep(CHECK_SECONDS)  # noqa: TID251 - likewise
    cpu, made = running.cpu() - cpu, begun_connections() - before
    rate, expected = made / CHECK_SECONDS, MANY / CHECK_INTERVAL
    problems = () if rate >= 0.95 * expected else (f"{rate:.0f} checks per second instead of {expected:.0f}",)
    return Sample((cpu / CHECK_SECONDS * 100, rate), problems)


def scraped(running: Running, scale: Scale, *, close: bool = False, logs: bool = False) -> Sample:  # noqa: ARG001
    """Measure as :func:`requests` for one scrape interval, with a scrape in the middle if there is an admin endpoint.

    The last figure is the CPU of a scrape alone, in milliseconds. It is more precise: the cost of 5 s of traffic varies
    by more than the cost of a few scrapes.
    """
    answers: list[bytes] = []
    scraper = Timer(SCRAPE_INTERVAL / 2, lambda: answers.append(loads.scrape(running.admin)))
    if running.target.admin:
        scraper.start()
    figures, problems = _wrk(running, running.ports.web, SCRAPE_INTERVAL, close=close, logs=logs)
    if running.target.admin:
        scraper.join()
        if not (answers and b"lb_connections_total{" in answers[0]):
            problems += ("no metrics received",)
    return Sample((*figures, _scrape(running)), problems)


def _scrape(running: Running) -> float | None:
    if not running.target.admin:
        return None
    cpu = running.cpu()
    for _ in range(SCRAPES):
        loads.scrape(running.admin)
    return (running.cpu() - cpu) / SCRAPES * 1e3


def _wrk(
    running: Running,
    port: int,
    seconds: int,
    *,
    path: str = "/small",
    close: bool = False,
    logs: bool = False,
    vary: str = "",
) -> tuple[tuple[float | None, float], tuple[str, ...]]:
    """Return CPU per request in microseconds (None without a balancer) and requests per second; and the errors."""
    lines, cpu = running.log_lines() if logs else 0, running.cpu()
    work = loads.wrk(
        port,
        path,
        seconds,
        close=close,
        tls=running.target.client.tls is not None,
        vary=vary,
        server=running.behind.web,
    )
    problems = work.problems
    if logs:
        missing = lines + work.count - running.log_lines(lines + work.count)
        problems += (f"{missing} log lines are missing",) if missing > 0 else ()
    cpu = running.cpu() - cpu
    return (work.cost(cpu * 1e6), work.count / work.seconds), problems


def _transfer(running: Running, transfer: Callable[[], loads.Work], unit: int) -> Sample:
    """Return CPU per ``unit`` bytes in milliseconds, and megabytes per second."""
    cpu = running.cpu()
    work = transfer()
    cpu = running.cpu() - cpu
    rate = work.count / work.seconds / 1e6
    return Sample((work.cost(cpu * unit * 1e3), rate), work.problems)


def downloads(running: Running, scale: Scale, *, path: str) -> Sample:
    """Measure downloads; CPU per 200 MB."""
    return _transfer(running, partial(loads.download, running.ports.web, path, scale.downloads, running.client), LARGE)


def upload(running: Running, scale: Scale, *, from_file: bool) -> Sample:
    """Measure an upload; CPU per GiB."""
    file = large_file(running.directory) if from_file else None
    return _transfer(running, partial(loads.upload, running.ports.sink, scale.upload, file), GIB)


def http_upload(running: Running, scale: Scale) -> Sample:
    """Measure an upload as the body of one request; CPU per GiB."""
    file = large_file(running.directory)
    return _transfer(running, partial(loads.http_upload, running.ports.http_sink, scale.upload, file), GIB)


def idle_memory(running: Running, scale: Scale) -> Sample:
    """Return KiB per idle TLS connection."""
    _, problems = _wrk(running, running.ports.web, scale.seconds)
    before = running.memory()
    with loads.idle_connections(running.ports.web, IDLE_TLS, running.target.client):
        return Sample(((running.memory() - before) / IDLE_TLS / 1024,), problems)


def idle(running: Running, scale: Scale) -> Sample:
    """Return KiB per idle connection, and the ratio of CPU per request with many idle connections to that without."""
    port = running.ports.web
    (alone, _), first = _wrk(running, port, scale.seconds)
    before = running.memory()
    with loads.idle_connections(port, IDLE_FOR_MEMORY):
        held = running.memory() - before
        with loads.idle_connections(port, IDLE_FOR_SPEED - IDLE_FOR_MEMORY):
            (beside, _), second = _wrk(running, port, scale.seconds)
    return Sample((held / IDLE_FOR_MEMORY / 1024, _times(beside, alone)), first + second)


def cost_of_many(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - always the shortest run of wrk
    """Return the ratio of CPU per connection with many servers to that with few, and both in microseconds.

    Measures in the order few, many, many, few: a drift affects both equally.
    """
    few, many = running.ports.few, running.ports.many
    taken: dict[int, list[float]] = {few: [], many: []}
    problems: tuple[str, ...] = ()
    for port in (few, many, many, few):
        (cpu, _), errors = _wrk(running, port, 1, close=True)
        taken[port].append(cpu or 0.0)
        problems += errors
    with_few, with_many = (sum(taken[port]) / 2 for port in (few, many))
    return Sample((_times(with_many, with_few), with_few, with_many), problems)


def _times(cost: float | None, base: float | None) -> float | None:
    return cost / base if cost and base else None
