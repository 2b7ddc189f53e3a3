"""Discovery in DNS: the addresses of a name, or the services of its SRV records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NoReturn, TypeAlias

import attrs
import trio

from lb.discovery.dns_records import DnsOutcome, DnsQuestion, Round, pause, servers_at, servers_of
from lb.discovery.source import Found
from lb.model import ServerSpec
from lb.model.address import Address
from lb.net.threads import Threads

__all__ = ["AskNameserver", "DnsServers", "dns_client"]

AskNameserver: TypeAlias = Callable[[DnsQuestion, Sequence[Address]], Awaitable[DnsOutcome]]
"""Sends one query to name servers; returns the answer or the failure."""

AT_ONCE = 16
"""Concurrent queries of one look-up. A guess, to spare the name servers."""


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
    new_client: Callable[[], Awaitable[AskNameserver]] = attrs.field(default=dns_client, eq=False, repr=False)

    async def watch(self, found: Found, fault: Callable[[Exception], None]) -> NoReturn:
        ask = await self.new_client()
        last: Round | None = None
        while True:
            now = Round(last)
            errors: tuple[str, ...]
            try:
                servers = await self._look_up(partial(_answer, now, ask, self.nameservers))
            except Exception as exception:  # noqa: BLE001 - a library that fails on an answer must only fail this look-up
                fault(exception)
                servers, errors = (), (type(exception).__name__,)
            else:
                last, errors = now, now.errors
            found(servers, errors)
            await trio.sleep(pause(now.ttl, failed=bool(errors) or not servers))

    async def _look_up(self, answered: Callable[[Sequence[DnsQuestion]], Awaitable[Round]]) -> tuple[ServerSpec, ...]:
        """Look up the addresses of the name, or its services and then their addresses."""
        if self.port:
            return servers_at(self.port, (await answered(_both_kinds(self.dns))).addresses(self.dns))
        services = (await answered([DnsQuestion(self.dns, "SRV")])).services(self.dns)
        targets = sorted({service.target for service in services} - {""})
        answers = await answered([question for target in targets for question in _both_kinds(target)])
        return servers_of(services, {target: answers.addresses(target) for target in targets})

    def read(self) -> None:
        """Return None: a look-up needs the network."""


def _both_kinds(name: str) -> list[DnsQuestion]:
    return [DnsQuestion(name, "A"), DnsQuestion(name, "AAAA")]


async def _answer(
    now: Round, ask: AskNameserver, nameservers: Sequence[Address], questions: Sequence[DnsQuestion]
) -> Round:
    """Send all queries, AT_ONCE of them concurrently. Returns the round with the answers."""
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def answer(question: DnsQuestion) -> None:
        async with limiter:
            now.take(question, await ask(question, nameservers))

    async with trio.open_nursery() as nursery:
        for question in questions:
            nursery.start_soon(answer, question)
    return now
