"""Host names as this system knows them: /etc/hosts, then the name servers of /etc/resolv.conf.

Both files are read again when they change. Loaded when the first name is looked up, because of dnspython.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from lb.forward.both_families import AddressKind, BothFamilies, FoundAddresses
from lb.forward.hosts_file import HostsTable, read_hosts
from lb.forward.target import LONGEST_HOST_NAME
from lb.forward.watched_file import WatchedFile
from lb.model.address import IPAddress
from lb.net.dns_query import query_name_servers
from lb.net.errors import UnresolvedError
from lb.net.resolver import LOOK_UP_TIMEOUT
from lb.net.threads import Threads

__all__ = ["SystemNames", "names_to_try"]

LOCALHOST = (ipaddress.IPv6Address("::1"), ipaddress.IPv4Address("127.0.0.1"))


class SystemNames:
    """Implements :class:`lb.forward.names.NameSource`. ``port``: of the name servers."""

    def __init__(
        self, hosts: Path = Path("/etc/hosts"), resolv_conf: Path = Path("/etc/resolv.conf"), port: int = 53
    ) -> None:
        threads = Threads(2)
        self._hosts: WatchedFile[HostsTable] = WatchedFile(hosts, read_hosts, threads)
        self._resolver = WatchedFile(resolv_conf, partial(_read_resolver, port), threads)

    async def look_up(self, host: str, found: Callable[[FoundAddresses], None]) -> None:
        addresses = _parsed((await self._hosts.contents()).get(host, ()))
        if not addresses and (host == "localhost" or host.endswith(".localhost")):  # RFC 6761, section 6.3
            addresses = LOCALHOST
        if addresses:
            found(FoundAddresses(addresses, 0.0))
        else:
            await self._ask_name_servers(host, found)

    async def _ask_name_servers(self, host: str, found: Callable[[FoundAddresses], None]) -> None:
        resolver = await self._resolver.contents()
        error = UnresolvedError("not_found", "no such name")
        for name in names_to_try(host, _search_list(resolver), 1 if resolver.ndots is None else resolver.ndots):
            try:
                await BothFamilies(partial(_query, resolver, name), found).run()
            except UnresolvedError as failure:
                if failure.kind != "not_found":
                    raise
                error = failure
            else:
                return
        raise error


def names_to_try(host: str, search: Sequence[str], ndots: int) -> list[str]:
    """Return the names to look up for a host name, one after the other until one is found, as resolv.conf(5) says.

    A name with at least ``ndots`` dots is tried as it stands before the domains of the search list, others after them.
    """
    searched = [f"{host}.{domain}" for domain in search]
    names = [host, *searched] if host.count(".") >= ndots else [*searched, host]
    return [name for name in names if len(name) <= LONGEST_HOST_NAME]


def _search_list(resolver: dns.asyncresolver.Resolver) -> list[str]:
    domains = resolver.search or [resolver.domain]
    return [domain.to_text(omit_final_dot=True) for domain in domains if domain != dns.name.root]


async def _query(resolver: dns.asyncresolver.Resolver, name: str, kind: AddressKind) -> FoundAddresses:
    answer = await query_name_servers(resolver, name, kind, LOOK_UP_TIMEOUT)
    addresses = _parsed([rdata.address for rdata in answer])
    return FoundAddresses(addresses, answer.chaining_result.minimum_ttl)


def _parsed(addresses: Sequence[str]) -> tuple[IPAddress, ...]:
    """Parse addresses. Those of /etc/hosts that are none are left out, as the system does."""
    parsed: list[IPAddress] = []
    for address in addresses:
        with suppress(ValueError):
            parsed.append(ipaddress.ip_address(address))
    return tuple(parsed)


def _read_resolver(port: int, path: Path) -> dns.asyncresolver.Resolver:
    """Read /etc/resolv.conf. Without a name server in it, the one of this host is asked, as resolv.conf(5) says."""
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.port = port
    try:
        with suppress(dns.resolver.NoResolverConfiguration):
            resolver.read_resolv_conf(str(path))
        resolver.nameservers = resolver.nameservers or ["127.0.0.1"]
    except (dns.exception.DNSException, ValueError) as error:
        raise UnresolvedError("failed", f"{path}: {error}") from error
    return resolver
