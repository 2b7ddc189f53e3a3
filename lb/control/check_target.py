"""Where a health check of a server connects to, and what it sends first: PROXY header, TLS."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import partial

import attrs

from healthcheck.probe import ProxyHeader, Secure, Target
from lb.model import CheckSpec, PoolSpec, PoolTlsSpec
from lb.model.address import Address, SocketAddress
from lb.net.outgoing import Outgoing
from lb.net.resolver import static_targets
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.proxy_protocol.header import local_header, proxy_header
from lb.tls.contexts import name_of

__all__ = ["CheckTarget", "tls_of_checks"]

_OVER_H2 = ("grpc",)
"""Probes that speak HTTP/2."""


class CheckTarget:
    """The target of one check of a server: a new object only if its addresses or its pool's settings have changed.

    Another port or address is another service: it gets no PROXY header, and TLS only if the check has settings for it.
    A change of the check, of the server's address or of TLS settings needs a new object of this class.
    """

    def __init__(
        self, pool: Pool, backend: Backend, check: CheckSpec, contexts: Mapping[PoolTlsSpec, ssl.SSLContext]
    ) -> None:
        self._pool = pool
        self._backend = backend
        self._check = check
        server = backend.spec.address
        self._address = checked_address(server, check)
        self._is_service = self._address is server
        """The check uses the same address and port as traffic."""
        tls = _tls(pool.spec, check) if self._is_service or check.tls is not None else None
        self._secure = None if tls is None else Secure(contexts[tls], name_of(tls, self._address))
        self._spec = pool.spec
        self._seen = backend.targets
        self._target = self._make()

    def __call__(self) -> Target:
        if self._pool.spec is not self._spec or self._backend.targets != self._seen:
            self._spec, self._seen = self._pool.spec, self._backend.targets
            self._target = self._make()
        return self._target

    def _make(self) -> Target:
        header = _header(self._spec.send_proxy, self._check) if self._is_service else None
        if self._check.address:
            sockaddrs = static_targets(self._address)
        else:
            sockaddrs = self._seen if self._is_service else on_port(self._seen, self._address.port)
        outgoing = Outgoing(self._spec.source) if self._spec.source else None
        return Target(self._pool.name, self._backend.name, self._address, sockaddrs, header, self._secure, outgoing)


def checked_address(server: Address, check: CheckSpec) -> Address:
    """Return the address that a check connects to: the same object if it is that of the server."""
    if not check.address and (server.is_unix or check.port in (0, server.port)):
        return server
    return Address.of(check.address or server.host, check.port or server.port)


def on_port(sockaddrs: tuple[SocketAddress, ...], port: int) -> tuple[SocketAddress, ...]:
    """Return IPv4 and IPv6 socket addresses with another port."""
    return tuple(
        (family, (sockaddr[0], port, *sockaddr[2:])) for family, sockaddr in sockaddrs if isinstance(sockaddr, tuple)
    )


def _header(version: str, check: CheckSpec) -> ProxyHeader | None:
    """Return the header of a pool's checks. A server sees the check's own addresses, as for any other client.

    LOCAL is for the probe that sends nothing.
    """
    if version == "off":
        return None
    if version == "v2" and check.probe.name == "tcp":
        return local_header
    return partial(proxy_header, version)


def _tls(spec: PoolSpec, check: CheckSpec) -> PoolTlsSpec | None:
    """Return the TLS settings of a check; those of traffic if it has none of its own.

    Another protocol than that of traffic is not agreed upon: a probe of HTTP/1.1 says nothing, as traffic of HTTP/1.1.
    """
    tls = spec.tls if check.tls is None else check.tls or None
    if tls is None:
        return None
    if check.probe.name in _OVER_H2:
        return attrs.evolve(tls, alpn=("h2",))
    return attrs.evolve(tls, alpn=()) if check.tls is None and spec.http.protocol == "h2" else tls


def tls_of_checks(spec: PoolSpec) -> set[PoolTlsSpec]:
    """Return the TLS settings that the checks of a pool use."""
    checks = () if spec.health is None else spec.health.all_checks
    return {tls for check in checks if (tls := _tls(spec, check))}
