"""The fast splicer, turn by turn: bulk does not delay other connections, and is not starved itself."""

from __future__ import annotations

import errno
import itertools
import select
import socket
import sys

import pytest
import trio.testing

from tests.support.splicing import MIB, Owner, listening_socket, running_splicer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fast splicer is for Linux")


def raw(stream):
    return stream.socket._sock


def fill(stream, most=64 * MIB):
    """Write at most ``most`` bytes, or until the kernel accepts no more."""
    sent = 0
    try:
        while sent < most:
            sent += raw(stream).send(bytes(min(MIB, most - sent)))
    except BlockingIOError:
        pass


def drain(stream):
    """Read all available bytes. Return their number."""
    received = 0
    try:
        while data := raw(stream).recv(MIB):
            received += len(data)
    except BlockingIOError:
        pass
    return received


async def several(bench, count, **options):
    joined = [await bench.join(**options) for _ in range(count)]
    await trio.testing.wait_all_tasks_blocked()
    return joined


def can_move(side):
    """Return whether the kernel has bytes of this side and room at its peer. A busy machine delivers late."""
    readable, writable, _ = select.select([side.sock], [side.peer.sock], [], 0)
    return bool(readable and writable)


@pytest.mark.parametrize("to_client", [True, False])
async def test_small_messages_do_not_use_up_what_a_stream_may_move(to_client):
    source, target = ("server", "client") if to_client else ("client", "server")
    async with running_splicer(dedicated=True) as bench:
        (stream,) = await several(bench, 1)
        talkers = await several(bench, 60)
        side = getattr(stream.relay, source)
        starved = []
        for turn in range(45):
            fill(getattr(stream, source))
            if turn >= 5:
                for each in talkers:
                    fill(getattr(each, source), 31 * 1024)
            could, before = can_move(side), side.moved
            bench.splicer._loop._take_turn()
            starved.append(could and side.moved == before)
            drain(getattr(stream, target))
            for each in talkers:
                drain(getattr(each, target))
        assert (True, True) not in itertools.pairwise(starved[5:])


async def test_streams_take_turns_whatever_edges_they_get():
    async with running_splicer(dedicated=True) as bench:
        streams = await several(bench, 12)
        moved = []
        for _ in range(100):
            for each in streams:
                fill(each.server)
            bench.splicer._loop._take_turn()
            moved.append([drain(each.client) for each in streams])
        for stream in zip(*moved, strict=True):
            longest, wait = 0, 0
            for count in stream:
                wait = 0 if count else wait + 1
                longest = max(longest, wait)
            assert longest <= 2 * len(streams)


async def test_a_small_answer_with_its_end_does_not_wait_behind_streams():
    """The same edge announces the end, so the side reads until EAGAIN. That does not make it a bulk stream."""
    async with running_splicer(dedicated=True) as bench:
        streams = await several(bench, 12, buffer=300_000)
        small = await several(bench, 20)

        def keep_streams_busy():
            for each in streams:
                fill(each.server)
                drain(each.client)

        for _ in range(60):
            keep_streams_busy()
            bench.splicer._loop._take_turn()
        for each in small:
            keep_streams_busy()
            raw(each.server).send(b"answer")
            raw(each.server).shutdown(socket.SHUT_WR)
            bench.splicer._loop._take_turn()
            assert raw(each.client).recv(100) == b"answer"


async def test_a_relay_that_cannot_be_watched_is_forgotten(monkeypatch):
    """The kernel limits the number of watches, epoll(7). The owner gets ``connect_failed`` and no further call."""
    async with running_splicer() as bench:
        watch = bench.splicer._loop.watch
        watched = []

        def failing(fd, handler):
            watched.append(fd)
            if len(watched) == 2:
                raise OSError(errno.ENOSPC, "no more watches")
            watch(fd, handler)

        monkeypatch.setattr(bench.splicer._loop, "watch", failing)
        idle, half_close = bench.deadlines.queue("idle", 1000), bench.deadlines.queue("half_close", 1000)
        with listening_socket() as front, listening_socket() as back:
            outer = socket.create_connection(front.getsockname())
            accepted, _ = front.accept()
            accepted.setblocking(False)
            with outer, accepted:
                owner = Owner(
                    lambda server, owner: bench.splicer.relay(
                        accepted, server, owner, idle=idle, half_close=half_close, first_byte=None
                    )
                )
                bench.splicer.connect((back.family, back.getsockname()), owner)
                await owner.until(lambda owner: owner.error)
                assert len(idle) == 0
                assert owner.ended is None
                assert accepted.fileno() != -1
        ((_, exception),) = bench.faults
        bench.faults.clear()
        assert isinstance(exception, OSError)
