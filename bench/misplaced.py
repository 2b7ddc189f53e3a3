"""Keys that balancers place differently, in pools with consistent hashing: by the real tables."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from load_spread import server_specs, started

import strategies.registry
from lb.model import PluginSpec, Server, ServerSpec
from strategies import driver
from strategies.base import Strategy

__all__ = ["after_a_change", "alike", "with_private_doubts"]

KEYS = 10_000
TABLES = ("maglev", "ketama")


def _spec(table: str) -> PluginSpec:
    return PluginSpec("consistent-hash", (("table", table),))


def _strategy(table: str, servers: Sequence[ServerSpec]) -> Strategy:
    spec, servers = _spec(table), list(servers)
    return started(spec, servers, driver.finish(strategies.registry.create(spec).build(servers)))


def _places(strategy: Strategy, keys: int) -> list[str]:
    """Return the name of the server of each key."""
    return [strategy.pick(driver.client(key), ()).name for key in range(keys)]


def _differing(first: list[str], second: list[str]) -> float:
    return sum(one != other for one, other in zip(first, second, strict=True)) / len(first)


def alike(table: str, servers: int, keys: int = KEYS) -> float:
    """Return the share of keys that two balancers place differently which have the same servers, in any order."""
    specs = server_specs(servers)
    shuffled = Random(1).sample(specs, servers)
    return _differing(_places(_strategy(table, specs), keys), _places(_strategy(table, shuffled), keys))


def after_a_change(table: str, servers: int, keys: int = KEYS) -> float:
    """Return the share of keys placed differently while one balancer has one server more than the other."""
    specs = server_specs(servers + 1)
    return _differing(_places(_strategy(table, specs), keys), _places(_strategy(table, specs[:-1]), keys))


def with_private_doubts(table: str, servers: int, nodes: int, keys: int = KEYS) -> float:
    """Return the share of keys not placed alike by all, while each balancer takes one server for dead, any of them."""
    random = Random(nodes)
    strategy = _strategy(table, server_specs(servers))
    placed: list[set[str]] = [set() for _ in range(keys)]
    for _ in range(nodes):
        doubted: Server = random.choice(strategy.servers)
        strategy.disable(doubted)
        for places, name in zip(placed, _places(strategy, keys), strict=True):
            places.add(name)
        strategy.enable(doubted)
    return sum(len(places) > 1 for places in placed) / keys
