"""Where etcd is, who the balancer is there, and what it looks for."""

from __future__ import annotations

import attrs

from lb.model.plugin import Secret
from lb.model.tls import CertificateSpec, PemSpec

__all__ = ["EtcdSource", "EtcdSpec"]


@attrs.frozen
class EtcdSpec:
    """A cluster of etcd, and the keys of it that belong to the balancer."""

    endpoints: tuple[str, ...]
    """URLs with a port and without a path, such as ``http://10.0.0.1:2379``. The next is used when one fails."""
    prefix: str
    """Ends with ``/``."""
    ca: PemSpec | None = None
    """None = the system's trusted CAs."""
    certificate: CertificateSpec | None = None
    """The client certificate, for an etcd that requests one (mutual TLS)."""
    user: str = ""
    """Empty = no authentication."""
    password: Secret | None = None
    """The content of ``password_file``."""


@attrs.frozen
class EtcdSource:
    """Servers that registered themselves in etcd, one per key."""

    etcd: EtcdSpec
    hold: float = 60.0
    """Seconds that the last servers stay once all of them are gone together."""
    file: str = ""
    """Where the last set is kept; empty = ``lb-etcd-<pool>.json`` in ``$STATE_DIRECTORY``, else in ``directory``."""
    directory: str = ""
    """The directory of the configuration file."""

    def __str__(self) -> str:
        return f"etcd {self.etcd.prefix}"
