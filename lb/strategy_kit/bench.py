"""What a strategy costs: CPU time per pick, and to build what it needs for a long list; and whether it waits."""

from __future__ import annotations

import resource
from collections import deque
from collections.abc import Collection, Generator, Sequence
from time import thread_time

import attrs

from lb.address import Client
from lb.model import Server
from lb.strategy_drive import client, lease, release, start
from lb.strategy_kit.checks import Check, Finding, Make
from lb.strategy_kit.trial import make_servers
from strategies.base import Strategy

__all__ = ["costs"]

FEW, MANY = 10, 1_000
CLIENTS = 250
ROUNDS = 6
BUILDS = 3
OPEN = 50
NEAR = 0.5
"""Of what a search along the whole list costs. The first server that is up comes to 0.33 when half are out, a bare list
of those that are left to 0.75, the least of all to 2 or more; the built-in strategies stay below 0.02."""
LONGEST = 0.005
"""Seconds without a ``yield`` that traffic would notice. A guess, five of the balancer's own slices."""

WAITS = "waits for something outside, and all connections wait with it"


class Search(Strategy):
    """Looks at all servers for each client, which is what a pick should not cost."""

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:  # noqa: ARG002 - a strategy's
        left = list(self.candidates(tried))
        return left[-1] if left else None


@attrs.define
class Spent:
    """The least of several measurements, as others on the machine only add to it."""

    seconds: float = float("inf")
    """Of CPU."""
    waits: float = float("inf")
    """How often the process gave up its CPU of its own accord: it slept, or waited for something outside."""

    def note(self, seconds: float, waits: float) -> None:
        self.seconds = min(self.seconds, seconds)
        self.waits = min(self.waits, waits)


def costs(make: Make) -> Sequence[Check]:
    """Two checks."""
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
    text = f"{_told(all_up)} of CPU with {FEW} and {MANY:,} servers, {_told(half_up)} when the first half is out"
    if any(spent.waits for spent in (*all_up, *half_up)):
        return Finding("cost", "warn", f"{text}: it sleeps, or {WAITS}")
    if max(map(_grown, (all_up, half_up))) > NEAR:
        return Finding("cost", "warn", f"{text}: it grows with the list, and all connections wait for it")
    return Finding("cost", "ok", text)


def _grown(spent: Sequence[Spent]) -> float:
    """What many servers cost more than few, as a part of what they cost a search more."""
    few, few_searched, many, many_searched = (each.seconds for each in spent)
    return (many - few) / (many_searched - few_searched)


def _told(spent: Sequence[Spent]) -> str:
    few, _, many, _ = (each.seconds / CLIENTS * 1e6 for each in spent)
    return f"{few:.1f} and {many:.1f} µs"


def _rounds(strategies: Sequence[Strategy]) -> list[Spent]:
    """Of each strategy. They take turns, so that what disturbs one disturbs all."""
    spent = [Spent() for _ in strategies]
    for _ in range(ROUNDS):
        for strategy, least in zip(strategies, spent, strict=True):
            least.note(*_round(strategy))
    return spent


def _round(strategy: Strategy) -> tuple[float, int]:
    """Picks with their leases, and ends of others."""
    clients = [client(number) for number in range(CLIENTS)]
    held: deque[Server] = deque()
    waits, begun = _waits(), thread_time()
    for who in clients:
        server = lease(strategy, who)
        if server is not None:
            held.append(server)
        if len(held) > OPEN:
            release(strategy, held.popleft())
    spent = thread_time() - begun, _waits() - waits
    for server in held:
        release(strategy, server)
    return spent


def _build(make: Make) -> Finding:
    total, longest = Spent(), Spent()
    for _ in range(BUILDS):
        seconds, waits = zip(*_stretches(make(), make_servers(*[1] * MANY)), strict=True)
        total.note(sum(seconds), sum(waits))
        longest.note(max(seconds), max(waits))
    text = (
        f"{total.seconds * 1e3:.1f} ms of CPU for a list of {MANY:,} servers, "
        f"at most {longest.seconds * 1e3:.1f} ms at a stretch"
    )
    if total.waits:
        return Finding("build", "warn", f"{text}: it sleeps, or {WAITS}")
    if longest.seconds > LONGEST:
        return Finding("build", "warn", f"{text}: traffic waits for that; let `build` do it, and yield more often")
    return Finding("build", "ok", text)


def _stretches(strategy: Strategy, servers: list[Server]) -> Generator[tuple[float, int], None, None]:
    """Build and use a list: what was spent between two ``yield``, then by ``use``."""
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
