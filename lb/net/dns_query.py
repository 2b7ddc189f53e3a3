"""One query to name servers, through dnspython. Loaded only by who asks them: the import takes 60 ms.

The name servers are asked in order, and a query is repeated over TCP if the answer is truncated.
"""

from __future__ import annotations

import importlib

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.resolver

from lb.model.address import Address
from lb.net.errors import UnresolvedError, describe_error

__all__ = ["query_name_servers"]

_BACKEND = dns.asyncbackend.get_backend("trio")
for _module in ("ANY.CNAME", "ANY.NS", "ANY.OPT", "ANY.SOA", "IN.A", "IN.AAAA", "IN.SRV"):
    importlib.import_module(f"dns.rdtypes.{_module}")  # else dnspython would, on the event loop, at the first answer


async def query_name_servers(
    resolver: dns.asyncresolver.Resolver, name: str, kind: str, lifetime: float
) -> dns.resolver.Answer:
    """Query for the records of one kind. There may be none.

    The name is fully qualified: search lists are ignored. ``lifetime``: seconds over all name servers and retries; each
    attempt gets at most 2 s (dnspython). Raises UnresolvedError.
    """
    try:
        return await resolver.resolve(
            f"{name.removesuffix('.')}.",
            kind,
            raise_on_no_answer=False,
            lifetime=lifetime,
            search=False,
            backend=_BACKEND,
        )
    except dns.resolver.NXDOMAIN:
        raise UnresolvedError("not_found", "no such name") from None
    except dns.resolver.LifetimeTimeout:
        raise UnresolvedError("timeout", f"no answer in {lifetime:g} s") from None
    except dns.resolver.NoNameservers as error:
        raise UnresolvedError("failed", _reasons(error)) from error
    except dns.exception.DNSException as error:
        raise UnresolvedError("failed", str(error) or type(error).__name__) from error


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
