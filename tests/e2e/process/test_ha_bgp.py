"""``examples/ha-bgp``: equal balancers that bird announces to a router, run as the files are."""

from __future__ import annotations

import signal
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import trio

from tests.support.balancer import expect_reset, request
from tests.support.edge import CLIENTS, ha_bgp, load, until
from tests.support.effort import DEEP


def next_hops(edge):
    """Return the machines to which the router sends."""
    command = ["ip", "-n", edge.router.namespace, "route", "show", edge.address]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {after for word, after in pairwise(text) if word == "via"}


async def until_to(edge, *nodes):
    """Wait until the router sends to these nodes and to no other."""
    await until(lambda: next_hops(edge) == {f"10.65.0.{node.number + 1}" for node in nodes})


async def test_the_router_sends_to_those_that_serve(tmp_path):
    """Every new session is served, and each client by the same server, whichever balancer it comes through."""
    async with ha_bgp(tmp_path) as edge:
        one, two = edge.nodes
        async with edge.birds(), edge.balancer(two), edge.balancer(one) as lb:
            await until_to(edge, one, two)
            placed = await edge.placed(CLIENTS)
            async with opened_at(edge, one, two) as streams:
                await streams[one].aclose()
                async with load(edge) as sessions:
                    lb.signal(signal.SIGTERM)
                    await until_to(edge, two)
                    await sessions.moved()
                assert await request(streams[two], b"echo still here") == b"still here"
            lb.signal(signal.SIGTERM)
            assert await lb.exit_code() == 0
            assert await edge.placed(CLIENTS) == placed
            async with edge.balancer(one):
                async with load(edge) as sessions:
                    await until_to(edge, one, two)
                    await sessions.moved()
                await died(edge, one, two)


@asynccontextmanager
async def opened_at(edge, one, two):
    """Yield an open connection through each node."""
    streams = {}
    async with AsyncExitStack() as stack:
        while len(streams) < 2:
            stream = await stack.enter_async_context(await edge.connect(CLIENTS[0]))
            assert await request(stream, b"echo before") == b"before"
            streams.setdefault(one if edge.has(one, stream) else two, stream)
        yield streams


async def died(edge, one, two):
    """Hold that the router leaves a machine that dies, and that the connections through the other one go on."""
    async with opened_at(edge, one, two) as streams:
        async with load(edge) as sessions:
            one.pull_cables()
            pulled = trio.current_time()
            await until_to(edge, two)
            if DEEP:
                assert trio.current_time() - pulled <= 0.5
            await sessions.moved()
        assert await request(streams[two], b"echo after") == b"after"
        await streams[one].send_all(b"echo after\n")
        await expect_reset(streams[one])
