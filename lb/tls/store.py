"""The TLS contexts of a process, made from the certificates in the configuration."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import TypeAlias

import trio

from lb.model import Config, ListenerTlsSpec, PoolTlsSpec
from lb.net.threads import Threads
from lb.tls.contexts import client_context, server_context
from lb.tls.tickets import share_tickets, ticket_keys

__all__ = ["TlsSpec", "TlsStore", "tls_of"]

TlsSpec: TypeAlias = ListenerTlsSpec | PoolTlsSpec


class TlsStore:
    """TLS contexts, by their configuration with file contents: an unchanged certificate keeps its context.

    Processes with the same ``ticket_secret`` accept each other's session tickets. Empty: each context has its own keys.
    """

    def __init__(self, ticket_secret: bytes = b"") -> None:
        self._ticket_secret = ticket_secret
        self._contexts: dict[TlsSpec, ssl.SSLContext] = {}
        self._making = trio.Lock()
        self._thread = Threads(1)

    async def make(self, spec: TlsSpec) -> ssl.SSLContext:
        """Return the context, and make it if missing. Runs in a thread: loading the system's CAs takes 50 ms.

        Raises OSError.
        """
        async with self._making:
            context = self._contexts.get(spec)
            if context is None:
                self._contexts[spec] = context = await self._thread.run(_context, spec, self._ticket_secret)
            return context

    def __getitem__(self, spec: TlsSpec) -> ssl.SSLContext:
        """Return a context that :meth:`make` has made."""
        return self._contexts[spec]

    def keep(self, specs: Iterable[TlsSpec | None]) -> None:
        """Drop all contexts but these. Open connections keep theirs."""
        for spec in self._contexts.keys() - set(specs):
            del self._contexts[spec]


def _context(spec: TlsSpec, ticket_secret: bytes) -> ssl.SSLContext:
    if not isinstance(spec, ListenerTlsSpec):
        return client_context(spec)
    context = server_context(spec)
    if ticket_secret:
        share_tickets(context, ticket_keys(ticket_secret, spec))
    return context


def tls_of(config: Config) -> set[TlsSpec]:
    """Return all TLS settings of a configuration."""
    found: set[TlsSpec | None] = {listener.tls for listener in config.listeners.values()}
    found |= {pool.tls for pool in config.pools.values()}
    return {spec for spec in found if spec is not None}
