"""The cost of a strategy: CPU time of a pick and of a build for a long list, and whether it blocks."""

from __future__ import annotations

import resource
from collections import deque
from collections.abc import Collection, Generator, Sequence
from time import thread_time

import attrs

from lb.model import Server
from lb.model.address import Client
from lb.tools.strategy_kit.checks import Check, Finding
from lb.tools.strategy_kit.explaining import Make
from lb.tools.strategy_kit.trial import make_servers
from strategies.base import Strategy
from strategies.driver import client, lease, release, start

__all__ = ["costs"]

FEW, MANY = 10, 1_000
BENCH_CLIENTS = 250
ROUNDS = 6
BUILDS = 3
BENCH_OPEN = 50
NEAR = 0.5
"""Limit of a pick's growth, relative to that of a search of the whole list. Measured: 0.33 for the first available
server with half of them down, 0.75 for a list of all candidates, 2 or more for a minimum, below 0.02 for the built-in
strategies."""
MAX_SLICE = 0.005
"""Maximum seconds between two ``yield``. An estimate: five slices of the balancer itself."""

BLOCKS = "it sleeps or waits for I/O, which blocks all connections"


class Search(Strategy):
    """Searches all servers at each pick: the cost to compare with."""

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:  # noqa: ARG002 - the interface of strategies
        left = list(self.candidates(tried))
        return left[-1] if left else None


@attrs.define
class Spent:
    """The minimum of several measurements: other load on the machine only adds time."""

    seconds: float = float("inf")
    """CPU seconds."""
    waits: float = float("inf")
    """Voluntary context switches: the process slept or waited for I/O."""

    def note(self, seconds: float, waits: float) -> None:
        self.seconds = min(self.seconds, seconds)
        self.waits = min(self.waits, waits)


def costs(make: Make) -> Sequence[Check]:
    """Return the checks ``cost`` and ``build``."""
    return ("cost", lambda: _pick(make)), ("build", lambda: _build(make))


def _waits() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def _pick(make: Make) -> Finding:
    strategies = [start(each, make_servers(*[1] * length)) for length in (FEW, MANY) for each in (make(), Search())]
    all_up = _rounds(strategies)
    for strategy in strategies:
        for server in strategy.servers[: len(strategy.servers) // 2]:
            strategy.disable(server)
    half_up = _rounds(strategies)
    text = (
        f"{_per_pick(all_up)} of CPU with {FEW} and {MANY:,} servers, {_per_pick(half_up)} when the first half is down"
    )
    if any(spent.waits for spent in (*all_up, *half_up)):
        return Finding("cost", "warn", f"{text}: {BLOCKS}")
    if max(map(_grown, (all_up, half_up))) > NEAR:
        return Finding("cost", "warn", f"{text}: the cost grows with the list, and a pick blocks all connections")
    return Finding("cost", "ok", text)


def _grown(spent: Sequence[Spent]) -> float:
    """Return the growth from few to many servers, relative to the growth of a search."""
    few, few_searched, many, many_searched = (each.seconds for each in spent)
    return (many - few) / (many_searched - few_searched)


def _per_pick(spent: Sequence[Spent]) -> str:
    few, _, many, _ = (each.seconds / BENCH_CLIENTS * 1e6 for each in spent)
    return f"{few:.1f} and {many:.1f} µs"


def _rounds(strategies: Sequence[Strategy]) -> list[Spent]:
    """Measure each strategy. They alternate, so that a disturbance affects all of them."""
    spent = [Spent() for _ in strategies]
    for _ in range(ROUNDS):
        for strategy, least in zip(strategies, spent, strict=True):
            least.note(*_round(strategy))
    return spent


def _round(strategy: Strategy) -> tuple[float, int]:
    """Measure picks with acquire and release of their leases."""
    clients = [client(number) for number in range(BENCH_CLIENTS)]
    held: deque[Server] = deque()
    waits, begun = _waits(), thread_time()
    for each in clients:
        server = lease(strategy, each)
        if server is not None:
            held.append(server)
        if len(held) > BENCH_OPEN:
            release(strategy, held.popleft())
    spent = thread_time() - begun, _waits() - waits
    for server in held:
        release(strategy, server)
    return spent


def _build(make: Make) -> Finding:
    total, longest = Spent(), Spent()
    for _ in range(BUILDS):
        seconds, waits = zip(*_slices(make(), make_servers(*[1] * MANY)), strict=True)
        total.note(sum(seconds), sum(waits))
        longest.note(max(seconds), max(waits))
    text = (
        f"{total.seconds * 1e3:.1f} ms of CPU for a list of {MANY:,} servers, "
        f"longest slice {longest.seconds * 1e3:.1f} ms"
    )
    if total.waits:
        return Finding("build", "warn", f"{text}: {BLOCKS}")
    if longest.seconds > MAX_SLICE:
        return Finding("build", "warn", f"{text}: this blocks traffic; do the work in `build`, and yield more often")
    return Finding("build", "ok", text)


def _slices(strategy: Strategy, servers: list[Server]) -> Generator[tuple[float, int], None, None]:
    """Build and use a list. Yields the cost between two ``yield``, then that of ``use``."""
    building = strategy.build([server.spec for server in servers])
    done = False
    while not done:
        waits, begun = _waits(), thread_time()
        try:
            next(building)
        except StopIteration as end:
            built, done = end.value, True
        yield thread_time() - begun, _waits() - waits
    waits, begun = _waits(), thread_time()
    strategy.use(servers, built)
    yield thread_time() - begun, _waits() - waits
