"""Runs a strategy through a history of a pool's calls. Each pick must be a server that may be chosen."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Literal, NamedTuple, TypeAlias

import attrs

from lb.model import Server, ServerSpec
from lb.model.address import Address, Client
from strategies.base import Strategy
from strategies.driver import client, lease, release, start, use

__all__ = ["SERVERS", "CheckTimeoutError", "RuleViolationError", "Trial", "TrialStep", "history", "make_servers"]

What: TypeAlias = Literal["pick", "release", "enable", "disable", "share", "use"]

SERVERS = 7
WEIGHTS = (1, 2, 3, 1, 5, 1, 2)
FREQUENCIES: dict[What, int] = {"pick": 60, "release": 40, "enable": 15, "disable": 12, "share": 5, "use": 1}


class RuleViolationError(Exception):
    """The strategy broke a rule. The text says which one."""


class CheckTimeoutError(RuleViolationError):
    """A check did not finish in time."""


class TrialStep(NamedTuple):
    """One step of a pool's history. Servers are numbers from 0 to 6."""

    what: What
    number: int = 0
    """The server; for ``release``, the index of the open connection that ends."""
    others: tuple[int, ...] = ()
    """The servers tried before the ``pick``, or the new list of ``use``; each server at most once."""
    amount: int = 100
    """The share of the server, 1 to 100; for ``use``, a seed of the weights."""


def make_servers(*weights: int) -> list[Server]:
    """Return servers ``s1``, ``s2`` … with these weights."""
    addresses = (f"10.0.{number // 256}.{number % 256}:80" for number in range(1, len(weights) + 1))
    return [
        Server(ServerSpec(f"s{number}", Address.parse(address), weight))
        for number, (address, weight) in enumerate(zip(addresses, weights, strict=True), 1)
    ]


def history(rng: Random, steps: int) -> Iterator[TrialStep]:
    """Yield random steps: mostly picks and releases, rarely a new list."""
    numbers = range(SERVERS)
    for _ in range(steps):
        (what,) = rng.choices(list(FREQUENCIES), weights=list(FREQUENCIES.values()))
        others = tuple(rng.sample(numbers, rng.choice((0, 0, 1, 2, 6)) if what == "pick" else rng.randint(0, SERVERS)))
        yield TrialStep(what, rng.randrange(SERVERS), others, rng.randint(1, 100))


class Trial:
    """A strategy, its servers, and their expected state."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.servers = make_servers(*WEIGHTS)
        self.picks: list[str] = []
        """Names of the chosen servers, "" for none."""
        self._members = list(self.servers)
        self._available = set(self.servers)
        self._leases: list[Server] = []
        start(strategy, self.servers)
        self._compare("the first use and enable")

    def take(self, step: TrialStep) -> None:
        """Carry out a step. Raises RuleViolationError, and whatever the strategy raises."""
        server = self.servers[step.number % SERVERS]
        if step.what == "pick":
            self._pick([self.servers[number] for number in step.others])
        elif step.what == "release" and self._leases:
            release(self.strategy, self._leases.pop(step.number % len(self._leases)))
        elif step.what == "enable" and server in self._members:
            self.strategy.enable(server)
            self._available.add(server)
        elif step.what == "disable":
            self.strategy.disable(server)
            self._available.discard(server)
        elif step.what == "share" and server in self._members:
            server.share = step.amount
            self.strategy.share_changed(server)
        elif step.what == "use":
            self._use([self.servers[number] for number in step.others], step.amount)
        self._compare(step.what)

    @property
    def next_client(self) -> Client:
        """The client of the next pick. Every second has a request: pools may serve modes ``http`` and ``tcp``."""
        number = len(self.picks) % 10_000
        return client(number) if number % 2 else Client(*client(number))

    def candidates(self, step: TrialStep) -> set[Server]:
        """Return the servers that may be chosen at this pick."""
        return self._available.difference(self.servers[number] for number in step.others)

    def _pick(self, tried: list[Server]) -> None:
        chosen = lease(self.strategy, self.next_client, tried)
        possible = self._available.difference(tried)
        if chosen is None and possible:
            raise RuleViolationError(f"it chose no server, although {len(possible)} of {SERVERS} were available")
        if chosen is not None and chosen not in possible:
            out = "is not available" if chosen in self._members else "is not in the list"
            why = "was tried before" if chosen in tried else out
            raise RuleViolationError(f"it chose {chosen.name}, which {why}")
        if chosen is not None:
            self._leases.append(chosen)
        self.picks.append(chosen.name if chosen is not None else "")

    def _use(self, members: list[Server], amount: int) -> None:
        self._members = members
        for place, server in enumerate(self.servers):
            weight = 1 + (place + amount) % 5 if server in members else 0
            server.spec = attrs.evolve(server.spec, weight=weight)
        use(self.strategy, members)
        self._available.intersection_update(members)

    def _compare(self, what: str) -> None:
        if self.strategy.available != self._available:
            raise RuleViolationError(
                f"its `available` is wrong after {what}: does an overriding method not call super().{what}()?"
            )
