"""Relays whose client's bytes gather: they move at moments, and nothing else waits for those."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing

from lb.relay import epoll_gathering
from lb.relay.epoll_gathering import GatheringReads
from tests.support.balancer import PATIENCE
from tests.support.splicing import read_until_reset, reset, running_splicer

BEGINNING = bytes(64 * 1024)


class Moments:
    """Stands for the clock: a moment comes when the test says so."""

    def __init__(self):
        self.waited = 0
        self._next = trio.Event()

    async def gather(self):
        self.waited += 1
        await self._next.wait()

    async def come(self):
        before = self.waited
        self._next.set()
        self._next = trio.Event()
        await settled()
        return self.waited > before


@pytest.fixture
def moments(monkeypatch):
    found = Moments()
    monkeypatch.setattr(epoll_gathering, "gather", found.gather)
    return found


async def settled():
    await trio.testing.wait_all_tasks_blocked(0.02)  # the kernel's part is no task


async def receive(stream, count):
    received = b""
    with trio.fail_after(PATIENCE):
        while len(received) < count:
            received += await stream.receive_some(count - len(received))
    return received


def has_nothing(stream):
    with pytest.raises(BlockingIOError):
        stream.socket._sock.recv(1)
    return True


async def gathering(bench):
    """A relay that has begun."""
    joined = await bench.join()
    GatheringReads(bench.splicer.loop).add(joined.relay)
    return joined


async def gathered(bench, moments):
    """The same after its beginning."""
    joined = await gathering(bench)
    await joined.client.send_all(BEGINNING)
    assert await receive(joined.server, len(BEGINNING)) == BEGINNING
    await moments.come()
    return joined


async def test_the_beginning_waits_for_no_moment(moments):
    async with running_splicer() as bench:
        joined = await gathering(bench)
        for text in (b"connect", b"createStream", b"publish"):
            await joined.client.send_all(text)
            assert await receive(joined.server, len(text)) == text
            await joined.server.send_all(b"ok")
            assert await receive(joined.client, 2) == b"ok"


async def test_later_bytes_move_together_at_the_next_moment(moments):
    async with running_splicer() as bench:
        joined = await gathered(bench, moments)
        batches = bench.splicer.batches
        for number in range(10):
            await joined.client.send_all(b"%d" % number)
            await settled()
        assert has_nothing(joined.server)
        assert bench.splicer.batches == batches, "nothing has woken the loop"
        assert await moments.come()
        assert joined.server.socket._sock.recv(100) == b"0123456789"


async def test_many_bytes_wait_for_no_moment(moments):
    async with running_splicer() as bench:
        joined = await gathered(bench, moments)
        data = bytes(range(256)) * 1024
        async with trio.open_nursery() as nursery:
            nursery.start_soon(joined.client.send_all, data)
            early = await receive(joined.server, len(data) * 3 // 4)
            await moments.come()
            assert early + await receive(joined.server, len(data) - len(early)) == data


async def test_answers_wait_for_no_moment(moments):
    async with running_splicer() as bench:
        joined = await gathered(bench, moments)
        await joined.server.send_all(b"pong")
        assert await receive(joined.client, 4) == b"pong"


async def test_an_end_and_the_bytes_before_it_wait_for_no_moment(moments):
    async with running_splicer() as bench:
        joined = await gathered(bench, moments)
        await joined.client.send_all(b"the last")
        await joined.client.send_eof()
        assert await receive(joined.server, 8) == b"the last"
        assert await joined.server.receive_some(1) == b""
        await joined.server.send_eof()
        await joined.owner.until(lambda owner: owner.ended == ("client", "eof"))
        await moments.come()
        assert not await moments.come(), "no moment is awaited for nobody"
        await gathered(bench, moments)
        assert await moments.come()


async def test_a_reset_waits_for_no_moment(moments):
    async with running_splicer() as bench:
        joined = await gathered(bench, moments)
        reset(joined.client)
        assert await read_until_reset(joined.server) == b""
        await joined.owner.until(lambda owner: owner.ended == ("client", "reset"))


async def test_a_bug_in_one_relay_reaches_no_other(moments, monkeypatch):
    async with running_splicer() as bench:
        reads = GatheringReads(bench.splicer.loop)
        broken, fine = [await bench.join() for _ in range(2)]
        for joined in (broken, fine):
            reads.add(joined.relay)
            await joined.client.send_all(BEGINNING)
            await receive(joined.server, len(BEGINNING))
        await moments.come()
        side = broken.relay.client

        def pump(self):
            if self is side:
                raise OSError(errno.EIO, "a bug")
            return original(self)

        original = type(side).pump
        monkeypatch.setattr(type(side), "pump", pump)
        await fine.client.send_all(b"x")
        assert await moments.come()
        assert await receive(fine.server, 1) == b"x"
        assert broken.owner.ended == ("lb", "reset")
        assert [where for where, _ in bench.faults] == ["splicer"]
        bench.faults.clear()
        await fine.client.send_all(b"y")
        assert await moments.come()
        assert await receive(fine.server, 1) == b"y"
