"""Convert DNS records to servers. No I/O: :mod:`lb.discovery.dns_client` sends the queries.

Name servers rotate the order of records, so servers are sorted, and the same records always give the same servers. A
server's name is its address, so health and counters belong to the address.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import attrs

from lb.model import ServerSpec
from lb.model.address import Address

__all__ = [
    "DnsAnswer",
    "DnsOutcome",
    "DnsQuestion",
    "Failure",
    "Round",
    "Service",
    "hold_for",
    "in_order",
    "pause",
    "questions_of",
    "servers_at",
    "servers_of",
]

SHORTEST, LONGEST = 1.0, 300.0
"""Minimum and maximum seconds between two look-ups of a name, regardless of its TTL. Guesses: some registries use a
TTL of 0, and a day is too long to notice a removed server."""
RETRY = 2.0
"""Seconds until the next look-up after a failed one. A guess."""
SHORTEST_HOLD = 60.0
"""Minimum of the default ``hold`` in seconds."""
MAX_SRV_WEIGHT = 256
"""Maximum weight from SRV records, as in HAProxy; larger weights are scaled down together. Tables of hash pools grow
with weights, and these come from an external source."""


class DnsQuestion(NamedTuple):
    name: str
    kind: Literal["A", "AAAA", "SRV"]


class Service(NamedTuple):
    """An SRV record, RFC 2782."""

    priority: int
    weight: int
    port: int
    target: str
    """A host name without the final dot; empty = the service does not exist."""


Record: TypeAlias = str | Service
"""An address as text (A, AAAA) or a service (SRV)."""


@attrs.frozen
class DnsAnswer:
    """The records, possibly none, and their TTL in seconds."""

    records: tuple[Record, ...]
    ttl: float


@attrs.frozen
class Failure:
    """No answer or an unusable one."""

    error: str


DnsOutcome: TypeAlias = DnsAnswer | Failure


class Round:
    """One look-up of a name: one or more queries. A failed query keeps its last good answer."""

    def __init__(self, before: Round | None = None) -> None:
        self.ttl = math.inf
        """The minimum TTL of all answers."""
        self._before = before.answers if before else {}
        self.answers: dict[DnsQuestion, tuple[Record, ...]] = {}
        self._errors: list[str] = []

    @classmethod
    def remembered(cls, read: Iterable[Any]) -> Round:
        """Return a round with the answers of :meth:`as_json`."""
        before = cls()
        for name, kind, records in read:
            answer = tuple(each if isinstance(each, str) else Service(*each) for each in records)
            before.answers[DnsQuestion(name, kind)] = answer
        return before

    def as_json(self) -> list[object]:
        """Return the answers: a name, a kind and its records for each."""
        return [[*question, list(records)] for question, records in self.answers.items()]

    def take(self, question: DnsQuestion, outcome: DnsOutcome) -> None:
        if isinstance(outcome, DnsAnswer):
            self.answers[question] = outcome.records
            self.ttl = min(self.ttl, outcome.ttl)
            return
        self._errors.append(f"{question.name} {question.kind}: {outcome.error}")
        if question in self._before:
            self.answers[question] = self._before[question]

    def has_addresses(self, names: Iterable[str]) -> bool:
        """Return whether there is an address for each name, in the answers so far."""
        return all(any(self.answers.get(question) for question in _both_kinds(name)) for name in names)

    def _answer(self, question: DnsQuestion) -> tuple[Record, ...]:
        """Return the answer, or the last good one as long as there is none."""
        return self.answers.get(question, self._before.get(question, ()))

    @property
    def errors(self) -> tuple[str, ...]:
        """The errors of failed queries, sorted, as queries may run concurrently."""
        return tuple(sorted(self._errors))

    def services(self, name: str) -> list[Service]:
        return [each for each in self._answer(DnsQuestion(name, "SRV")) if isinstance(each, Service)]

    def addresses(self, name: str) -> list[str]:
        return [each for question in _both_kinds(name) for each in self._answer(question) if isinstance(each, str)]


def _both_kinds(name: str) -> tuple[DnsQuestion, DnsQuestion]:
    return DnsQuestion(name, "A"), DnsQuestion(name, "AAAA")


def questions_of(names: Iterable[str], family: Literal["any", "ipv4", "ipv6"]) -> list[DnsQuestion]:
    """Return the queries for the addresses of names."""
    unwanted = {"any": "", "ipv4": "AAAA", "ipv6": "A"}[family]
    return [question for name in names for question in _both_kinds(name) if question.kind != unwanted]


def hold_for(ttl: float) -> float:
    """Return the default ``hold`` in seconds: a server may be missing in one answer and back in the next."""
    return max(SHORTEST_HOLD, 2 * min(ttl, LONGEST))


def pause(ttl: float, *, failed: bool) -> float:
    """Return the seconds until the next look-up."""
    return min(RETRY if failed else LONGEST, max(SHORTEST, ttl))


def in_order(servers: Iterable[ServerSpec]) -> tuple[ServerSpec, ...]:
    """Return servers in the order of :func:`servers_at` and :func:`servers_of`."""
    return tuple(sorted(servers, key=lambda each: (each.backup, *_by_number(each.address.host), each.address.port)))


def servers_at(port: int, addresses: Iterable[str]) -> tuple[ServerSpec, ...]:
    """Return a server for each address."""
    return tuple(_server(host, port) for host in sorted(set(_usable(addresses)), key=_by_number))


def servers_of(services: Iterable[Service], addresses: Mapping[str, Collection[str]]) -> tuple[ServerSpec, ...]:
    """Return a server for each address of each service's target, with the service's weight.

    Servers of the lowest priority number are primary, all others are backup servers (RFC 2782). If several records give
    the same server, the one with the lowest priority, then the highest weight, counts.
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
    """Scale weights to the smallest numbers with the same proportions, from 1 to MAX_SRV_WEIGHT.

    A weight of 0 becomes 1: in SRV records it means "rarely", here it would mean "never"; the selection of RFC 2782
    gives it 1. Small numbers make equal weights 1, whatever a registry writes: some use 100 / number of servers.
    """
    least = [max(weight, 1) for weight in weights]
    common = math.gcd(*least)
    small = [weight // common for weight in least]
    heaviest = max(small, default=1)
    return (
        small if heaviest <= MAX_SRV_WEIGHT else [max(1, round(weight * MAX_SRV_WEIGHT / heaviest)) for weight in small]
    )


def _usable(addresses: Iterable[str]) -> Iterable[str]:
    """Omit addresses that no server can have: filtering name servers answer 0.0.0.0 for "none"."""
    for text in addresses:
        ip = ipaddress.ip_address(text)
        if not (ip.is_unspecified or ip.is_multicast):
            yield ip.compressed


def _by_number(host: str) -> tuple[int, int]:
    ip = ipaddress.ip_address(host)
    return ip.version, int(ip)


def _server(host: str, port: int, weight: int = 1, backup: bool = False) -> ServerSpec:
    address = Address.of(host, port)
    return ServerSpec(address.text, address, weight, backup)
