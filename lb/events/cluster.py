"""Events of a cluster: whether this node sees the others."""

from __future__ import annotations

from lb.events.base import Event, frozen_event

__all__ = ["ClusterBadKey", "ClusterJoined", "ClusterLost"]


@frozen_event
class ClusterJoined(Event):
    """This node is in the cluster's list, and hears of the others. Emitted once per streak."""

    name = "cluster.joined"
    nodes: tuple[str, ...]
    """All nodes that live, by name."""


@frozen_event
class ClusterLost(Event):
    """etcd does not answer, or refuses. This node serves on with what it knows. Emitted once per streak."""

    name = "cluster.lost"
    level = "warning"
    errors: tuple[str, ...]
    """Each names the endpoint and the cause."""


@frozen_event
class ClusterBadKey(Event):
    """A key of the cluster in etcd has a value that no balancer has written. It counts for nothing."""

    name = "cluster.bad_key"
    level = "warning"
    key: str
    error: str
