"""This node as a member of its cluster: in the list of nodes, and with its parts in touch with theirs.

One follower hears of all keys of the cluster and hands them to the parts. Nothing of it is in the way of the traffic:
while etcd is away, the node goes on with what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

import trio

from lb.cluster.node_list import NODES, NodeList
from lb.cluster.node_state import NodeNameError, NodeState
from lb.cluster.override_exchange import NOT_YET, OVERRIDES, OverrideExchange
from lb.cluster.part import BadKeys, ClusterPart, PartKeys
from lb.cluster.registration import Registration
from lb.cluster.shared_overrides import SharedOverrides
from lb.cluster.utc_now import utc_now
from lb.control.balancer import Balancer
from lb.etcd.client import EtcdClient
from lb.etcd.errors import EtcdError
from lb.etcd.follower import PrefixFollower
from lb.etcd.messages import KeyValue, PrefixEvent
from lb.events import ClusterJoined, ClusterLost, Sink
from lb.model import ClusterSpec
from lb.net.cooperate import in_turns

__all__ = ["Membership"]

GOODBYE = 1.0
"""Seconds that the end waits for etcd. A guess: after that the lease runs out by itself."""
FIRST_SNAPSHOT = 2.0
"""Seconds that a start waits for what etcd has. As for DNS: a dead etcd must not keep the node from serving."""


class Membership:
    """A membership in one cluster, for as long as :meth:`run` runs. ``own`` returns the state of this node.

    ``shared`` and ``lease`` may come from a predecessor. ``parts`` are what the nodes share besides overrides.
    """

    def __init__(
        self,
        spec: ClusterSpec,
        balancer: Balancer,
        sink: Sink,
        own: Callable[[], NodeState],
        shared: SharedOverrides,
        lease: int = 0,
        parts: Sequence[ClusterPart] = (),
    ) -> None:
        self.spec = spec
        self.ends_lease = True
        """The lease is this process's to end, and not handed to a successor."""
        bad_keys = BadKeys(sink, spec.etcd.prefix)
        self.overrides = OverrideExchange(shared, balancer, spec.node, utc_now, bad_keys)
        self.first_snapshot = trio.Event()
        """Set once it is known what etcd has."""
        self._prefix = spec.etcd.prefix.encode()
        self._client = EtcdClient(spec.etcd)
        key = self._prefix + (NODES + spec.node).encode()
        self._registration = Registration(self._client, key, spec.node, lambda: own().encoded(), self._leased, lease)
        self._list = NodeList(spec.node, self._registration.gone, bad_keys)
        self._own = own
        self._sink = sink
        self._parts = parts
        self._troubles: dict[str, tuple[str, ...]] = {"etcd": NOT_YET, "registration": NOT_YET}
        self._refused: NodeNameError | None = None
        self._joined: bool | None = None  # None = has neither joined nor lost it so far
        self._serving = trio.Event()
        self._new_lease = trio.Event()
        self._news = trio.Event()

    @property
    def nodes(self) -> dict[str, NodeState]:
        """The nodes that live, by name; while etcd is away, those that lived last. This one is always there."""
        return dict(sorted({**self._list.found, self.spec.node: self._own()}.items()))

    @property
    def trouble(self) -> tuple[str, ...]:
        """Why this node is not a member now; empty if it is."""
        known = [texts for texts in self._troubles.values() if texts and texts is not NOT_YET]
        return next(iter(known), next(filter(None, self._troubles.values()), ()))

    @property
    def lease(self) -> int:
        """The lease of this node; 0 = none."""
        return self._registration.lease

    def serve(self) -> None:
        """The balancer has started: overrides can be applied to it."""
        self._serving.set()

    async def begin(self) -> None:
        """Wait until the start may go on: the node's name is its own, and it is known what etcd has, or etcd is away.

        :meth:`run` must have been started. Raises NodeNameError.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._claim)
            with trio.move_on_after(FIRST_SNAPSHOT):
                await self.first_snapshot.wait()
        if self._refused is not None:
            raise self._refused

    async def _claim(self) -> None:
        try:
            with suppress(EtcdError):  # etcd is away: run() goes on trying, and says so
                await self._registration.begin()
        except NodeNameError as error:
            self._refused = error

    async def run(self) -> NoReturn:
        """Be a member until cancelled."""
        async with self._client:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(PrefixFollower(self._client, self._prefix, self).run)
                    nursery.start_soon(self._registration.run, self._registered)
                    nursery.start_soon(
                        self.overrides.tell, PartKeys(self._client, self._below(OVERRIDES), self.spec.node)
                    )
                    nursery.start_soon(self._apply)
                    nursery.start_soon(self._inform_parts)
                    nursery.start_soon(self._run_parts)
            finally:
                with trio.move_on_after(GOODBYE, shield=True), suppress(EtcdError):  # else the lease runs out by itself
                    if self.ends_lease:
                        await self._registration.end()
        raise AssertionError("unreachable: the tasks run for ever")

    def _below(self, part: str) -> bytes:
        return self._prefix + part.encode()

    async def _apply(self) -> NoReturn:
        await self._serving.wait()
        await self.overrides.apply()

    async def _inform_parts(self) -> NoReturn:
        """Tell the parts which nodes live, or that nothing is known of them now."""
        told: Collection[str] | None = None
        try:
            while True:
                nodes = None if self.trouble else {*self._list.found, self.spec.node}
                if nodes == told:
                    await self._news.wait()
                    self._news = trio.Event()
                    continue
                told = nodes
                for part in self._parts:
                    await (part.lost() if nodes is None else part.sees(self.spec.node, nodes))
        finally:
            with trio.CancelScope(shield=True):
                for part in self._parts:
                    await part.lost()

    async def _run_parts(self) -> NoReturn:
        """Run the parts, anew with each lease."""
        while True:
            self._new_lease = trio.Event()
            async with trio.open_nursery() as nursery:
                for part in self._parts if self.lease else ():
                    keys = PartKeys(self._client, self._below(part.below), self.spec.node, self.lease)
                    nursery.start_soon(part.run, keys)
                await self._new_lease.wait()
                nursery.cancel_scope.cancel()

    # What the registration says

    def _leased(self) -> None:
        self._new_lease.set()

    def _registered(self, errors: tuple[str, ...]) -> None:
        self._note("registration", errors)

    # What the follower says

    async def snapshot(self, entries: Mapping[bytes, KeyValue]) -> None:
        """Hand all keys to the parts."""
        found: dict[str, dict[str, KeyValue]] = {}
        async for key, entry in in_turns(entries.items()):
            below, rest = self._split(key)
            found.setdefault(below, {})[rest] = entry
        self._list.snapshot(found.get(NODES, {}))
        await self.overrides.snapshot(found.get(OVERRIDES, {}))
        for each in self._parts:
            await each.snapshot(found.get(each.below, {}))
        self.first_snapshot.set()

    async def changed(self, events: Sequence[PrefixEvent]) -> None:
        """Hand changes to the parts."""
        async for event in in_turns(events):
            below, rest = self._split(event.entry.key)
            if below == NODES:
                self._list.changed(rest, event)
                self._news.set()
            elif below == OVERRIDES:
                self.overrides.changed(rest, event)
            for each in self._parts:
                if each.below == below:
                    await each.changed(rest, event)

    def _split(self, key: bytes) -> tuple[str, str]:
        """Return where the keys of its part are, relative to the cluster's prefix, and the rest of a key."""
        part, _, rest = key[len(self._prefix) :].decode(errors="replace").partition("/")
        return f"{part}/", rest

    def followed(self) -> None:
        """etcd answers."""
        self.overrides.sees()
        self._note("etcd", ())

    def lost(self, errors: tuple[str, ...]) -> None:
        """etcd does not answer, or refuses."""
        self.overrides.lost(errors)
        self._note("etcd", errors)

    def _note(self, source: str, errors: tuple[str, ...]) -> None:
        """Note the errors of a source, and report the first of a streak, and its end."""
        self._troubles[source] = errors
        self._news.set()
        joined = not self.trouble
        if joined and self._joined is not True:
            self._sink(ClusterJoined(tuple(self.nodes)))
        elif errors and self._joined is not False:
            self._sink(ClusterLost(errors))
        else:
            return
        self._joined = joined
