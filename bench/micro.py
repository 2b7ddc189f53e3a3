"""What single calls cost: a pick with its lease, loading a configuration, what hears of a closed connection."""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path

import attrs
from measure import Summary
from report import markdown_table, spread

import strategies.registry
from lb.address import Client
from lb.admin.feed import Feed
from lb.config import load, parse
from lb.events import ConnectionClosed, Event
from lb.figures import Figures
from lb.log import Log
from lb.model import LogSpec, PluginSpec
from lb.pool import Pool, Prepared

SIZES = (10, 1_000, 10_000)
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
"""Leases that are held while others are taken and given back."""


def main() -> None:
    """Print the table."""
    titles = ["CPU in µs, median (least to most)", *(f"{size:,} servers" for size in SIZES)]
    rows = []
    for spec in STRATEGIES:
        words = [spec.name, *(str(value) for _, value in spec.options)]
        rows.append([f"pick and lease, {' '.join(words)}", *(spread(pick_and_lease(spec, size)) for size in SIZES)])
    rows.append(["load a configuration", *(spread(config_load(size)) for size in SIZES)])
    print(markdown_table(titles, rows))
    print(f"A closed connection into a JSON log line: {spread(log_line())} µs of CPU.")
    print(f"A closed connection counted: {spread(observed(Figures().note))} µs of CPU.")
    print(f"A closed connection passed to the event stream, which leaves it out: {spread(observed(Feed()))} µs of CPU.")


def pick_and_lease(spec: PluginSpec, size: int) -> Summary:
    """A server chosen and its lease taken, and the oldest lease given back."""
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
    """The file read, checked and made into a value."""
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as directory:
        path = Path(directory) / "lb.toml"
        path.write_text(_config_text(size))
        return _timed(lambda: load(path), 1)


def log_line() -> Summary:
    """An event made into a line that waits to be written; the writing is not counted."""
    with Path(os.devnull).open("wb") as nowhere:
        log = Log(LogSpec(format="json"), fd=nowhere.fileno())
        return observed(log, afterwards=log.flush)


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


def observed(observer: Callable[[ConnectionClosed], None], afterwards: Callable[[], None] = lambda: None) -> Summary:
    """The same event told again and again."""

    def events() -> None:
        for _ in range(EVENTS):
            observer(CLOSED)

    return _timed(events, EVENTS, afterwards)


def _timed(work: Callable[[], object], count: int, afterwards: Callable[[], None] = lambda: None) -> Summary:
    """Microseconds of CPU for each of ``count`` parts of the work, over all rounds but a first one to warm up."""
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
    pool.apply(_result(pool.prepare(attrs.evolve(config.pools["web"], strategy=strategy))), {}, now=0.0)
    return pool


def _config_text(size: int) -> str:
    """One pool of so many servers, with weights from 1 to 3."""
    servers = (f'  {{ address = "10.1.{n >> 8}.{n & 255}:80", weight = {n % 3 + 1} }},\n' for n in range(size))
    return f'[listeners.web]\nbind = "127.0.0.1:8080"\n[pools.web]\nservers = [\n{"".join(servers)}]\n'


def _result(slices: Generator[None, None, Prepared]) -> Prepared:
    """Build without pauses."""
    while True:
        try:
            next(slices)
        except StopIteration as done:
            prepared: Prepared = done.value
            return prepared


def _fail(event: Event) -> None:
    """Nothing should happen while a pool is only asked."""
    raise AssertionError(event)


if __name__ == "__main__":
    main()
