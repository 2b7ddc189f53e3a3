"""Both splicers, on real sockets: the bytes that enter on one side leave on the other."""

from __future__ import annotations

import errno
import hashlib
import random
import socket

import pytest
import trio
import trio.testing

from tests.support.balancer import PATIENCE
from tests.support.splicing import (
    MIB,
    Owner,
    in_order,
    read_all,
    read_until_reset,
    reset,
    running_splicer,
    send_until_blocked,
)

pytestmark = pytest.mark.usefixtures("splicer_kind")


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


@pytest.mark.parametrize("unix", [False, True])
async def test_the_server_may_have_spoken_before_the_relay_is_there(unix):
    async with running_splicer() as bench:
        joined = await bench.join(unix=unix, early=lambda client, server: server.sendall(b"220 ready\r\n"))
        assert await joined.client.receive_some() == b"220 ready\r\n"


@pytest.mark.parametrize("unix", [False, True])
async def test_the_server_may_have_spoken_and_finished_before_the_relay_is_there(unix):
    """For example "too many connections". No further edge comes, so the connect edge's mask must be kept."""

    def speak_and_go(client, server):
        server.sendall(b"421 try later\r\n")
        server.close()

    async with running_splicer() as bench:
        joined = await bench.join(unix=unix, early=speak_and_go)
        with trio.fail_after(PATIENCE):
            assert (await read_all(joined.client))[1] == 15
            await joined.client.send_eof()
            await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == ("server", "eof")


@pytest.mark.parametrize("unix", [False, True])
async def test_the_client_may_have_spoken_and_finished_before_the_relay_is_there(unix):
    def speak_and_finish(client, server):
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)

    async with running_splicer() as bench:
        joined = await bench.join(unix=unix, early=speak_and_finish)
        with trio.fail_after(PATIENCE):
            assert (await read_all(joined.server))[1] == 7
            await joined.server.send_all(b"answer")
            await joined.server.send_eof()
            assert (await read_all(joined.client))[1] == 6
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == ("client", "eof")


async def test_a_client_that_was_reset_before_the_relay_is_there_resets_the_server():
    async with running_splicer() as bench:
        joined = await bench.join(early=lambda client, server: reset(client))
        assert await read_until_reset(joined.server) == b""
        assert joined.owner.ended == ("client", "reset")


async def test_a_server_that_resets_at_once_is_a_failed_connect():
    async with running_splicer() as bench:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            owner = Owner()
            bench.splicer.connect((socket.AF_INET, listening.getsockname()), owner)
            server, _ = listening.accept()
            reset(server)
            await owner.until(lambda owner: owner.error)
        assert owner.error.errno == errno.ECONNRESET


@pytest.mark.parametrize("size", [1, 64 * 1024, 128 * 1024, 5 * MIB])
@pytest.mark.parametrize("first", ["client", "server"])
async def test_the_last_bytes_and_the_end_arrive_together(first, size):
    async with running_splicer() as bench:
        joined = await bench.join()
        one, other = in_order(joined, first)

        async def send():
            await one.send_all(bytes(size))
            await one.send_eof()

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                assert (await read_all(other))[1] == size


async def test_50_mb_reach_a_reader_that_stalls_until_the_server_has_gone():
    async with running_splicer() as bench:
        joined = await bench.join()
        data = random.Random(1).randbytes(MIB) * 50
        gone = trio.Event()

        async def serve():
            await joined.server.send_all(data)
            await joined.server.aclose()
            gone.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert joined.relay.bytes_out < len(data), "the reader stalls"
            digest, count = await read_all(joined.client)
        assert gone.is_set()
        assert count == len(data)
        assert digest == hashlib.sha256(data).hexdigest()


async def test_what_the_kernel_holds_of_a_server_that_has_gone_reaches_a_late_reader():
    """All remaining bytes and the end are buffered when the reader wakes up: the server causes no further edge."""
    async with running_splicer() as bench:
        joined = await bench.join()
        sent = await send_until_blocked(joined.server)
        await joined.server.aclose()
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(PATIENCE):
            assert (await read_all(joined.client))[1] == sent


@pytest.mark.parametrize("unix", [False, True])
async def test_writes_through_small_buffers(unix):
    async with running_splicer() as bench:
        joined = await bench.join(buffer=4096, unix=unix)
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
            for _ in range(100):
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


@pytest.mark.parametrize("size", [3, 300_000, 5 * MIB])
async def test_urgent_data_does_not_stall_the_stream(size):
    """A read stops at the urgent mark (tcp(7)), although more bytes are left. FTP and telnet use urgent data."""
    async with running_splicer() as bench:
        joined = await bench.join()
        sock = joined.client.socket._sock

        async def send():
            for data, flags in ((b"a" * size, 0), (b"!", socket.MSG_OOB), (b"b" * size, 0)):
                sent = 0
                while sent < len(data):
                    try:
                        sent += sock.send(data[sent:], flags)
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(sock)

        received = bytearray()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                while len(received) < 2 * size or received.count(b"b") < size:
                    received += await joined.server.receive_some()
            assert received.replace(b"!", b"") == b"a" * size + b"b" * size
            await joined.client.send_eof()
            assert await joined.server.receive_some() == b""


class Times(list):
    """Replaces a Histogram."""

    add = list.append


@pytest.mark.parametrize("first", ["client", "server"])
async def test_the_time_to_the_servers_first_byte_is_told_once(first, mock_clock):
    times = Times()
    async with running_splicer() as bench:
        joined = await bench.join(first_byte=times)
        mock_clock.jump(5)
        if first == "client":  # the client waits for 5 s, which does not count for the server
            for _ in range(2):
                await joined.client.send_all(b"ask")
                assert await joined.server.receive_some() == b"ask"
                mock_clock.jump(1)
        for _ in range(2):
            await joined.server.send_all(b"answer")
            assert await joined.client.receive_some() == b"answer"
            mock_clock.jump(10)
        await joined.client.send_all(b"thanks")
        assert await joined.server.receive_some() == b"thanks"
        assert times == [2 if first == "client" else 5]


async def test_a_server_that_leaves_without_a_word_has_no_first_byte():
    times = Times()
    async with running_splicer() as bench:
        joined = await bench.join(first_byte=times)
        await joined.server.aclose()
        await joined.client.send_all(b"ask")
        await joined.client.aclose()
        await joined.owner.until(lambda owner: owner.ended)
    assert times == []
