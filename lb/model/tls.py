"""The TLS configuration as values. Import it from :mod:`lb.model`."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["CertificateSpec", "ListenerTlsSpec", "PemSpec", "PoolTlsSpec"]


@attrs.frozen
class PemSpec:
    """The content of a PEM file when the configuration was read, so that processes started later use the same."""

    path: str
    """As configured; for messages."""
    content: bytes = attrs.field(repr=False)


@attrs.frozen
class CertificateSpec:
    """A certificate with its chain, and its private key."""

    chain: PemSpec
    key: PemSpec
    names: tuple[str, ...]
    """The host names that it is valid for, in lower case; a wildcard stands for one label."""
    until: str
    """Expiry date."""


@attrs.frozen
class ListenerTlsSpec:
    """TLS termination. The first certificate is the default for clients with no SNI name, or an unknown one."""

    certificates: tuple[CertificateSpec, ...]
    min_version: Literal["1.2", "1.3"] = "1.2"
    alpn: tuple[str, ...] = ()
    client_ca: PemSpec | None = None
    client_certificate: Literal["none", "optional", "required"] = "none"


@attrs.frozen
class PoolTlsSpec:
    """TLS towards servers."""

    verify: bool = True
    ca: PemSpec | None = None
    """None = the system's trusted CAs."""
    server_name: str = ""
    """Empty = the host of the server's address."""
    alpn: tuple[str, ...] = ()
    certificate: CertificateSpec | None = None
    """The client certificate, for servers that request one (mutual TLS)."""
