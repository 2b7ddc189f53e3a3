"""A network that splits the balancers of a cluster: packets are dropped, so that etcd is silent for one of them."""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import config
from tests.support.clustered import cluster_node, cluster_table
from tests.support.effort import LONG_FORM
from tests.support.etcd import etcd
from tests.support.servers import Named
from tests.support.two_hosts import two_hosts

pytestmark = pytest.mark.slow
BUSY = 3  # seconds that a busy machine may add
A, B, C = (Named(name, f"127.0.0.1:{port}") for port, name in enumerate("abc", 1))


@LONG_FORM
async def test_both_sides_hold_what_was_said_to_them_and_agree_once_they_meet(tmp_path):
    with two_hosts(links=1) as hosts:
        (link,) = hosts.links
        async with etcd(host=link.address, through=("ip", "netns", "exec", hosts.far.namespace)) as store:
            admin = '[admin]\nbind = "unix:admin.sock"'
            text = config(A, B, C, top=f"{admin}\n{cluster_table(store)}", health=None)
            async with (
                cluster_node(tmp_path, "lb1", text, preexec=hosts.near.enter) as near,
                cluster_node(tmp_path, "lb2", text, preexec=hosts.far.enter) as far,
            ):
                await near.until_nodes("lb1", "lb2")
                await near.tell("c", "drain")
                await far.until_override("c", drained=True)
                link.cut()
                asked = trio.current_time()
                for server, what in (("a", "drain"), ("b", "drain"), ("c", "enable")):
                    assert (await near.say(server, what)).startswith("not told: ")
                assert trio.current_time() - asked < 3 + BUSY, "an operator waits for a second at most"
                await far.tell("a", "weight", {"weight": 3})
                await far.until_nodes("lb2")
                await near.lb.event("cluster.lost")
                for server, override in (("a", {"drained": True}), ("b", {"drained": True}), ("c", {})):
                    await near.until_override(server, **override)
                for server, override in (("a", {"weight": 3}), ("b", {}), ("c", {"drained": True})):
                    await far.until_override(server, **override)
                link.mend()
                for node in (near, far):
                    await node.until_nodes("lb1", "lb2")
                    await node.until_override("a", weight=3)
                    await node.until_override("b", drained=True)
                    await node.until_override("c")
