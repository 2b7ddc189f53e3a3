"""The cluster that a balancer is a node of."""

from __future__ import annotations

import attrs

from lb.model.etcd import EtcdSpec

__all__ = ["ClusterSpec"]


@attrs.frozen
class ClusterSpec:
    """A cluster: balancers that share what operators say, through etcd."""

    name: str
    """The cluster's."""
    node: str
    """This balancer's: ``node`` as written, else ``$LB_NODE``, else the name of the host."""
    etcd: EtcdSpec
    """Its prefix has the keys of this cluster alone."""
