"""Balancers that are nodes of one cluster, with a real etcd."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import trio

from tests.support.balancer import PATIENCE, config, run_lb
from tests.support.operating import ADMIN, operated

OVERRIDES = "/trio-lb/cluster/edge/overrides/"
NODES = "/trio-lb/cluster/edge/nodes/"


def cluster_table(etcd, more=""):
    """The lines of ``[cluster]``, which all nodes can have alike."""
    return f'[cluster]\nname = "edge"\netcd = {{ endpoints = ["{etcd.url}"] }}\n{more}\n'


def cluster_config(etcd, *servers, admin=ADMIN, cluster="", more=""):
    """A configuration that all nodes can have alike, without health checks. ``more`` are further tables."""
    return config(*servers, top=f"{admin}\n{cluster_table(etcd, cluster)}{more}", health=None)


class ClusterNode:
    """A running node and its operator."""

    def __init__(self, name, lb, operator):
        self.name = name
        self.lb = lb
        self.operator = operator

    async def say(self, server, what, body=None):
        """Drain, enable or weigh a server. Return what the answer says of the cluster."""
        return (await self.operator.do(server, what, body))["cluster"]

    async def tell(self, server, what, body=None):
        """Say it until etcd has it. A busy etcd may take longer than the second that an answer waits for it."""
        with trio.fail_after(PATIENCE):
            while (said := await self.say(server, what, body)) != "told":
                assert "no answer in " in said, said

    async def cluster(self):
        return await self.operator.get("/api/v1/cluster")

    async def until_override(self, server, drained=False, weight=None):
        """Wait until this override of a server holds here; nothing said: none."""
        wanted = {"drained": drained, "weight": weight}
        no_override = not drained and weight is None

        def holds(found):
            return (found["override"] or {"drained": False, "weight": None}) == wanted

        found = await self.operator.until(lambda: self.operator.server(server), holds)
        assert found["override"] is None or not no_override or found["override"] == wanted

    async def until_nodes(self, *names):
        return await self.operator.until(self.cluster, lambda found: [*found["nodes"]] == [*names])

    async def until_all_ready(self, count=2):
        return await self.operator.until(
            self.cluster,
            lambda found: len(found["nodes"]) == count and all(node["ready"] for node in found["nodes"].values()),
        )

    async def until_etcd(self, wanted):
        """Wait until ``etcd`` of the status has this text, or what it tests for is true of it."""
        test = wanted if callable(wanted) else lambda found: found == wanted
        return await self.operator.until(self.cluster, lambda found: test(found["etcd"]))

    async def ctl(self, *words, code=0):
        bind = (await self.lb.event("admin.started"))["bind"]
        exit_code, out, err = await run_lb("ctl", "--admin", bind, *words)
        assert exit_code == code, (out, err)
        return out, err


@asynccontextmanager
async def cluster_node(home, name, text, **options):
    """A running node of this name, with a directory of its own."""
    directory = home / name
    directory.mkdir(parents=True, exist_ok=True)
    async with operated(directory, text, env={"LB_NODE": name}, **options) as (lb, operator):
        yield ClusterNode(name, lb, operator)


async def override_in(etcd, place):
    """Return what etcd has of a server; None if nothing."""
    text = await etcd.ctl("get", "--print-value-only", OVERRIDES + place)
    return json.loads(text) if text else None


async def until_true(condition):
    with trio.fail_after(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - etcd's own state: nobody tells of it
            await trio.sleep(0.02)
