"""``lb check --resolve``: look up the names of a configuration as the balancer would when it starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import attrs
import trio

from lb.config.warnings import Written
from lb.discovery.merge import key_of_dns
from lb.discovery.source import Source
from lb.discovery.sources import sources
from lb.model import ServerSpec
from lb.model.address import Address
from lb.model.table import Complaint, join
from lb.net.errors import describe_error
from lb.net.resolver import look_up

__all__ = ["unresolved"]

RESOLVE_TIMEOUT = 15.0
"""Seconds for all names together. One look-up has 5 s, one of SRV records and of their hosts 10 s."""


@attrs.define
class _Name:
    """A name to look up."""

    name: str
    paths: list[str]
    """Where it is written."""
    ask: Callable[[], Awaitable[str]]
    """Returns why it does not resolve; empty if it does."""
    reason: str = f"no answer in {RESOLVE_TIMEOUT:g} s"

    async def run(self) -> None:
        self.reason = await self.ask()


def unresolved(written: Written) -> list[Complaint]:
    """Return a complaint for each name that does not resolve. Asks the system, and name servers."""
    names = [*_hosts(written), *_discovered(written)]
    trio.run(_look_up_all, names)
    return [
        Complaint(path, f"{each.name!r} does not resolve: {each.reason}")
        for each in names
        if each.reason
        for path in each.paths
    ]


async def _look_up_all(names: list[_Name]) -> None:
    with trio.move_on_after(RESOLVE_TIMEOUT):
        async with trio.open_nursery() as nursery:
            for each in names:
                nursery.start_soon(each.run)


def _hosts(written: Written) -> Iterator[_Name]:
    """Yield the host names of listeners and servers."""
    found: defaultdict[Address, list[str]] = defaultdict(list)
    for listener in written.config.listeners.values():
        for bind in listener.bind:
            found[bind].append(join(join("listeners", listener.name), "bind"))
    for pool in written.config.pools.values():
        for server in pool.servers:
            found[server.address].append(written.server(pool.name, server))
    for address, paths in found.items():
        if address.is_name:
            yield _Name(address.host, paths, partial(_why_unknown, address))


async def _why_unknown(address: Address) -> str:
    try:
        await look_up(address)
    except OSError as error:
        return describe_error(error)
    return ""


def _discovered(written: Written) -> Iterator[_Name]:
    """Yield the names whose servers are discovered in DNS."""
    known = sources(written.config)
    for pool in written.config.pools.values():
        for dns in pool.dns:
            yield _Name(dns.dns, [written.dns(pool.name, dns)], partial(_why_empty, known[key_of_dns(pool, dns)]))


async def _why_empty(source: Source) -> str:
    """Return why the first look-up of a source has no servers; empty if it has some."""
    with trio.CancelScope() as first:
        look = _FirstLook(first)
        await source.watch(look)
    return look.reason


@attrs.define
class _FirstLook:
    """Implements :class:`lb.discovery.source.Findings`: it ends with the first look-up."""

    scope: trio.CancelScope
    reason: str = ""
    handed: None = None

    def keep(self, memory: Callable[[], object]) -> None:
        """There is no next look-up."""

    def found(
        self,
        servers: tuple[ServerSpec, ...] | None,
        errors: tuple[str, ...],
        *,
        hold: float = 0.0,  # noqa: ARG002
        hold_all: float = 0.0,  # noqa: ARG002
        more: bool = False,
    ) -> None:
        if not more:
            self.reason = "" if servers else "; ".join(errors) or "no records"
            self.scope.cancel()

    def remembered(self, servers: tuple[ServerSpec, ...]) -> None:
        """It would not be looked up."""

    def file_failed(self, error: str) -> None:
        """It says nothing of names."""

    def fault(self, exception: Exception) -> None:
        """``found`` gets the name of the exception as an error."""
