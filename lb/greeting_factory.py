"""Which greeting a listener has, from its configuration."""

from __future__ import annotations

from lb.greeting import Gate, Greeting, Step
from lb.model import ListenerSpec
from lb.tls_steps import AcceptTls, HearServerName
from lb.tls_store import TlsStore

__all__ = ["make_gate"]


def make_gate(spec: ListenerSpec, tls: TlsStore) -> Gate | None:
    """What clients have to pass; None for a plain listener, where they go on at once."""
    steps: list[Step] = []
    if spec.tls is not None:
        steps.append(AcceptTls(tls[spec.tls]))
    if spec.sni is not None:
        steps.append(HearServerName())
    return Greeting(steps, spec.header_timeout) if steps else None
