"""Where Kubernetes' API is, and which service has the servers of a pool."""

from __future__ import annotations

from typing import Literal

import attrs

from lb.model.tls import PemSpec

__all__ = ["KubernetesSource"]


@attrs.frozen
class KubernetesSource:
    """The endpoints of a service of Kubernetes as servers, one per pod."""

    service: str
    namespace: str = ""
    """Empty = the balancer's own, as its service account says."""
    port: str | int = ""
    """The name of the service's port, or a number at the pods; empty = the only port that there is."""
    api: str = ""
    """A URL such as ``https://10.0.0.1:6443``; empty = as a pod finds it, in its environment."""
    token_file: str = ""
    """Read for each request, as kubelet renews it. Empty = that of the service account, or none with ``api``."""
    ca: PemSpec | None = None
    """None = that of the service account or, with ``api``, the system's trusted CAs."""
    family: Literal["any", "ipv4", "ipv6"] = "any"
    """The addresses to use. Of a pod that has both, "any" uses the IPv4 address."""
    prefer_zone: str | bool = ""
    """Endpoints of this zone get most of the clients; True = the zone in ``$LB_ZONE``."""
    hold: float = 60.0
    """Seconds that the last servers stay once all of them are gone together."""

    def __str__(self) -> str:
        return f"kubernetes {self.namespace}/{self.service}" if self.namespace else f"kubernetes {self.service}"
