"""The cluster of a running balancer. It follows the configuration, as the admin endpoint does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from lb import __version__
from lb.cluster.node_state import NodeState, what_differs
from lb.cluster.shared_overrides import SharedOverrides
from lb.cluster.utc_now import utc_now
from lb.control.balancer import Balancer
from lb.control.overrides import OverrideChange, Overrides
from lb.control.readiness import without_server
from lb.events import Fault, Sink
from lb.model import ClusterSpec

if TYPE_CHECKING:
    from lb.cluster.membership import Membership

__all__ = ["Cluster"]

NOTHING: Overrides = {}
REJOIN = 1.0
"""Seconds until the cluster is joined again after a bug."""


class Cluster:
    """The memberships of a balancer, one at a time, in the caller's nursery.

    A start calls :meth:`begin` before the balancer, but for the successor of an upgrade, and :meth:`serve` after it; a
    reload calls :meth:`follow`, and an end :meth:`end` or, with a successor, :meth:`hand_over`.
    """

    def __init__(self, balancer: Balancer, sink: Sink, nursery: trio.Nursery) -> None:
        self.membership: Membership | None = None
        """None: the configuration has no cluster."""
        self._balancer = balancer
        self._sink = sink
        self._nursery = nursery
        self._started = utc_now()
        self._serving = False
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()

    async def begin(self, spec: ClusterSpec | None) -> None:
        """Join before the balancer starts: it then starts with what operators have said.

        Waits for etcd a few seconds at most. Raises NodeNameError.
        """
        if spec is None:
            return
        membership = self._join(spec, SharedOverrides())
        await membership.begin()
        self._balancer.overrides = membership.overrides.shared.all()

    def serve(self, spec: ClusterSpec | None, handed: Mapping[str, Any] | None) -> None:
        """The balancer has started. ``handed`` is what a predecessor has left: see :meth:`hand_over`."""
        self._serving = True
        if self.membership is not None:
            self.membership.serve()
        elif spec is not None and handed is not None:
            same = handed.get("prefix") == spec.etcd.prefix and handed.get("node") == spec.node
            if same:
                shared = SharedOverrides.from_json(handed["overrides"])
                self._join(spec, shared, self._balancer.overrides, handed["lease"])
            else:
                self._join(spec, SharedOverrides())

    async def follow(self, spec: ClusterSpec | None) -> None:
        """Be a member of the cluster of another configuration, after a reload."""
        membership = self.membership
        if spec == (membership.spec if membership is not None else None):
            return
        before = self._balancer.overrides
        await self.end()
        if spec is not None and membership is not None and membership.spec.etcd.prefix == spec.etcd.prefix:
            self._join(spec, membership.overrides.shared, before)
        elif spec is not None:
            self._join(spec, SharedOverrides())

    async def end(self) -> None:
        """Leave the cluster. Waits for etcd a second at most."""
        self.membership = None
        self._scope.cancel()
        await self._ended.wait()

    def hand_over(self) -> None:
        """Leave the cluster to a successor, which has the lease."""
        if self.membership is not None:
            self.membership.ends_lease = False
        self._scope.cancel()

    def as_json(self) -> dict[str, Any]:
        """Return what a successor needs to be the same node."""
        membership = self.membership
        if membership is None:
            return {}
        return {
            "prefix": membership.spec.etcd.prefix,
            "node": membership.spec.node,
            "lease": membership.lease,
            "overrides": membership.overrides.shared.as_json(),
        }

    # For operators

    async def override(self, pool: str, server: str, change: OverrideChange) -> str | None:
        """Change the override of a server on all nodes. Returns ``told``, ``not told: WHY``; None without a cluster.

        Raises KeyError if there is no such server.
        """
        if self.membership is None:
            await self._balancer.override(pool, server, change)
            return None
        return await self.membership.overrides.say(pool, server, change)

    def status(self) -> dict[str, Any] | None:
        """Return the document of ``GET /api/v1/cluster``; None without a cluster."""
        membership = self.membership
        if membership is None:
            return None
        nodes = membership.nodes
        return {
            "name": membership.spec.name,
            "node": membership.spec.node,
            "etcd": "; ".join(membership.trouble) or "ok",
            "nodes": {name: attrs.asdict(state) for name, state in nodes.items()},
            "differ": what_differs(nodes),
        }

    # Tasks

    def _join(
        self, spec: ClusterSpec, shared: SharedOverrides, before: Overrides = NOTHING, lease: int = 0
    ) -> Membership:
        """Be a member from now on. ``before`` are the overrides of when this node was one: see ``say_what_holds``."""
        from lb.cluster.check_claims import CheckClaims  # noqa: PLC0415 - few balancers are nodes of a cluster
        from lb.cluster.membership import Membership  # noqa: PLC0415

        parts = [CheckClaims(self._balancer.sharing)]
        self.membership = membership = Membership(
            spec, self._balancer, self._sink, self._own_state, shared, lease, parts
        )
        membership.overrides.say_what_holds(before)
        if self._serving:
            membership.serve()
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        self._nursery.start_soon(self._run, membership, self._scope, self._ended)
        return membership

    async def _run(self, membership: Membership, scope: trio.CancelScope, ended: trio.Event) -> None:
        try:
            with scope:
                await membership.run()
        except Exception as exception:  # noqa: BLE001 - a bug here must not end the balancer, which serves without
            self._sink(Fault("cluster", exception))
        finally:
            ended.set()
        if self.membership is membership and membership.ends_lease:
            await trio.sleep(REJOIN)
            if self.membership is membership:
                self._join(membership.spec, membership.overrides.shared, self._balancer.overrides)

    def _own_state(self) -> NodeState:
        balancer = self._balancer
        ready = self._serving and not balancer.stop_begun and not without_server(balancer.shown_pools)
        return NodeState(ready, __version__, balancer.written.hash, self._started)
