"""Both splicers: slow readers, fast writers, few descriptors, and bugs that end only one connection."""

from __future__ import annotations

import socket
import termios

import pytest
import trio
import trio.testing

from tests.support.splicing import (
    MIB,
    Owner,
    open_descriptors,
    read_all,
    read_until_reset,
    reset,
    running_splicer,
    send_until_blocked,
    waiting_bytes,
)

pytestmark = pytest.mark.usefixtures("splicer_kind")

epoll_only = pytest.mark.parametrize("splicer_kind", ["epoll"], indirect=True)
"""For tests of turns and handlers, which the portable splicer does not have."""


async def test_a_reader_that_does_not_read_stops_the_writer():
    """Memory is bounded: one pipe or one buffer besides the kernel's buffers."""
    async with running_splicer() as bench:
        joined = await bench.join(buffer=64 * 1024)
        before = await send_until_blocked(joined.server)
        assert joined.relay.holds_bytes
        in_kernel = waiting_bytes(joined.owner.server, termios.FIONREAD)
        in_kernel += waiting_bytes(joined.server.socket, termios.TIOCOUTQ)
        assert before - in_kernel - joined.relay.bytes_out <= MIB + 64 * 1024
        assert bench.descriptors.used <= 2, "one pipe"
        read = 0
        while read < before:
            read += len(await joined.client.receive_some())
        await joined.server.send_all(b"and on it goes")
        assert await joined.client.receive_some() == b"and on it goes"


async def test_a_fast_stream_does_not_starve_another_connection():
    """Measured in bytes, not in time: between ping and pong the stream moves a bounded number of bytes."""
    async with running_splicer() as bench:
        stream, pinging = await bench.join(), await bench.join()
        sender, receiver = (side.socket._sock for side in (stream.server, stream.client))
        for sock in (sender, receiver):
            sock.setblocking(True)

        def blast():
            block = bytes(MIB)
            for _ in range(400):
                sender.sendall(block)
            sender.shutdown(socket.SHUT_WR)

        def drain():
            buffer = bytearray(MIB)
            while receiver.recv_into(buffer):
                pass

        shares = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, blast)
            nursery.start_soon(trio.to_thread.run_sync, drain)
            while stream.relay.bytes_out < 300 * MIB:
                before = stream.relay.bytes_out
                await pinging.client.send_all(b"ping")
                assert await pinging.server.receive_some() == b"ping"
                shares.append(stream.relay.bytes_out - before)
        assert len(shares) > 4
        assert max(shares) < 100 * MIB


@epoll_only
async def test_a_turn_moves_no_more_than_its_share():
    async with running_splicer() as bench:
        joined = await bench.join()
        await send_until_blocked(joined.server)
        turns, turn = [], bench.splicer._loop._take_turn

        def counted():
            before = joined.relay.bytes_out
            went_on = turn()
            turns.append(joined.relay.bytes_out - before)
            return went_on

        bench.splicer._loop._take_turn = counted
        await joined.server.aclose()
        await read_all(joined.client)
        assert sum(turns) > 0
        assert max(turns) <= 6 * MIB, "three pumps per turn, each of one budget plus the pipe that exceeded it"


async def test_pipes_come_back_and_descriptors_are_given_back():
    async with running_splicer() as bench:
        before = open_descriptors()
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
        assert open_descriptors() == before + bench.descriptors.used


async def test_bulk_goes_on_without_pipes():
    async with running_splicer(limit=0) as bench:
        joined = await bench.join()

        async def send():
            await joined.server.send_all(bytes(20 * MIB))
            await joined.server.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert (await read_all(joined.client))[1] == 20 * MIB
        assert bench.descriptors.used == 0


async def test_an_exception_ends_its_connection_only_and_looks_like_no_end(splicer_kind, monkeypatch):
    """The exception is injected into the queue that one of two connections enters at its half-close."""

    class BoomError(Exception):
        pass

    async with running_splicer() as bench:
        broken, sound = await bench.join(half_close=1000), await bench.join(half_close=2000)

        def enter(wait, now):
            raise BoomError

        monkeypatch.setattr(bench.deadlines.queue("half_close", 1000), "enter", enter)
        monkeypatch.setattr(bench.deadlines.queue("half_close", 1000), "touch", enter)
        await broken.client.send_eof()
        await read_until_reset(broken.server)
        await read_until_reset(broken.client)
        await broken.owner.until(lambda owner: owner.ended)
        assert broken.owner.ended == ("lb", "reset")
        ((_, exception),) = bench.faults
        bench.faults.clear()
        while isinstance(exception, ExceptionGroup):
            exception = exception.exceptions[0]
        assert isinstance(exception, BoomError)
        await sound.client.send_all(b"ping")
        assert await sound.server.receive_some() == b"ping"


@pytest.mark.parametrize("call", ["connected", "relay_ended", "connect_failed"])
async def test_an_owner_that_raises_reaches_no_other_connection(call):
    async with running_splicer() as bench:
        sound, broken = await bench.join(), await bench.join()

        def boom(*args):
            raise RuntimeError("boom")

        if call == "relay_ended":
            broken.owner.relay_ended = boom
            reset(broken.client)
            await read_until_reset(broken.server)
            broken.owner.ended = ("nobody", "knows")
        else:
            owner = Owner()
            setattr(owner, call, boom)
            with socket.socket() as server:
                server.bind(("127.0.0.1", 0))
                if call == "connected":
                    server.listen()
                bench.splicer.connect((socket.AF_INET, server.getsockname()), owner)
                await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert str(bench.faults[0][1]) == "boom"
        bench.faults.clear()
        await sound.client.send_all(b"ping")
        assert await sound.server.receive_some() == b"ping"


@epoll_only
async def test_an_edge_of_a_closed_socket_reaches_nobody_else():
    """Two relays become ready in one batch. The first one's edge closes the second and opens new sockets."""
    async with running_splicer() as bench:
        joined = [await bench.join() for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        opened = []

        def ended(first, second):
            def relay_ended(ended_by, reason):
                first.owner.ended = (ended_by, reason)
                numbers = {second.relay.client.sock.fileno(), second.relay.server.sock.fileno()}
                second.relay.close(reset=False)
                fresh = socket.socketpair()
                assert numbers.isdisjoint(sock.fileno() for sock in fresh), (
                    "a descriptor number was reused within the batch"
                )
                opened.extend(fresh)

            return relay_ended

        one, other = joined
        one.owner.relay_ended, other.owner.relay_ended = ended(one, other), ended(other, one)
        for each in joined:
            reset(each.client)
        await trio.testing.wait_all_tasks_blocked()
        assert len(opened) == 2, "the second edge of the batch found its relay closed"
        for each in joined:
            each.owner.ended = each.owner.ended or ("nobody", "knows")
        for sock in opened:
            sock.close()
