"""The channel between the supervisor and a worker: delivery, and loss when the peer is gone."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import example, given

from lb.net import channel
from lb.net.channel import Channel, ChannelFullError, encode
from tests.support.balancer import PATIENCE
from tests.support.processes import open_files


def pair(nursery, stack):
    """Return both ends of a channel."""
    ends = [Channel(sock) for sock in socket.socketpair()]
    for end in ends:
        stack.callback(end.close)
        nursery.start_soon(end.run)
    return ends


@given(st.lists(st.tuples(st.integers(0, 300_000), st.sampled_from([0, 0, 1, 2, 5])), max_size=8))
@example([(10, 600), (0, 251), (200_000, 3)])
def test_messages_arrive_whole_in_order_and_with_their_own_descriptors(messages):
    async def play():
        with ExitStack() as stack:
            async with trio.open_nursery() as nursery:
                ours, theirs = pair(nursery, stack)
                for number, (size, count) in enumerate(messages):
                    fds = [os.memfd_create(f"{number}") for _ in range(count)]
                    for each, fd in enumerate(fds):
                        os.write(fd, f"{number}.{each}".encode())
                    ours.send(encode((number, bytes(size))), fds)
                    for fd in fds:
                        os.close(fd)  # the channel sends duplicates
                for number, (size, count) in enumerate(messages):
                    message, fds = await theirs.receive()
                    assert message == (number, bytes(size))
                    assert [os.pread(fd, 20, 0) for fd in fds] == [f"{number}.{each}".encode() for each in range(count)]
                    for fd in fds:
                        assert not os.get_inheritable(fd)
                        os.close(fd)
                await ours.all_sent()
                nursery.cancel_scope.cancel()

    before = open_files()
    trio.run(play)
    assert open_files() == before


async def test_the_end_of_the_other_side_is_no_error_and_forgets_what_was_queued():
    before = open_files()
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            ours, theirs = pair(nursery, stack)
            for _ in range(50):
                ours.send(encode(bytes(100_000)), [0])
            _, (fd,) = await theirs.receive()
            os.close(fd)
            theirs.close()
            with trio.fail_after(PATIENCE):
                await ours.all_sent()
                assert await ours.receive() is None
            ours.send(encode("to nobody"), [0])
            nursery.cancel_scope.cancel()
    assert open_files() == before


async def test_a_message_that_was_cut_off_is_none():
    ours, theirs = socket.socketpair()
    end = Channel(theirs)
    with ours:
        ours.send(channel.HEADER.pack(100, 0) + bytes(50))
    assert await end.receive() is None
    end.close()


async def test_who_does_not_read_is_told_of_and_costs_no_waiting(monkeypatch):
    monkeypatch.setattr(channel, "MOST_QUEUED", 1_000_000)
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            ours, _ = pair(nursery, stack)
            for _ in range(10):
                ours.send(encode(bytes(100_000)))
            with pytest.raises(ChannelFullError):
                ours.send(encode("one more"))
            nursery.cancel_scope.cancel()
