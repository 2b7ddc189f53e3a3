"""Both splicers: a handshake on a socket before its relay: when it proceeds, and how it ends."""

from __future__ import annotations

import socket

import attrs
import pytest
import trio
import trio.testing

from tests.support.balancer import PATIENCE
from tests.support.splicing import connected_sockets, open_descriptors, running_splicer

pytestmark = pytest.mark.usefixtures("splicer_kind")


@attrs.define(eq=False)
class FakeHandshake:
    """Passes when it has read all of ``expected``. Takes the bytes, or leaves them in the socket."""

    sock: socket.socket
    expected: bytes
    leaves: bool = False
    costly: bool = False
    writing: bool = False
    unread: int = 0
    failure: Exception | None = None
    received: bytes = b""
    steps: list = attrs.field(factory=list)
    note: object = None
    over: trio.Event = attrs.field(factory=trio.Event)

    def proceed(self):
        self.steps.append(self.note() if self.note else None)
        if self.failure:
            raise self.failure
        try:
            data = self.sock.recv(100, socket.MSG_PEEK if self.leaves else 0)
        except BlockingIOError:
            return False
        self.received = data if self.leaves else self.received + data
        self.unread = len(data) if self.leaves else 0
        if not data or self.received == self.expected:
            self.over.set()
            return True
        return False

    def failed(self):
        self.over.set()


@pytest.fixture
def ends():
    with connected_sockets() as pair:
        yield pair


@pytest.mark.parametrize("leaves", [False, True])
async def test_it_proceeds_when_bytes_come_and_only_then(ends, leaves):
    ours, theirs = ends
    handshake = FakeHandshake(ours, b"hello", leaves)
    async with running_splicer() as bench:
        running = bench.splicer.handshake(ours, handshake)
        for piece in (b"he", b"l", b"lo"):
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert not handshake.over.is_set()
            theirs.send(piece)
        with trio.fail_after(PATIENCE):
            await handshake.over.wait()
        assert handshake.received == b"hello"
        assert len(handshake.steps) <= 4, "it was called without new bytes"
        running.cancel()


async def test_bytes_and_the_end_at_once_are_both_seen(ends):
    ours, theirs = ends
    theirs.send(b"hel")
    theirs.shutdown(socket.SHUT_WR)
    handshake = FakeHandshake(ours, b"hello")
    async with running_splicer() as bench:
        running = bench.splicer.handshake(ours, handshake)
        with trio.fail_after(PATIENCE):
            await handshake.over.wait()
        assert handshake.received == b"hel"
        running.cancel()


async def test_a_cancel_closes_the_socket_and_nothing_is_called_any_more(ends):
    ours, theirs = ends
    handshake = FakeHandshake(ours, b"hello")
    async with running_splicer() as bench:
        before = open_descriptors()
        running = bench.splicer.handshake(ours, handshake)
        await trio.testing.wait_all_tasks_blocked()
        running.cancel()
        assert open_descriptors() == before - 1
        steps = len(handshake.steps)
        assert theirs.recv(1) == b""
        await trio.testing.wait_all_tasks_blocked()
        assert len(handshake.steps) == steps


async def test_a_bug_ends_only_its_own(ends):
    ours, theirs = ends
    handshake = FakeHandshake(ours, b"hello", failure=ZeroDivisionError())
    async with running_splicer() as bench:
        running = bench.splicer.handshake(ours, handshake)
        theirs.send(b"x")
        with trio.fail_after(PATIENCE):
            await handshake.over.wait()
        ((where, fault),) = bench.faults
        assert (where, type(fault)) == ("splicer", ZeroDivisionError)
        bench.faults.clear()
        running.cancel()


@pytest.mark.parametrize("splicer_kind", ["epoll"], indirect=True)
@pytest.mark.parametrize("costly", [True, False])
async def test_other_sockets_are_served_between_two_steps(splicer_kind, monkeypatch, costly):
    """A turn has time for one step here. The batch of each step shows that the loop has polled since the one before."""
    epoll_loop = pytest.importorskip("lb.relay.epoll_loop", exc_type=AssertionError)
    monkeypatch.setattr(epoll_loop, "HANDSHAKE_TURN", 0)
    steps = []
    async with running_splicer() as bench:
        pairs = [socket.socketpair() for _ in range(20)]
        running = []
        for ours, theirs in pairs:
            ours.setblocking(False)
            theirs.send(b"hello")
            handshake = FakeHandshake(ours, b"hello", costly=costly, steps=steps, note=lambda: bench.splicer.batches)
            running.append((bench.splicer.handshake(ours, handshake), handshake))
        for each, handshake in running:
            with trio.fail_after(PATIENCE):
                await handshake.over.wait()
            each.cancel()
        for _, theirs in pairs:
            theirs.close()
    assert len(steps) == len(set(steps)) == 20


@pytest.mark.parametrize("splicer_kind", ["epoll"], indirect=True)
async def test_costly_steps_that_wait_are_counted_and_bounded(splicer_kind, monkeypatch):
    """At the bound the splicer is crowded, until half of the steps are done."""
    epoll_loop = pytest.importorskip("lb.relay.epoll_loop", exc_type=AssertionError)
    monkeypatch.setattr(epoll_loop, "HANDSHAKE_TURN", 0)
    monkeypatch.setattr(epoll_loop, "MOST_COSTLY", 10)
    async with running_splicer() as bench:
        waiting, left = [], []
        bench.splicer.when_few_costly(lambda: left.append((bench.splicer.costly_waiting, bench.splicer.crowded)))

        def note():
            waiting.append((bench.splicer.costly_waiting, bench.splicer.crowded))

        pairs = [socket.socketpair() for _ in range(12)]
        for ours, theirs in pairs:
            ours.setblocking(False)
            theirs.send(b"hello")
        handshakes = [FakeHandshake(ours, b"hello", costly=True, note=note) for ours, _ in pairs]
        running = [bench.splicer.handshake(each.sock, each) for each in handshakes]
        for handshake in handshakes:
            with trio.fail_after(PATIENCE):
                await handshake.over.wait()
        assert waiting == [(count, count >= 5) for count in range(11, -1, -1)]
        assert left == [(5, False)]
        for each, (_, theirs) in zip(running, pairs, strict=True):
            each.cancel()
            theirs.close()
