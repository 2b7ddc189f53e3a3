"""Cost of single calls: a pick with its lease, loading a configuration, the observers of a closed connection."""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs
from measure import Summary
from report import markdown_table, spread

import strategies.registry
from lb.admin.feed import Feed
from lb.config.load import load, parse
from lb.dataplane.stats import Counters
from lb.events import ConnectionClosed, Event, HttpRequest
from lb.log.log import Log
from lb.model import LogSpec, PluginSpec
from lb.model.address import Client
from lb.net.cooperate import done_at_once
from lb.pools.pool import Pool

SIZES = (2, 100, 10_000)
"""Servers in the pool, and in the file."""
STRATEGIES = (
    *(PluginSpec(name) for name in strategies.registry.names() if name != "consistent-hash"),
    PluginSpec("consistent-hash", (("table", "maglev"),)),
    PluginSpec("consistent-hash", (("table", "ketama"),)),
)
ROUNDS = 5
PICKS = 20_000
EVENTS = 2_000
HELD = 100
"""Leases held while others are acquired and released."""


def main() -> None:
    """Print the table."""
    titles = ["CPU in µs, median (min to max)", *(f"{size:,} servers" for size in SIZES)]
    rows = []
    for spec in STRATEGIES:
        parts = [spec.name, *(str(value) for _, value in spec.options)]
        rows.append([f"pick and lease, {' '.join(parts)}", *(spread(pick_and_lease(spec, size)) for size in SIZES)])
    rows.append(["load a configuration", *(spread(config_load(size)) for size in SIZES)])
    print(markdown_table(titles, rows))
    print(f"A closed connection into a JSON log line: {spread(log_line(CLOSED))} µs of CPU.")
    print(f"A closed connection counted: {spread(observed(Counters().note, CLOSED))} µs of CPU.")
    skipped = spread(observed(Feed(), CLOSED))
    print(f"A closed connection passed to the event stream, which skips it: {skipped} µs of CPU.")
    print(f"A request into a JSON log line: {spread(log_line(REQUEST))} µs of CPU.")
    print(f"A request counted: {spread(observed(Counters().note_request, REQUEST))} µs of CPU.")


def pick_and_lease(spec: PluginSpec, size: int) -> Summary:
    """Measure a pick with its lease, and the release of the oldest lease."""
    pool = _pool(spec, size)
    clients = [Client(f"10.{number >> 8}.{number & 255}.7", 5555) for number in range(1_000)]
    leases = deque(filter(None, (pool.pick(client, ()) for client in clients[:HELD])))

    def picks() -> None:
        for number in range(PICKS):
            backend = pool.pick(clients[number % 1_000], ())
            assert backend is not None
            leases.append(backend)
            pool.release(leases.popleft())

    return _timed(picks, PICKS)


def config_load(size: int) -> Summary:
    """Measure reading, validating and parsing a configuration file."""
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as directory:
        path = Path(directory) / "lb.toml"
        path.write_text(_config_text(size))
        return _timed(lambda: load(path), 1)


def log_line(event: Event) -> Summary:
    """Measure formatting an event as a log line, without writing it."""
    with Path(os.devnull).open("wb") as nowhere:
        log = Log(LogSpec(format="json"), fd=nowhere.fileno())
        return observed(log, event, afterwards=log.flush)


CLOSED = ConnectionClosed(
    id=123456,
    listener="web",
    pool="web",
    server="10.0.0.1:9001",
    client=Client("10.1.2.3", 5555),
    attempts=(),
    connect_ms=0.213,
    duration_ms=12.345,
    bytes_in=512,
    bytes_out=65536,
    ended_by="client",
    reason="eof",
)
REQUEST = HttpRequest(
    id="0f3a9c1be4d24a7e",
    listener="www",
    route="videos",
    client=Client("10.1.2.3", 5555),
    method="GET",
    host="video.example.com",
    path="/videos/2026/11/a.mp4",
    version="1.1",
    status=200,
    bytes_in=0,
    bytes_out=65536,
    duration_ms=12.345,
    wait_ms=3.21,
    pool="backend",
    server="10.0.0.1:9001",
    attempts=(),
    cache=None,
    reason="ok",
)
Observed = TypeVar("Observed", bound=Event)


def observed(
    observer: Callable[[Observed], None], event: Observed, afterwards: Callable[[], None] = lambda: None
) -> Summary:
    """Measure an observer with the same event, repeatedly."""

    def events() -> None:
        for _ in range(EVENTS):
            observer(event)

    return _timed(events, EVENTS, afterwards)


def _timed(work: Callable[[], object], count: int, afterwards: Callable[[], None] = lambda: None) -> Summary:
    """Return microseconds of CPU per unit of work; the work has ``count`` units. The first round is a warm-up."""
    taken = []
    for _ in range(1 + ROUNDS):
        started = time.process_time()
        work()
        taken.append((time.process_time() - started) / count * 1e6)
        afterwards()
    return Summary.of(taken[1:])


def _pool(strategy: PluginSpec, size: int) -> Pool:
    config = parse(_config_text(size), "micro.toml")
    pool = Pool("web", _fail, lambda _pool, _backend, _change: None)
    pool.apply(done_at_once(pool.prepare(attrs.evolve(config.pools["web"], strategy=strategy))), {}, now=0.0)
    return pool


def _config_text(size: int) -> str:
    """Return a configuration with one pool of ``size`` servers, with weights from 1 to 3."""
    servers = (f'  {{ address = "10.1.{n >> 8}.{n & 255}:80", weight = {n % 3 + 1} }},\n' for n in range(size))
    return f'[listeners.web]\nbind = "127.0.0.1:8080"\n[pools.web]\nservers = [\n{"".join(servers)}]\n'


def _fail(event: Event) -> None:
    """Fail: a pick must not emit events."""
    raise AssertionError(event)


if __name__ == "__main__":
    main()
