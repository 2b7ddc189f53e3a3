"""A DNS client based on dnspython. Loaded only if a pool has servers in DNS: the import takes 60 ms."""

from __future__ import annotations

from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdata
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from lb.discovery.dns_records import DnsAnswer, DnsOutcome, DnsQuestion, Failure, Record, Service
from lb.model.address import Address
from lb.net.dns_query import query_name_servers
from lb.net.errors import UnresolvedError
from lb.net.threads import Threads

__all__ = ["ask"]

LIFETIME = 5.0
"""Seconds for one query over all name servers and retries."""

_threads = Threads(4)  # that read /etc/resolv.conf


async def ask(question: DnsQuestion, nameservers: Sequence[Address]) -> DnsOutcome:
    """Query these name servers or, without any, those of /etc/resolv.conf, which is read each time.

    The name is fully qualified: search lists are ignored. Errors are returned as :class:`Failure`, not raised.
    """
    try:
        answer = await query_name_servers(await _resolver(nameservers), question.name, question.kind, LIFETIME)
    except UnresolvedError as error:
        return Failure(str(error))
    except dns.exception.DNSException as error:  # of /etc/resolv.conf
        return Failure(str(error) or type(error).__name__)
    return DnsAnswer(tuple(_record(rdata) for rdata in answer), answer.chaining_result.minimum_ttl)


async def _resolver(nameservers: Sequence[Address]) -> dns.asyncresolver.Resolver:
    if not nameservers:
        return await _threads.run(dns.asyncresolver.Resolver)
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(each.host, each.port) for each in nameservers]
    return resolver


def _record(rdata: dns.rdata.Rdata) -> Record:
    match rdata:
        case SRV():
            target = rdata.target.to_text(omit_final_dot=True)
            return Service(rdata.priority, rdata.weight, rdata.port, target.removeprefix("."))
        case A() | AAAA():
            return str(rdata.address)
        case _:
            raise AssertionError(f"unexpected record {rdata!r}")
