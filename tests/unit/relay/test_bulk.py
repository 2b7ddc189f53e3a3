"""Both splicers: much random data each way at once, in random chunks, with equal SHA-256."""

from __future__ import annotations

import hashlib
import random
import socket

import pytest
import trio

from lb.relay.epoll_relay import Side
from tests.support.balancer import PATIENCE
from tests.support.effort import DEEP
from tests.support.splicing import MIB, running_splicer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("splicer_kind")]

TOTAL = 1 << (30 if DEEP else 28)
BLOCK = memoryview(random.Random(3).randbytes(16 << 20))
CHUNKS = [1, 1000, 64 * 1024, 128 * 1024, 300_000, 1 << 20, 4 << 20]


def send(sock, seed):
    """Send pieces of the block from random offsets. Return the digest of all bytes."""
    dice, digest, left = random.Random(seed), hashlib.sha256(), TOTAL
    while left:
        size = min(dice.choice(CHUNKS), left)
        offset = dice.randrange(len(BLOCK) - size + 1)
        piece = BLOCK[offset : offset + size]
        digest.update(piece)
        sock.sendall(piece)
        left -= size
    sock.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def receive(sock):
    """Return the digest and the number of all bytes until the end of file."""
    digest, count = hashlib.sha256(), 0
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    while received := sock.recv_into(buffer):
        digest.update(view[:received])
        count += received
    return digest.hexdigest(), count


async def test_bulk_goes_both_ways_at_once_unchanged():
    async with running_splicer(dedicated=True) as bench:
        joined = await bench.join()
        client, server = (getattr(joined, side).socket._sock for side in ("client", "server"))
        results = {}

        async def run(key, function, *args):
            results[key] = await trio.to_thread.run_sync(function, *args)

        for sock in (client, server):
            sock.setblocking(True)
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, "requests sent", send, client, 1)
                nursery.start_soon(run, "requests received", receive, server)
                nursery.start_soon(run, "answers sent", send, server, 2)
                nursery.start_soon(run, "answers received", receive, client)
            await joined.owner.until(lambda owner: owner.ended)
        assert results["requests received"] == (results["requests sent"], TOTAL)
        assert results["answers received"] == (results["answers sent"], TOTAL)
        assert (joined.relay.bytes_in, joined.relay.bytes_out) == (TOTAL, TOTAL)
        assert joined.owner.ended[1] == "eof"


async def test_the_last_bytes_of_a_stream_do_not_wait_for_more(splicer_kind, monkeypatch):
    """In sustained bulk, a side requests its edge once much data is readable. A smaller rest must get through too."""
    marks = []
    wake_at = Side.wake_at

    def noted(side, count):
        marks.append(count)
        wake_at(side, count)

    monkeypatch.setattr(Side, "wake_at", noted)
    async with running_splicer(dedicated=True) as bench:
        joined = await bench.join()
        for tail in (1, 1000, 100_000):
            left = 8 * MIB + tail
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(joined.server.send_all, bytes(left))
                    while left:
                        left -= len(await joined.client.receive_some())
            await joined.client.send_all(b"thanks")
            assert await joined.server.receive_some() == b"thanks"
    assert (len(marks) > 1) == (splicer_kind == "epoll")
    assert marks[-1:] in ([], [1])
