"""A pool under test, with its events."""

from __future__ import annotations

import socket
from collections import Counter

from healthcheck.result import CheckResult
from lb.model import HealthSpec, PoolSpec, ServerSpec
from lb.model.address import Address, Client
from lb.pools.pool import Pool
from tests.support.strategy_driver import finish

CLIENT = Client("10.1.2.3", 5555)
BUILT_IN = ["weighted", "round-robin", "first", "least-conn", "random-two", "consistent-hash"]


def server(name, **options):
    return ServerSpec(name, Address(f"{name}:1", host=name, port=1), **options)


def servers(names, **options):
    return tuple(server(name, **options) for name in names)


class Harness:
    """A pool and its events."""

    def __init__(self, *specs, **options):
        self.events = []
        self.pool = Pool("web", self.events.append, lambda pool, backend, change: None)
        self.now = 0.0
        self.options = {"health": HealthSpec(rise=2, fall=3), **options}
        self.reload(*specs)

    def reload(self, *specs, **options):
        self.options |= options
        spec = PoolSpec("web", specs, **self.options)
        targets = {each.address: ((socket.AF_INET, (each.name, 1)),) for each in specs}
        return self.pool.apply(finish(self.pool.prepare(spec)), targets, self.now)

    def __getitem__(self, name):
        return self.pool.backends[name]

    def pick(self, *tried):
        return self.pool.pick(CLIENT, tried)

    def picks(self, count):
        """Return how often each server is chosen; each lease is released at once."""
        chosen = Counter()
        for _ in range(count):
            backend = self.pick()
            chosen[backend and backend.name] += 1
            if backend:
                self.pool.release(backend)
        return chosen

    def check(self, name, passed, times=1):
        for _ in range(times):
            self.pool.checked(self[name], CheckResult(passed, "fine" if passed else "HTTP 503", 0.0), self.now)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]
