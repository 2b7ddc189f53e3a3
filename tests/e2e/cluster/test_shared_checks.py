"""``health.share = true``: real balancers share the checks of real servers by way of a real etcd."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from healthcheck.assignment import checkers
from tests.support.balancer import config, run_lb
from tests.support.clustered import cluster_node, cluster_table
from tests.support.effort import DEEP
from tests.support.etcd import etcd
from tests.support.operating import ADMIN
from tests.support.servers import free_port, serving

pytestmark = pytest.mark.slow
INTERVAL = 0.5
CHECKS = f'share = true\ninterval = "{INTERVAL}s"\nfast_interval = "100ms"'
NODES = ["lb1", "lb2", "lb3", "lb4", "lb5"]
SERVERS = [f"s{number}" for number in range(20)]
CHECKED_BY = {name: sorted(checkers(f"web/{name}", NODES)) for name in SERVERS}
TRIES = 5
WINDOW = 20 if DEEP else 4
"""Intervals for which checks are counted."""


class World:
    """An etcd, servers that count their checks, and nodes that check them."""

    def __init__(self, etcd, servers, places, nodes, stack):
        self.etcd, self.servers, self.places, self.nodes = etcd, servers, places, nodes
        self._stack = stack

    async def until_shared(self):
        """Wait until each node says that each server is checked by those three that should."""
        for node in self.nodes:
            await node.operator.until(
                node.operator.servers,
                lambda found: {name: each.get("checked_by") for name, each in found.items()} == CHECKED_BY,
            )

    async def until_few(self):
        """Wait until three nodes check each server. On a busy machine words come late, and others check as well."""
        rates = [await self.checks()]
        while rates[-1] > 3.5 and len(rates) < TRIES:
            rates.append(await self.checks())
        assert rates[-1] <= 3.5, rates

    async def checks(self):
        """Return the checks a server and interval, of all servers."""
        before = sum(server.connections for server in self.servers.values())
        began = trio.current_time()
        await trio.sleep(WINDOW * INTERVAL)
        made = sum(server.connections for server in self.servers.values()) - before
        return made / len(self.servers) * INTERVAL / (trio.current_time() - began)

    async def kill(self, name):
        """Kill a server, and return the reason for which each node takes it out."""
        self.servers[name].stop_listening()
        ejected = {node.name: await node.lb.event("backend.ejected", server=name) for node in self.nodes}
        return {name: event["reason"] for name, event in ejected.items()}

    async def revive(self, name):
        """Start a server again, and wait until it is back on all nodes."""
        self.servers[name] = await self._stack.enter_async_context(serving(name=name, address=self.places[name]))
        for node in self.nodes:
            await node.lb.event("backend.restored", server=name)


@asynccontextmanager
async def world(home):
    async with etcd() as store, AsyncExitStack() as stack:
        places = {name: ("127.0.0.1", free_port()) for name in SERVERS}
        servers = {name: await stack.enter_async_context(serving(name=name, address=places[name])) for name in SERVERS}
        text = config(*servers.values(), top=f"{ADMIN}\n{cluster_table(store)}", health=CHECKS)
        nodes = [await stack.enter_async_context(cluster_node(home, name, text)) for name in NODES]
        yield World(store, servers, places, nodes, stack)


async def test_five_nodes_share_the_checks_of_twenty_servers(tmp_path):
    async with world(tmp_path) as w:
        await w.until_shared()
        await w.until_few()

        reasons = await w.kill("s0")
        of_others = {reason for name, reason in reasons.items() if name not in CHECKED_BY["s0"]}
        assert of_others <= {f"connection refused, as on {name}" for name in CHECKED_BY["s0"]}
        assert "connection refused" in reasons.values()
        await w.revive("s0")

        await w.etcd.kill()
        for node in w.nodes:
            await node.lb.event("cluster.lost")
        assert set((await w.kill("s1")).values()) == {"connection refused"}

        await w.etcd.start()
        await w.until_shared()
        await w.revive("s1")
        await w.until_few()


async def test_share_needs_a_cluster(tmp_path):
    file = tmp_path / "lb.toml"
    file.write_text('[listeners.web]\nbind = ":0"\n[pools.web]\nservers = ["127.0.0.1:1"]\nhealth = { share = true }\n')
    code, _, err = await run_lb("check", file)
    assert code == 2
    assert "pools.web.health.share: needs [cluster]" in err
