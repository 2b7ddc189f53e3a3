"""Nodes that share checks, on a virtual clock: each with the monitor, the checker and the pool of a real balancer.

Only etcd is imagined, as a dictionary that tells each node after 5 ms, and the servers: a probe counts, and passes or
not.
"""

from __future__ import annotations

import socket
from collections import Counter

import trio

from healthcheck.probe import Probe, ProbeFailed
from lb.control.monitor import ServerMonitor
from lb.control.sharing import Sharing
from lb.model import HealthSpec, PassiveSpec, PoolSpec, ServerSpec
from lb.model.address import Address
from lb.pools.pool import Pool
from tests.support.strategy_driver import finish

LATENCY = 0.005
"""Seconds until etcd has told a node."""
LEASE = 5.0
"""Seconds after which etcd forgets a node that says nothing."""


class CountingProbe(Probe):
    """The check of a node: it counts, and passes unless the server is dead for this node."""

    def __init__(self, nodes, name):
        self.nodes = nodes
        self.name = name

    async def check(self, target):
        self.nodes.checks[target.server] += 1
        self.nodes.made[self.name] += 1
        await trio.lowlevel.checkpoint()
        if target.server in self.nodes.dead or (self.name, target.server) in self.nodes.cut_off:
            raise ProbeFailed("refused")
        return "fine"


class Node:
    """One balancer's part that judges servers: ``sharing`` is what the cluster uses, ``host`` its imagined machine."""

    def __init__(self, nodes, name, nursery):
        self.nodes, self.name, self.nursery = nodes, name, nursery
        self.events = []
        self.sharing = Sharing()
        self.monitor = ServerMonitor(
            nursery, self.events.append, lambda pool, backend: None, lambda: None, self, self.sharing
        )
        self.pool = Pool("web", self.events.append, self.monitor.health_changed)
        self.told = 0
        """Claims that this node told, or withdrew."""

    def probe(self, _spec):
        return CountingProbe(self.nodes, self.name)

    async def serve(self, servers):
        specs = tuple(ServerSpec(name, Address(f"{name}:1", host=name, port=1)) for name in servers)
        spec = PoolSpec("web", specs, health=self.nodes.health, passive=PassiveSpec(failures=1))
        targets = {each.address: ((socket.AF_INET, (each.name, 1)),) for each in specs}
        self.pool.apply(finish(self.pool.prepare(spec)), targets, trio.current_time())
        self.monitor.stop_obsolete({"web": self.pool})
        await self.monitor.start_missing({"web": self.pool})

    async def publish(self):
        while True:
            taken = await self.sharing.untold(100)
            self.told += len(taken)
            await trio.sleep(LATENCY)
            self.nodes.told(self.name, taken)

    def states(self):
        return {name: backend.state for name, backend in self.pool.backends.items()}

    def resting(self):
        """Return the servers that this node does not check."""
        return {name for name in self.pool.backends if self.name not in self.sharing.checked_by(("web", name))}


class Nodes:
    """All nodes, and what etcd has of them. ``checks`` counts what each server hears, ``made`` what each node makes."""

    def __init__(self, nursery, servers, health=None):
        self.nursery = nursery
        self.servers = servers
        self.health = health or HealthSpec(share=True)
        self.each = {}
        self.claims = {}
        self.etcd = True
        self.dead, self.cut_off = set(), set()
        self.checks, self.made = Counter(), Counter()

    async def start(self, name, servers=None):
        """Start a node, which joins the others if etcd is there."""
        ready = trio.Event()
        self.nursery.start_soon(self._run, name, ready)
        await ready.wait()
        node = self.each[name]
        await node.serve(self.servers if servers is None else servers)
        if self.etcd:
            await self._joined(node)

    async def _run(self, name, ready):
        async with trio.open_nursery() as nursery:
            node = self.each[name] = Node(self, name, nursery)
            nursery.start_soon(node.publish)
            ready.set()

    async def _joined(self, node):
        found = {}
        for other, claims in self.claims.items():
            for place, claim in claims.items():
                found.setdefault(place, {})[other] = claim
        await node.sharing.hear_all(found)
        self.claims[node.name] = {}
        await self._tell_nodes()

    async def _tell_nodes(self):
        for name in list(self.claims):
            await self.each[name].sharing.join(name, sorted(self.claims))

    def told(self, name, taken):
        if name in self.claims:
            for place, claim in taken.items():
                self.claims[name].pop(place, None)
                if claim is not None:
                    self.claims[name][place] = claim
                for other in self.claims.keys() - {name}:
                    self.each[other].sharing.hear(place, name, claim)

    async def kill(self, name):
        """Kill a node. Its lease runs out."""
        self.each[name].nursery.cancel_scope.cancel()
        await trio.sleep(LEASE)
        del self.each[name]
        await self._forget(name)

    async def _forget(self, name):
        gone = self.claims.pop(name)
        await self._tell_nodes()
        for other in self.claims:
            for place in gone:
                self.each[other].sharing.hear(place, name, None)

    async def lose_etcd(self):
        self.etcd = False
        self.claims = {}
        for node in self.each.values():
            await node.sharing.leave()

    async def find_etcd(self):
        self.etcd = True
        for node in self.each.values():
            node.sharing.tell_all()
            await self._joined(node)

    async def count(self, seconds):
        """Return how many checks each server hears in so many seconds."""
        before = Counter(self.checks)
        await trio.sleep(seconds)
        return {server: self.checks[server] - before[server] for server in self.servers}

    async def load(self, intervals=5):
        """Return the checks a server and interval, over all servers."""
        counts = await self.count(intervals * self.health.interval)
        return sum(counts.values()) / len(counts) / intervals
