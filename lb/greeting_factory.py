"""Which greeting a listener has, from its configuration."""

from __future__ import annotations

from lb.accept_proxy import AcceptProxy, OnlyFrom
from lb.access import Access
from lb.greeting import Gate, Greeting, Step
from lb.model import ListenerSpec
from lb.networks import Networks
from lb.sources import Sources

__all__ = ["make_gate"]


def make_gate(spec: ListenerSpec, sources: Sources) -> Gate | None:
    """What clients have to pass; None for a plain listener, where they go on at once.

    The cheap comes before the dear: who is denied costs no handshake.
    """
    limited = spec.allow or spec.deny or spec.max_per_source or spec.rate_per_source
    access = Access(spec, sources) if limited else None
    steps: list[Step] = []
    if isinstance(spec.accept_proxy, Networks):
        steps.append(OnlyFrom(spec.accept_proxy))
    if spec.accept_proxy:
        steps.append(AcceptProxy())
    if not steps:
        return access  # which needs no task, as there is nothing to wait for
    if access:
        steps.append(access)
    return Greeting(steps, spec.header_timeout)
