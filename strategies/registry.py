"""The registry of strategies: the built-in ones, entry points, and ``module:Name``."""

from __future__ import annotations

from lb.model.plugin import Registry
from strategies.base import Strategy

__all__ = ["create", "load", "names"]

_REGISTRY = Registry(
    kind="strategy",
    base=Strategy,  # type: ignore[type-abstract]  # any subclass of it
    group="lb.strategies",
    built_in={
        "weighted": "strategies.weighted:Weighted",
        "round-robin": "strategies.round_robin:RoundRobin",
        "first": "strategies.first:First",
        "least-conn": "strategies.least_conn:LeastConn",
        "random-two": "strategies.random_two:RandomTwo",
        "consistent-hash": "strategies.consistent_hash:ConsistentHash",
    },
)

names = _REGISTRY.names
load = _REGISTRY.load
create = _REGISTRY.create
