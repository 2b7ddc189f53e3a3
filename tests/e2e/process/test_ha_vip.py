"""``examples/ha-vip``: two balancers with an address that keepalived moves, run as the files are."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager

import trio

from tests.support.balancer import expect_reset, request
from tests.support.edge import CLIENTS, ha_vip, load, until
from tests.support.effort import DEEP, LONG_FORM

VIP = "192.0.2.10/32"


async def until_at(node):
    """Wait until the address is at a node."""
    await until(lambda: VIP in node.machine.addresses("front"))


@asynccontextmanager
async def running(tmp_path):
    """Yield the machines, and the balancer and keepalived of the first one, which has the address."""
    async with ha_vip(tmp_path) as edge:
        one, two = edge.nodes
        async with edge.balancer(two), edge.balancer(one) as lb, edge.keepalived(one) as first:
            await until_at(one)
            async with edge.keepalived(two) as second:
                await second.says("Entering BACKUP STATE")
                yield edge, lb, first


async def test_a_machine_dies(tmp_path):
    """Every new session is served, and each client by the same server as before."""
    async with running(tmp_path) as (edge, _, _):
        placed = await edge.placed(CLIENTS)
        await died(edge, *edge.nodes)
        assert await edge.placed(CLIENTS) == placed


@LONG_FORM
async def test_a_balancer_is_stopped_and_comes_back(tmp_path):
    async with running(tmp_path) as (edge, lb, first):
        one, two = edge.nodes
        async with load(edge) as sessions:
            lb.signal(signal.SIGTERM)
            await until_at(two)
            await sessions.moved()
        lb.signal(signal.SIGTERM)
        assert await lb.exit_code() == 0
        async with edge.balancer(one):
            await returned(edge, one, first)
            await died(edge, two, one)


async def returned(edge, node, keepalived):
    """Hold that a balancer that comes back takes nothing away from the other one."""
    async with await edge.connect(CLIENTS[0]) as stream:
        async with load(edge) as sessions:
            await keepalived.says("VRRP_Script(lb_ready) succeeded", count=2)
            await sessions.more(20)
            assert VIP not in node.machine.addresses("front"), "the address stays where it is"
        assert await request(stream, b"echo still here") == b"still here"


async def died(edge, node, other):
    """Hold that the other balancer takes over from a machine that dies."""
    async with await edge.connect(CLIENTS[0]) as stream:
        assert await request(stream, b"echo before") == b"before"
        async with load(edge) as sessions:
            node.pull_cables()
            pulled = trio.current_time()
            await until_at(other)
            if DEEP:
                assert trio.current_time() - pulled <= 0.5
            await sessions.moved()
        await stream.send_all(b"echo after\n")
        await expect_reset(stream)
