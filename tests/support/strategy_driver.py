"""Helpers for the tests of strategies: servers by weight, and the calls that a pool makes."""

from lb.model import Server, ServerSpec
from lb.model.address import Address, Client
from strategies import driver as strategy_drive
from strategies.driver import finish, release, start, use

__all__ = ["CLIENT", "finish", "lease", "make_servers", "make_specs", "picked_names", "release", "start", "use"]

CLIENT = Client("10.1.2.3", 5555)


def make_specs(*weights, first=1):
    numbers = range(first, first + len(weights))
    return [
        ServerSpec(name=f"s{number}", address=Address.parse(f"10.0.{number // 256}.{number % 256}:80"), weight=weight)
        for number, weight in zip(numbers, weights, strict=True)
    ]


def make_servers(*weights):
    return [Server(spec) for spec in make_specs(*weights)]


def lease(strategy, tried=(), client=CLIENT):
    return strategy_drive.lease(strategy, client, tried)


def picked_names(strategy, count):
    return [strategy.pick(CLIENT, ()).name for _ in range(count)]
