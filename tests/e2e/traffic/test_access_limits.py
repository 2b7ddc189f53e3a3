"""Access lists and limits per source with the real command, also across two workers."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer, config, read_all
from tests.support.servers import serving
from tests.support.two_workers import BOTH, TWO, connections, pids, worker_of

pytestmark = pytest.mark.slow


async def denied(lb, count=1, **options):
    """Connect and wait for the ``count``-th denial."""
    async with await trio.open_tcp_stream("127.0.0.1", lb.port, **options) as stream:
        assert await read_all(stream) == b""
    return await lb.event("connection.closed", reason="denied", count=count)


@pytest.mark.usefixtures("balancer_kind")
async def test_a_source_has_so_many_connections_open_and_no_more(tmp_path):
    async with serving() as server:
        text = config(server, listener="max_per_source = 8", health=None)
        async with balancer(tmp_path, text) as lb:
            async with connections(lb.port, 8):
                for count in (1, 2, 3):
                    await denied(lb, count)
            await lb.event("connection.closed", reason="eof", count=8)
            async with connections(lb.port, 8):
                record = await denied(lb, 4)
    assert (record["ended_by"], record["server"], record["bytes_in"]) == ("lb", None, 0)


@pytest.mark.usefixtures("balancer_kind")
async def test_a_source_comes_only_so_fast(tmp_path):
    async with serving() as server:
        text = config(server, listener="rate_per_source = 20", health=None)
        async with balancer(tmp_path, text) as lb:
            began, served = trio.current_time(), 0

            async def client():
                nonlocal served
                with suppress(OSError, trio.BrokenResourceError):  # closed before its request was read
                    answered = await ask(lb.port) == b"s\n"
                    served += answered

            while len(lb.of("connection.closed", reason="denied")) < 3:
                async with trio.open_nursery() as nursery:  # one after the other may be slower than the limit
                    for _ in range(60):
                        nursery.start_soon(client)
            took = trio.current_time() - began
    assert 20 <= served <= 21 + 20 * took


@pytest.mark.usefixtures("balancer_kind")
async def test_networks_keep_clients_out_and_a_reload_changes_them(tmp_path):
    async with serving() as server:
        text = config(server, listener='deny = ["127.0.0.1"]', health=None)
        async with balancer(tmp_path, text) as lb:
            await denied(lb)
            async with await trio.open_tcp_stream("127.0.0.1", lb.port, local_address="127.0.0.2") as stream:
                await stream.send_all(b"name\n")
                assert await stream.receive_some() == b"s\n"
                await lb.reload(text.replace("deny", "allow"))
                await stream.send_all(b"name\n")
                assert await stream.receive_some() == b"s\n", "open connections continue"
            assert await ask(lb.port) == b"s\n"
            await denied(lb, 2, local_address="127.0.0.2")


async def test_a_source_is_counted_over_all_workers_and_a_dead_one_leaves_room(tmp_path):
    async with serving() as server:
        text = config(server, listener="max_per_source = 20", health=None, top=TWO)
        async with balancer(tmp_path, text) as lb, connections(lb.port, 20):
            by_worker, count = set(), 0
            with trio.fail_after(PATIENCE):
                while by_worker != BOTH:
                    count += 1
                    by_worker.add(worker_of(await denied(lb, count)))
            for worker in BOTH:
                os.kill(pids(lb)[worker], signal.SIGKILL)
                await lb.event("worker.died", worker=worker)
            await lb.event("worker.started", count=4)
            async with connections(lb.port, 20):
                await denied(lb, count + 1)
