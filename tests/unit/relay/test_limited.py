"""Both splicers: a relay with bandwidth limits carries the bytes, the ends and the resets as any other."""

from __future__ import annotations

import hashlib
import os

import pytest
import trio
import trio.testing

from lb.model import BandwidthSpec
from lb.model.address import Client
from lb.model.timing import Histogram
from lb.proxy.bandwidth_limits import BandwidthLimits
from tests.support.balancer import PATIENCE
from tests.support.splicing import MIB, read_all, read_until_reset, reset, running_splicer

pytestmark = pytest.mark.usefixtures("splicer_kind")
CLIENT = Client("10.1.2.3", 5555)


def limits(bench, **rates):
    made = BandwidthLimits(bench.deadlines, trio.lowlevel.current_clock().current_time, 1)
    made.configure(BandwidthSpec(**rates))
    return made


def bandwidth(bench, **rates):
    return limits(bench, **rates).begin(CLIENT, lambda callback: None)


async def test_bytes_go_both_ways_unchanged_and_so_do_the_ends():
    payload = os.urandom(3 * MIB + 1)
    async with running_splicer() as bench:
        joined = await bench.join(bandwidth=bandwidth(bench, connection=16 * MIB))
        found = []

        async def send(stream):
            await stream.send_all(payload)
            await stream.send_eof()

        async def receive(stream):
            found.append(await read_all(stream))

        async with trio.open_nursery() as nursery:
            for stream in (joined.client, joined.server):
                nursery.start_soon(send, stream)
                nursery.start_soon(receive, stream)
        assert found == [(hashlib.sha256(payload).hexdigest(), len(payload))] * 2
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended[1] == "eof"
        assert (joined.relay.bytes_in, joined.relay.bytes_out) == (len(payload), len(payload))


async def test_limits_do_not_wake_the_process_until_a_stream_waits_for_them():
    """An idle balancer of mode http woke fifty times a second."""
    async with running_splicer() as bench:
        joined = await bench.join(bandwidth=bandwidth(bench, connection=MIB))
        await joined.client.send_all(b"few bytes")
        assert await joined.server.receive_some() == b"few bytes"
        assert not any(kind == "bandwidth" for kind, _ in bench.deadlines._queues)


async def test_a_limited_stream_takes_its_time_and_nothing_is_read_ahead():
    """The rest stays with the sender and in the kernel."""
    async with running_splicer() as bench:
        joined = await bench.join(bandwidth=bandwidth(bench, connection=MIB), buffer=100_000)
        began = trio.current_time()

        async def send():
            await joined.server.send_all(bytes(MIB))
            await joined.server.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            received = b""
            while data := await joined.client.receive_some():
                received += data
                passed = trio.current_time() - began
                assert len(received) <= (passed + 0.25) * MIB
                assert joined.relay.bytes_out <= (passed + 0.25) * MIB
        assert len(received) == MIB
        assert 0.7 < trio.current_time() - began < PATIENCE


async def test_a_reset_comes_through_while_a_side_waits_for_its_turn():
    async with running_splicer() as bench:
        joined = await bench.join(bandwidth=bandwidth(bench, connection=2000))
        await joined.client.send_all(bytes(10_000))
        await joined.server.receive_some()
        reset(joined.client)
        await read_until_reset(joined.server)
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == ("client", "reset")


async def test_a_close_while_a_side_waits_leaves_the_others_their_bandwidth():
    async with running_splicer() as bench:
        shared = limits(bench, listener=MIB)
        first, second = [
            await bench.join(bandwidth=shared.begin(CLIENT, lambda callback: None), buffer=100_000) for _ in range(2)
        ]
        async with trio.open_nursery() as nursery:
            first.server.socket._sock.send(bytes(200_000))
            nursery.start_soon(second.server.send_all, bytes(200_000))
            await first.client.receive_some()
            await trio.testing.wait_all_tasks_blocked(0.01)
            reset(first.client)
            await first.owner.until(lambda owner: owner.ended)
            received = 0
            with trio.fail_after(PATIENCE):
                while received < 200_000:
                    received += len(await second.client.receive_some())
            nursery.cancel_scope.cancel()


async def test_the_first_byte_is_timed_too():
    async with running_splicer() as bench:
        timed = Histogram()
        joined = await bench.join(bandwidth=bandwidth(bench, connection=MIB), first_byte=timed)
        await joined.client.send_all(b"question")
        await joined.server.receive_some()
        await joined.server.send_all(b"answer")
        assert await joined.client.receive_some() == b"answer"
        assert sum(timed.counts.values()) == 1
