"""What answers from DNS mean: records in, servers out. Decisions only: who asks is :mod:`lb.discovery.dns_client`.

The order of an answer means nothing (name servers rotate it), so the servers come in an order of their own, and the
same records always give the same servers. A server's name is its address, so its health and counters follow that.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

import attrs

from lb.address import Address
from lb.model import ServerSpec

__all__ = ["Answer", "Failure", "Outcome", "Question", "Round", "Service", "pause", "servers_at", "servers_of"]

SHORTEST, LONGEST = 1.0, 300.0
"""Seconds between two looks at a name, whatever its TTL. Guesses: some registries give a TTL of 0 and mean "ask each
time"; a day is too long to find out that a server has gone."""
RETRY = 2.0
"""Seconds until the next look after one that failed. A guess."""
HEAVIEST = 256
"""The largest weight that a server gets from SRV, as in HAProxy: larger ones are scaled down with their neighbours.
Tables of hash pools grow with it, and it is somebody else who writes these numbers."""


class Question(NamedTuple):
    name: str
    kind: Literal["A", "AAAA", "SRV"]


class Service(NamedTuple):
    """A record of kind SRV, RFC 2782."""

    priority: int
    weight: int
    port: int
    target: str
    """A name, without the last dot; empty = there is no such service."""


Record: TypeAlias = str | Service
"""An address as text, of A and AAAA; or a service."""


@attrs.frozen
class Answer:
    """The records that there are, maybe none, and for how many seconds that holds."""

    records: tuple[Record, ...]
    ttl: float


@attrs.frozen
class Failure:
    """No answer, or none that tells anything."""

    error: str


Outcome: TypeAlias = Answer | Failure


class Round:
    """One look at a name, which can take several questions. One that fails gets its last good answer once more."""

    def __init__(self, before: Round | None = None) -> None:
        self.ttl = math.inf
        """The shortest of all answers."""
        self._before = before.answers if before else {}
        self.answers: dict[Question, tuple[Record, ...]] = {}
        self._errors: list[str] = []

    def take(self, question: Question, outcome: Outcome) -> None:
        if isinstance(outcome, Answer):
            self.answers[question] = outcome.records
            self.ttl = min(self.ttl, outcome.ttl)
            return
        self._errors.append(f"{question.name} {question.kind}: {outcome.error}")
        if question in self._before:
            self.answers[question] = self._before[question]

    @property
    def errors(self) -> tuple[str, ...]:
        """Of the questions that failed; in the order of the alphabet, as they may have been asked together."""
        return tuple(sorted(self._errors))

    def services(self, name: str) -> list[Service]:
        return [each for each in self.answers.get(Question(name, "SRV"), ()) if isinstance(each, Service)]

    def addresses(self, name: str) -> list[str]:
        questions = Question(name, "A"), Question(name, "AAAA")
        return [each for question in questions for each in self.answers.get(question, ()) if isinstance(each, str)]


def pause(ttl: float, *, failed: bool) -> float:
    """Seconds until the next look."""
    return min(RETRY if failed else LONGEST, max(SHORTEST, ttl))


def servers_at(port: int, addresses: Iterable[str]) -> tuple[ServerSpec, ...]:
    """A server for each address."""
    return tuple(_server(host, port) for host in sorted(set(_usable(addresses)), key=_by_number))


def servers_of(services: Iterable[Service], addresses: Mapping[str, Collection[str]]) -> tuple[ServerSpec, ...]:
    """A server for each address of each service's target, with the service's weight.

    Those of the lowest priority number are used first, all others are backups (RFC 2782). Of several records that lead
    to the same server the best counts: the lowest priority, then the highest weight.
    """
    best: dict[tuple[str, int], tuple[int, int]] = {}
    for service in services:
        for host in _usable(addresses.get(service.target, ())) if service.port else ():
            rank = (service.priority, -service.weight)
            best[host, service.port] = min(rank, best.get((host, service.port), rank))
    first = min((priority for priority, _ in best.values()), default=0)
    tiers: dict[bool, dict[tuple[str, int], int]] = {False: {}, True: {}}
    for place, (priority, minus_weight) in sorted(best.items(), key=lambda each: (*_by_number(each[0][0]), each[0][1])):
        tiers[priority > first][place] = -minus_weight
    return tuple(
        _server(*place, weight, backup)
        for backup, weights in tiers.items()
        for place, weight in zip(weights, _scaled(list(weights.values())), strict=True)
    )


def _scaled(weights: list[int]) -> list[int]:
    """The same proportions in numbers as small as possible, from 1 to HEAVIEST.

    Of SRV a weight of 0 means "hardly ever" beside others, and here "never": 1 is what the draw of RFC 2782 gives it.
    Small, so that equal weights are 1 however a registry numbers them: some write 100 divided by the number of servers.
    """
    least = [max(weight, 1) for weight in weights]
    common = math.gcd(*least)
    small = [weight // common for weight in least]
    heaviest = max(small, default=1)
    return small if heaviest <= HEAVIEST else [max(1, round(weight * HEAVIEST / heaviest)) for weight in small]


def _usable(addresses: Iterable[str]) -> Iterable[str]:
    """Without those that no server can have: 0.0.0.0 is how filtering name servers say "nothing"."""
    for text in addresses:
        ip = ipaddress.ip_address(text)
        if not (ip.is_unspecified or ip.is_multicast):
            yield ip.compressed


def _by_number(host: str) -> tuple[int, int]:
    ip = ipaddress.ip_address(host)
    return ip.version, int(ip)


def _server(host: str, port: int, weight: int = 1, backup: bool = False) -> ServerSpec:
    text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ServerSpec(text, Address(text, host, port), weight, backup)
