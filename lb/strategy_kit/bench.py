"""What a strategy costs: CPU time per pick, and to build what it needs for a long list."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import thread_time

from lb.model import Server
from lb.strategy_kit.checks import Finding, Make
from lb.strategy_kit.drive import client, lease, release, start
from lb.strategy_kit.trial import make_servers
from strategies.base import Strategy

__all__ = ["costs"]

FEW, MANY = 10, 1_000
CLIENTS = 500
ROUNDS = 5
OPEN = 50
GROWTH = 10.0
"""Of the cost with a hundred times as many servers. A guess: a logarithm makes it 3, a search along the list 100."""
LONGEST = 0.005
"""Seconds without a ``yield`` that traffic would notice. A guess, five of the balancer's own slices."""


def costs(make: Make) -> list[Finding]:
    """Two findings. Raises what the strategy raises."""
    return [_pick(make), _build(make)]


def _pick(make: Make) -> Finding:
    few, many = start(make(), make_servers(*[1] * FEW)), start(make(), make_servers(*[1] * MANY))
    all_up = _per_pick(few), _per_pick(many)
    for strategy in (few, many):
        for server in strategy.servers[: len(strategy.servers) // 2]:
            strategy.disable(server)
    half_up = _per_pick(few), _per_pick(many)
    text = f"{_told(all_up)} of CPU with {FEW} and {MANY:,} servers, {_told(half_up)} when the first half is out"
    grown = max(all_up[1] / all_up[0], half_up[1] / half_up[0])
    if grown > GROWTH:
        return Finding("cost", "warn", f"{text}: it grows with the list, and all connections wait for it")
    return Finding("cost", "ok", text)


def _told(costs: tuple[float, float]) -> str:
    return f"{costs[0] * 1e6:.1f} and {costs[1] * 1e6:.1f} µs"


def _per_pick(strategy: Strategy) -> float:
    """Seconds of CPU of a pick with its lease, and the end of another; the best round, as others only disturb."""
    clients = [client(number) for number in range(CLIENTS)]
    held: deque[Server] = deque()
    best = float("inf")
    for _ in range(ROUNDS):
        begun = thread_time()
        for who in clients:
            server = lease(strategy, who)
            if server is not None:
                held.append(server)
            if len(held) > OPEN:
                release(strategy, held.popleft())
        best = min(best, thread_time() - begun)
    for server in held:
        release(strategy, server)
    return best / CLIENTS


def _build(make: Make) -> Finding:
    stretches = list(_stretches(make(), make_servers(*[1] * MANY)))
    total, longest = sum(stretches), max(stretches)
    text = f"{total * 1e3:.1f} ms of CPU for a list of {MANY:,} servers, at most {longest * 1e3:.1f} ms at a stretch"
    if longest > LONGEST:
        return Finding("build", "warn", f"{text}: traffic waits for that; let `build` do it, and yield more often")
    return Finding("build", "ok", text)


def _stretches(strategy: Strategy, servers: list[Server]) -> Iterator[float]:
    """Build and use a list: the CPU seconds between two ``yield``, then those of ``use``."""
    building = strategy.build([server.spec for server in servers])
    while True:
        begun = thread_time()
        try:
            next(building)
        except StopIteration as done:
            yield thread_time() - begun
            built = done.value
            break
        yield thread_time() - begun
    begun = thread_time()
    strategy.use(servers, built)
    yield thread_time() - begun
