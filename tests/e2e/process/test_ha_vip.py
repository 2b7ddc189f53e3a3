"""``examples/ha-vip``: two balancers with an address that keepalived moves, run as the files are."""

from __future__ import annotations

import signal

import trio

from tests.support.balancer import expect_reset, request
from tests.support.edge import CLIENTS, ha_vip, load, until
from tests.support.effort import DEEP

VIP = "192.0.2.10/32"


async def until_at(node):
    """Wait until the address is at a node."""
    await until(lambda: VIP in node.machine.addresses("front"))


async def test_the_address_moves_and_every_new_session_is_served(tmp_path):
    async with ha_vip(tmp_path) as edge:
        one, two = edge.nodes
        async with edge.balancer(two), edge.keepalived(one) as first, edge.balancer(one) as lb:
            await until_at(one)
            async with edge.keepalived(two) as second:
                await second.says("Entering BACKUP STATE")
                placed = await edge.placed(CLIENTS)
                async with load(edge) as sessions:
                    lb.signal(signal.SIGTERM)
                    await until_at(two)
                    await sessions.moved()
                lb.signal(signal.SIGTERM)
                assert await lb.exit_code() == 0
                assert await edge.placed(CLIENTS) == placed, "the other one places every client alike"
                async with edge.balancer(one):
                    await returned(edge, one, first)
                    await died(edge, one, two)


async def returned(edge, node, keepalived):
    """Hold that a balancer that comes back takes nothing away from the other one."""
    async with await edge.connect(CLIENTS[0]) as stream:
        async with load(edge) as sessions:
            await keepalived.says("VRRP_Script(lb_ready) succeeded", count=2)
            await sessions.more(20)
            assert VIP not in node.machine.addresses("front"), "the address stays where it is"
        assert await request(stream, b"echo still here") == b"still here"


async def died(edge, one, two):
    """Hold that the other balancer takes over from a machine that dies."""
    async with await edge.connect(CLIENTS[0]) as stream:
        assert await request(stream, b"echo before") == b"before"
        async with load(edge) as sessions:
            two.pull_cables()
            pulled = trio.current_time()
            await until_at(one)
            if DEEP:
                assert trio.current_time() - pulled <= 0.5
            await sessions.moved()
        await stream.send_all(b"echo after\n")
        await expect_reset(stream)
