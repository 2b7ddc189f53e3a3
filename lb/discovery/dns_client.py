"""A DNS client based on dnspython. Loaded only if a pool has servers in DNS: the import takes 60 ms.

It queries the name servers in order, and repeats a query over TCP if the answer is truncated.
"""

from __future__ import annotations

from collections.abc import Sequence

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rcode
import dns.rdata
import dns.resolver
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from lb.discovery.dns_records import DnsAnswer, DnsOutcome, DnsQuestion, Failure, Record, Service
from lb.model.address import Address
from lb.net.errors import describe_error
from lb.net.threads import Threads

__all__ = ["ask"]

LIFETIME = 5.0
"""Seconds for one query over all name servers and retries; each attempt gets at most 2 s (dnspython)."""

_threads = Threads(4)  # that read /etc/resolv.conf


async def ask(question: DnsQuestion, nameservers: Sequence[Address]) -> DnsOutcome:
    """Query these name servers or, without any, those of /etc/resolv.conf, which is read each time.

    The name is fully qualified: search lists are ignored. Errors are returned as :class:`Failure`, not raised.
    """
    try:
        answer = await (await _resolver(nameservers)).resolve(
            f"{question.name.removesuffix('.')}.",
            question.kind,
            raise_on_no_answer=False,
            lifetime=LIFETIME,
            search=False,
            backend=dns.asyncbackend.get_backend("trio"),
        )
    except dns.resolver.NXDOMAIN:
        return Failure("no such name")
    except dns.resolver.LifetimeTimeout:
        return Failure(f"no answer in {LIFETIME:g} s")
    except dns.resolver.NoNameservers as error:
        return Failure(_reasons(error))
    except dns.exception.DNSException as error:
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


def _reasons(error: dns.resolver.NoNameservers) -> str:
    """Return the error of each name server: ``SERVFAIL from 10.0.0.53:53``."""
    reasons = (f"{_reason(cause)} from {_place(name, port)}" for name, _, port, cause, _ in error.kwargs["errors"])
    return "; ".join(dict.fromkeys(reasons))


def _reason(cause: object) -> str:
    if isinstance(cause, OSError):
        return describe_error(cause)
    return " ".join(str(cause).split()).removesuffix(".") or type(cause).__name__


def _place(name: str, port: int) -> str:
    """Return ``10.0.0.53:53`` for dnspython's ``Do53:10.0.0.53@53``."""
    return Address.of(name.removeprefix("Do53:").removesuffix(f"@{port}"), port).text
