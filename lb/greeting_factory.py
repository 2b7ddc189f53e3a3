"""Which greeting a listener has, from its configuration."""

from __future__ import annotations

from lb.access import Access
from lb.greeting import Gate, Greeting, Step
from lb.model import ListenerSpec
from lb.networks import Networks
from lb.proxy_protocol.steps import AcceptProxy, OnlyFrom
from lb.sources import Sources
from lb.tls.steps import AcceptTls, HearServerName
from lb.tls.store import TlsStore

__all__ = ["make_gate"]


def make_gate(spec: ListenerSpec, sources: Sources, tls: TlsStore) -> Gate | None:
    """What clients have to pass; None for a plain listener, where they go on at once.

    The cheap comes before the dear: who is denied costs no handshake.
    """
    limited = spec.allow or spec.deny or spec.max_per_source or spec.rate_per_source
    access = Access(spec, sources) if limited else None
    before: list[Step] = []
    if isinstance(spec.accept_proxy, Networks):
        before.append(OnlyFrom(spec.accept_proxy))
    if spec.accept_proxy:
        before.append(AcceptProxy())
    after: list[Step] = []
    if spec.tls is not None:
        after.append(AcceptTls(tls[spec.tls]))
    if spec.sni is not None:
        after.append(HearServerName())
    if not (before or after):
        return access  # which needs no task, as there is nothing to wait for
    return Greeting([*before, *([access] if access else []), *after], spec.header_timeout)
