"""Both splicers: the end of one side (EOF, reset, timeout) is forwarded to the other side."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from tests.support.balancer import PATIENCE
from tests.support.splicing import (
    MIB,
    in_order,
    read_all,
    read_until_reset,
    reset,
    running_splicer,
    send_until_blocked,
    send_until_held,
)

pytestmark = pytest.mark.usefixtures("splicer_kind")


@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_half_close_travels_and_cuts_nothing(first):
    async with running_splicer() as bench:
        joined = await bench.join()
        one, other = in_order(joined, first)
        await one.send_all(b"last words")
        await one.send_eof()
        assert (await read_all(other))[1] == 10
        for _ in range(3):  # the kernel repeats EPOLLRDHUP with each edge; it must not end the relay
            await other.send_all(b"answer" * 1000)
            await trio.testing.wait_all_tasks_blocked()
        await other.send_eof()
        assert (await read_all(one))[1] == 18_000
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == (first, "eof")


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_travels_as_a_reset(who):
    async with running_splicer() as bench:
        joined = await bench.join()
        one, other = in_order(joined, who)
        reset(one)
        await read_until_reset(other)
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == (who, "reset")


async def test_a_reset_after_the_answer_travels_as_a_reset():
    """The splicer may see the reset first in a read, or in a write of what the client still sends."""
    for _ in range(10):
        async with running_splicer() as bench:
            joined = await bench.join()
            await joined.server.send_all(b"answer")
            assert await joined.client.receive_some() == b"answer"
            await joined.client.send_all(b"more")
            reset(joined.server)
            await read_until_reset(joined.client)
            assert joined.owner.ended == ("server", "reset")


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_reaches_a_stalled_side_after_what_was_sent_before(who):
    async with running_splicer() as bench:
        joined = await bench.join(buffer=64 * 1024)
        one, other = in_order(joined, who)
        sent = await send_until_blocked(one)
        reset(one)
        await trio.testing.wait_all_tasks_blocked()
        received = await read_until_reset(other)
        assert 0 < len(received) <= sent
        assert joined.owner.ended == (who, "reset")


@pytest.mark.parametrize("first", ["client", "server"])
async def test_sides_that_are_reset_while_both_stall_are_both_noticed(first):
    """Neither direction can read any more, and both writes fail."""
    async with running_splicer() as bench:
        joined = await bench.join(buffer=64 * 1024)
        one, other = in_order(joined, first)
        await send_until_blocked(one)
        await send_until_blocked(other)
        reset(one)
        await trio.testing.wait_all_tasks_blocked()
        reset(other)
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == (first, "reset")


async def test_a_closed_reader_resets_the_writer():
    """The client closes while the server still sends: the server must get a reset."""
    async with running_splicer() as bench:
        joined = await bench.join()
        await joined.client.aclose()
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(PATIENCE):
            await joined.server.send_all(bytes(100 * MIB))
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == ("client", "reset")


async def test_a_request_arrives_whole_though_its_sender_takes_no_answer():
    """Writing the response fails while part of the request is unread. No byte of the request may be lost."""
    async with running_splicer() as bench:
        joined = await bench.join(buffer=4096)
        sent = await send_until_held(joined)
        await joined.client.aclose()
        await joined.server.send_all(b"answer")
        await trio.testing.wait_all_tasks_blocked()
        await joined.server.send_all(b"more of it")
        received = await read_until_reset(joined.server)
        assert joined.relay.bytes_in == sent
        assert len(received) <= sent
        assert joined.owner.ended == ("client", "reset")


async def test_closing_a_relay_with_reset_is_seen_as_a_reset_on_both_sides():
    async with running_splicer() as bench:
        joined = await bench.join()
        joined.relay.close(reset=True)
        await read_until_reset(joined.client)
        await read_until_reset(joined.server)
        assert joined.owner.ended is None
        bench.forget(joined)


async def test_the_owner_hears_nothing_after_it_has_closed_the_relay():
    """Even if bytes or the end arrive at the same time: trio wakes simultaneous tasks in any order."""
    for _ in range(10):
        witness, poke = socket.socketpair()
        with witness, poke:
            async with running_splicer() as bench:
                queue = bench.deadlines.queue("idle", 100)
                joined = [await bench.join(idle=100) for _ in range(4)]
                await trio.testing.wait_all_tasks_blocked()
                for number, each in enumerate(joined):
                    sock = each.client.socket._sock
                    sock.send(b"x")
                    if number % 2:
                        sock.shutdown(socket.SHUT_WR)
                        each.server.socket._sock.shutdown(socket.SHUT_WR)
                poke.send(b".")
                await trio.lowlevel.wait_readable(witness)
                closed = [each for each in joined if each.owner.ended is None]
                for each in closed:
                    each.relay.close(reset=False)
                await trio.testing.wait_all_tasks_blocked()
                assert len(queue) == 0
                for each in closed:
                    assert each.owner.ended is None
                    bench.forget(each)


async def test_idle_connections_expire_and_busy_ones_do_not(autojump_clock):
    async with running_splicer() as bench:
        quiet, busy = await bench.join(idle=30), await bench.join(idle=30)
        for _ in range(5):
            await busy.client.send_all(b".")
            assert await busy.server.receive_some() == b"."
            await trio.sleep(20)
        assert quiet.owner.ended == ("lb", "idle_timeout")
        assert (await read_all(quiet.client))[1] == 0
        await trio.sleep(9)
        assert busy.owner.ended is None
        await trio.sleep(2)
        assert busy.owner.ended == ("lb", "idle_timeout")


async def test_bytes_that_nobody_takes_are_no_sign_of_life(autojump_clock):
    """Idle with undelivered data: the relay ends with a reset, so that the truncated stream does not look complete."""
    async with running_splicer() as bench:
        joined = await bench.join(idle=30, buffer=64 * 1024)
        autojump_clock.autojump_threshold = 1
        await send_until_blocked(joined.server)
        autojump_clock.autojump_threshold = 0
        await trio.sleep(31)
        assert joined.owner.ended == ("lb", "idle_timeout")
        await read_until_reset(joined.client)


async def test_a_flowing_answer_is_never_cut_by_the_half_close_timeout(autojump_clock):
    async with running_splicer() as bench:
        joined = await bench.join(idle=1000, half_close=10)
        await joined.client.send_eof()
        assert await joined.server.receive_some() == b""
        for _ in range(8):
            await trio.sleep(9)
            await joined.server.send_all(b".")
            assert await joined.client.receive_some() == b"."
        assert joined.owner.ended is None
        await trio.sleep(11)
        assert joined.owner.ended == ("lb", "half_close_timeout")
