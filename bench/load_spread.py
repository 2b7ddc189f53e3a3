"""Load of servers behind several balancers that know nothing of each other, by the real strategies."""

from __future__ import annotations

import heapq
import statistics
from random import Random, seed

import attrs

import strategies.registry
from lb.model import PluginSpec, Server, ServerSpec
from lb.model.address import Address, Client
from lb.pools.turns_begin import turns_begin
from strategies import driver
from strategies.base import Strategy

__all__ = ["Spread", "load_spread", "server_specs", "started"]

HELD = 10
"""Mean connections of a server at a time."""
WARM_UP, SAMPLES = 3.0, 5
"""Mean lengths of a connection until the first look, and looks, one mean length apart."""


@attrs.frozen
class Spread:
    """How unequal the connections of the servers are, at a time."""

    most: float
    """Those of the server with most of them, in units of the mean."""
    deviation: float
    """The standard deviation, in units of the mean."""


def server_specs(number: int) -> list[ServerSpec]:
    """Return servers with different addresses."""
    return [
        ServerSpec(str(index), Address.parse(f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}:80"))
        for index in range(number)
    ]


def started(spec: PluginSpec, servers: list[ServerSpec], built: object, node: str = "") -> Strategy:
    """Return a strategy of a node with these servers, all of them available. ``built``: the result of its build."""
    strategy = strategies.registry.create(spec)
    strategy.start = turns_begin(node)
    members = [Server(server) for server in servers]
    strategy.use(members, built)
    for member in members:
        strategy.enable(member)
    return strategy


def load_spread(spec: PluginSpec, nodes: int, servers: int, *, together: bool = False) -> Spread:
    """Let connections come to any of the balancers, last for an exponential time, and look at the servers.

    ``together``: the balancers have just started, all at the same time. Else their turns are anywhere.
    """
    random = Random(1)
    seed(1)  # some strategies draw from the module
    specs = server_specs(servers)
    built = driver.finish(strategies.registry.create(spec).build(specs))
    balancers = [started(spec, specs, built, f"lb{number}") for number in range(1, nodes + 1)]
    for strategy in balancers:
        for _ in range(0 if together else random.randrange(servers)):
            driver.release(strategy, driver.lease(strategy, _client(random)))
    held = [0] * servers
    ends: list[tuple[float, int, Strategy, Server]] = []
    now, number, looks = 0.0, 0, []
    for look in range(SAMPLES):
        until = WARM_UP + look
        while now < until:
            now += random.expovariate(servers * HELD)
            _end(ends, now, held)
            number += 1
            strategy = balancers[int(random.random() * nodes)]
            server = driver.lease(strategy, _client(random))
            held[int(server.name)] += 1
            heapq.heappush(ends, (now + random.expovariate(1.0), number, strategy, server))
        mean = statistics.fmean(held)
        looks.append(Spread(max(held) / mean, statistics.pstdev(held) / mean))
    return Spread(statistics.fmean(look.most for look in looks), statistics.fmean(look.deviation for look in looks))


def _end(ends: list[tuple[float, int, Strategy, Server]], now: float, held: list[int]) -> None:
    """End the connections that are over."""
    while ends and ends[0][0] <= now:
        _, _, strategy, server = heapq.heappop(ends)
        driver.release(strategy, server)
        held[int(server.name)] -= 1


def _client(random: Random) -> Client:
    number = random.getrandbits(40)
    return Client(
        f"{number >> 32}.{number >> 24 & 255}.{number >> 16 & 255}.{number >> 8 & 255}", 1024 + (number & 255)
    )
