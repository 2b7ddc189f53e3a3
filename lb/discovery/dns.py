"""Discovery in DNS: the addresses of a name, or the services of its SRV records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal, NoReturn, TypeAlias

import attrs
import trio

from lb.discovery.dns_records import (
    DnsOutcome,
    DnsQuestion,
    Round,
    hold_for,
    pause,
    questions_of,
    servers_at,
    servers_of,
)
from lb.discovery.source import Findings
from lb.model import ServerSpec
from lb.model.address import Address
from lb.net.threads import Threads

__all__ = ["AskNameserver", "DnsServers", "dns_client"]

AskNameserver: TypeAlias = Callable[[DnsQuestion, Sequence[Address]], Awaitable[DnsOutcome]]
"""Sends one query to name servers; returns the answer or the failure."""

AT_ONCE = 8
"""Concurrent queries of one look-up for each kind of record: A and AAAA do not wait for each other. A guess, to spare
the name servers."""
MORE_DELAY = 0.05
"""Seconds that the first addresses wait for the rest, as in RFC 8305, section 3."""


async def dns_client() -> AskNameserver:
    """Load the real DNS client, in a thread."""

    def load() -> AskNameserver:
        from lb.discovery import dns_client  # noqa: PLC0415 - most configurations do not use DNS discovery

        return dns_client.ask

    return await Threads(1).run(load)


@attrs.frozen
class DnsServers:
    """Servers of a name in DNS. Implements :class:`lb.discovery.source.Source`."""

    dns: str
    port: int
    """0 = use SRV records."""
    nameservers: tuple[Address, ...]
    family: Literal["any", "ipv4", "ipv6"] = "any"
    hold: float | None = None
    """As in :class:`lb.model.DnsSource`."""
    new_client: Callable[[], Awaitable[AskNameserver]] = attrs.field(default=dns_client, eq=False, repr=False)

    @property
    def where(self) -> str:
        return f"at {self.dns}:{self.port}" if self.port else f"at {self.dns}"

    @property
    def asked(self) -> str:
        return ""

    async def watch(self, findings: Findings) -> NoReturn:
        ask = partial(_ask_of, await self.new_client(), self.nameservers)
        last = Round.remembered(findings.handed or ())
        findings.keep(last.as_json)
        while True:
            now = Round(last)
            errors: tuple[str, ...]
            try:
                async with trio.open_nursery() as nursery:
                    await self._query(_Queries(now, ask, nursery))
                    if nursery.child_tasks and (servers := self._servers(now)):
                        # a query without an answer does not delay what is there
                        findings.found(servers, (), hold=self._hold(now), more=True)
                servers = self._servers(now)
            except Exception as exception:  # noqa: BLE001 - a library that fails on an answer must only fail this look-up
                findings.fault(exception)
                servers, errors = (), (type(exception).__name__,)
            else:
                last, errors = now, now.errors
                findings.keep(last.as_json)
            answer = servers if servers or not errors else None
            findings.found(answer, errors, hold=self._hold(now), hold_all=self._hold(now))
            await trio.sleep(pause(now.ttl, failed=bool(errors) or not servers))

    def _hold(self, now: Round) -> float:
        return hold_for(now.ttl) if self.hold is None else self.hold

    async def _query(self, queries: _Queries) -> None:
        """Query the addresses of the name, or its services and then their addresses."""
        names = [self.dns]
        if not self.port:
            await queries.send([DnsQuestion(self.dns, "SRV")])
            names = sorted({service.target for service in queries.round.services(self.dns)} - {""})
        await queries.send(questions_of(names, self.family))

    def _servers(self, now: Round) -> tuple[ServerSpec, ...]:
        """Return the servers of the answers so far."""
        if self.port:
            return servers_at(self.port, now.addresses(self.dns))
        services = now.services(self.dns)
        return servers_of(services, {service.target: now.addresses(service.target) for service in services})

    def read(self) -> None:
        """Return None: a look-up needs the network."""


class _Queries:
    """The queries of one look-up. They run in ``nursery``."""

    def __init__(self, now: Round, ask: Callable[[DnsQuestion], Awaitable[DnsOutcome]], nursery: trio.Nursery) -> None:
        self.round = now
        self._ask = ask
        self._nursery = nursery
        self._answered = trio.Event()

    async def send(self, questions: Sequence[DnsQuestion]) -> None:
        """Send queries, and wait until each name has an address and the rest had a moment, or all are answered."""
        left = set(questions)
        limiters = {question.kind: trio.CapacityLimiter(AT_ONCE) for question in questions}

        async def ask(question: DnsQuestion) -> None:
            async with limiters[question.kind]:
                self.round.take(question, await self._ask(question))
            left.remove(question)
            self._answered.set()
            self._answered = trio.Event()

        for question in questions:
            self._nursery.start_soon(ask, question)
        while left and not self.round.has_addresses(question.name for question in questions):
            await self._answered.wait()
        with trio.move_on_after(MORE_DELAY):
            while left:
                await self._answered.wait()


async def _ask_of(ask: AskNameserver, nameservers: Sequence[Address], question: DnsQuestion) -> DnsOutcome:
    return await ask(question, nameservers)
