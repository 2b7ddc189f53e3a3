"""Both splicers, through real sockets: whatever enters on one side leaves on the other, and ends as it ended."""

from __future__ import annotations

import errno
import hashlib
import random
import socket

import pytest
import trio

from tests.splicing import Owner, running_splicer

pytestmark = pytest.mark.usefixtures("splicer_kind")
MIB = 1024 * 1024


async def read_all(stream):
    """The digest and the number of all bytes until the end of file."""
    digest, count = hashlib.sha256(), 0
    async for chunk in stream:
        digest.update(chunk)
        count += len(chunk)
    return digest.hexdigest(), count


def reset(stream):
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


async def expect_reset(stream):
    with pytest.raises(trio.BrokenResourceError) as caught:
        while await stream.receive_some():
            pass
    assert caught.value.__cause__.errno == errno.ECONNRESET


async def test_bytes_travel_both_ways():
    async with running_splicer() as bench:
        joined = await bench.join()
        await joined.client.send_all(b"ping")
        assert await joined.server.receive_some() == b"ping"
        await joined.server.send_all(b"pong")
        assert await joined.client.receive_some() == b"pong"
        await joined.client.aclose()
        await joined.server.aclose()
        await joined.owner.until(lambda owner: owner.ended)
        assert (joined.relay.bytes_in, joined.relay.bytes_out) == (4, 4)


async def test_the_server_may_speak_first():
    async with running_splicer() as bench:
        joined = await bench.join()
        await joined.server.send_all(b"220 ready\r\n")
        assert await joined.client.receive_some() == b"220 ready\r\n"


@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_half_close_travels_and_cuts_nothing(first):
    async with running_splicer() as bench:
        joined = await bench.join()
        one, other = (joined.client, joined.server) if first == "client" else (joined.server, joined.client)
        await one.send_all(b"last words")
        await one.send_eof()
        assert (await read_all(other))[1] == 10
        await other.send_all(b"answer" * 1000)
        await other.send_eof()
        assert (await read_all(one))[1] == 6000
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == (first, "eof")


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_travels_as_a_reset(who):
    async with running_splicer() as bench:
        joined = await bench.join()
        one, other = (joined.client, joined.server) if who == "client" else (joined.server, joined.client)
        reset(one)
        await expect_reset(other)
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == (who, "reset")


async def test_what_was_sent_before_a_reset_still_arrives():
    async with running_splicer() as bench:
        joined = await bench.join()
        await joined.server.send_all(b"answer")
        assert await joined.client.receive_some() == b"answer"
        await joined.client.send_all(b"more")
        reset(joined.server)
        await expect_reset(joined.client)


async def test_a_closed_reader_resets_the_writer():
    """The client closes while the server still sends: the server must hear of it."""
    async with running_splicer() as bench:
        joined = await bench.join()
        await joined.client.aclose()
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(10):
            while True:
                await joined.server.send_all(bytes(MIB))
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == ("client", "reset")


async def test_50_mb_reach_a_reader_that_stalls_until_the_server_has_gone():
    async with running_splicer() as bench:
        joined = await bench.join()
        data = random.Random(1).randbytes(MIB) * 50

        async def serve():
            await joined.server.send_all(data)
            await joined.server.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked(0.2)
            digest, count = await read_all(joined.client)
        assert count == len(data)
        assert digest == hashlib.sha256(data).hexdigest()


async def test_a_reader_that_does_not_read_stops_the_writer():
    """Bounded memory: what is under way is what kernel buffers, one pipe and one buffer hold."""
    async with running_splicer() as bench:
        joined = await bench.join()
        sent = 0
        with trio.move_on_after(0.5):
            while True:
                sent += await joined.server.socket.send(bytes(64 * 1024))
        assert joined.relay.bytes_out < sent
        assert sent < 32 * MIB
        assert joined.relay.holds_bytes


async def test_writes_through_small_buffers():
    async with running_splicer() as bench:
        joined = await bench.join(buffer=4096)
        data = random.Random(2).randbytes(MIB)

        async def send():
            for start in range(0, len(data), 16 * 1024):
                await joined.client.send_all(data[start : start + 16 * 1024])
            await joined.client.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            digest, count = await read_all(joined.server)
        assert (digest, count) == (hashlib.sha256(data).hexdigest(), len(data))


async def test_random_chunks_both_ways_at_once():
    async with running_splicer() as bench:
        joined = await bench.join()
        results = {}

        async def send(stream, seed):
            dice, digest = random.Random(seed), hashlib.sha256()
            for _ in range(300):
                chunk = dice.randbytes(dice.choice([1, 100, 5000, 65536, 200_000, 1_000_000]))
                digest.update(chunk)
                await stream.send_all(chunk)
            await stream.send_eof()
            results["sent", seed] = digest.hexdigest()

        async def receive(stream, seed):
            results["received", seed], _ = await read_all(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, joined.client, 1)
            nursery.start_soon(receive, joined.server, 1)
            nursery.start_soon(send, joined.server, 2)
            nursery.start_soon(receive, joined.client, 2)
        assert results["sent", 1] == results["received", 1]
        assert results["sent", 2] == results["received", 2]


async def test_idle_connections_expire_and_busy_ones_do_not():
    async with running_splicer() as bench:
        quiet, busy = await bench.join(idle=0.3), await bench.join(idle=0.3)
        with trio.move_on_after(0.6):
            while True:
                await busy.client.send_all(b".")
                await trio.sleep(0.05)
        assert quiet.owner.expirations == ["idle"]
        assert busy.owner.expirations == []


async def test_a_flowing_answer_is_never_cut_by_the_half_close_timeout():
    async with running_splicer() as bench:
        joined = await bench.join(half_close=0.3)
        await joined.client.send_eof()
        for _ in range(8):
            await trio.sleep(0.1)
            await joined.server.send_all(b".")
        assert joined.owner.expirations == []
        await joined.owner.until(lambda owner: owner.expirations)
        assert joined.owner.expirations == ["half_close"]


async def test_closing_a_relay_with_reset_is_seen_as_a_reset_on_both_sides():
    async with running_splicer() as bench:
        joined = await bench.join()
        joined.relay.close(reset=True)
        await expect_reset(joined.client)
        await expect_reset(joined.server)
        assert joined.owner.ended is None
        bench.forget(joined)


async def test_a_refused_connect_is_told():
    async with running_splicer() as bench:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            owner = Owner()
            bench.splicer.connect((socket.AF_INET, nobody.getsockname()), owner)
            await owner.until(lambda owner: owner.error)
        assert owner.error.errno == errno.ECONNREFUSED


async def test_pipes_come_back_and_descriptors_are_given_back():
    async with running_splicer() as bench:
        for _ in range(3):
            joined = await bench.join()

            async def send(joined=joined):
                await joined.server.send_all(bytes(20 * MIB))
                await joined.server.aclose()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                assert (await read_all(joined.client))[1] == 20 * MIB
            await joined.client.aclose()
            await joined.owner.until(lambda owner: owner.ended)
        assert bench.descriptors.used <= 2, "one idle pipe is kept, no more"
