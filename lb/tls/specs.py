"""What the configuration says of TLS, as values. A part of :mod:`lb.model`, from where everybody takes it."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["CertificateSpec", "ListenerTlsSpec", "PemSpec", "PoolTlsSpec"]


@attrs.frozen
class PemSpec:
    """A file as it was when the configuration was read: processes that start later must not find another."""

    path: str
    """As configured, for people."""
    content: bytes = attrs.field(repr=False)


@attrs.frozen
class CertificateSpec:
    """A certificate with the chain up to its authority, and its key."""

    chain: PemSpec
    key: PemSpec
    names: tuple[str, ...]
    """Whom it is for, in lower case; a wildcard stands for one label."""
    until: str
    """The day on which it expires."""


@attrs.frozen
class ListenerTlsSpec:
    """TLS towards clients. The first of several certificates is for those who name no server, or another."""

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
    """None = those that the system trusts."""
    server_name: str = ""
    """Empty = the host of the server's address."""
    alpn: tuple[str, ...] = ()
    certificate: CertificateSpec | None = None
    """Our own, for servers that ask for one."""
