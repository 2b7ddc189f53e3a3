"""Questions to name servers, through dnspython. Loaded only where a pool has servers in DNS: it takes 60 ms.

It asks one name server after another, and again over TCP when an answer does not fit into a datagram.
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

from lb.address import Address
from lb.discovery.dns_records import Answer, Failure, Outcome, Question, Record, Service
from lb.errors import describe_error

__all__ = ["ask"]

LIFETIME = 5.0
"""Seconds for one question, all name servers and tries together; a name server gets 2 s of it at a time (dnspython)."""


async def ask(question: Question, nameservers: Sequence[Address]) -> Outcome:
    """One question, to these name servers or else to those of /etc/resolv.conf, which is read each time.

    The name is taken as it is: a search list is not consulted. Whatever a name server sends, nothing is raised.
    """
    try:
        answer = await _resolver(nameservers).resolve(
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
    return Answer(tuple(_record(rdata) for rdata in answer), answer.chaining_result.minimum_ttl)


def _resolver(nameservers: Sequence[Address]) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=not nameservers)
    if nameservers:
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
            raise AssertionError(f"asked for no {rdata!r}")


def _reasons(error: dns.resolver.NoNameservers) -> str:
    """What each name server said: ``SERVFAIL from 10.0.0.53:53``."""
    said = (f"{_reason(cause)} from {_place(name, port)}" for name, _, port, cause, _ in error.kwargs["errors"])
    return "; ".join(dict.fromkeys(said))


def _reason(cause: object) -> str:
    if isinstance(cause, OSError):
        return describe_error(cause)
    return " ".join(str(cause).split()).removesuffix(".") or type(cause).__name__


def _place(name: str, port: int) -> str:
    """Of dnspython's ``Do53:10.0.0.53@53``."""
    host = name.removeprefix("Do53:").removesuffix(f"@{port}")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
