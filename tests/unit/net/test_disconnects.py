"""Clients that disconnect while they wait, on real sockets."""

from __future__ import annotations

import socket
import sys

import pytest
import trio

from lb.net.disconnects import Disconnects
from lb.net.tcp import end_with_reset
from tests.support.balancer import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll needs Linux")


class Waiting:
    """Records its calls."""

    def __init__(self):
        self.reasons = []
        self._heard = trio.Event()

    def client_left(self, reason):
        self.reasons.append(reason)
        self._heard.set()

    async def heard(self):
        with trio.fail_after(PATIENCE):
            await self._heard.wait()
        return self.reasons


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        return listening.accept()[0], theirs


def unix_pair():
    return socket.socketpair()


@pytest.fixture
async def disconnects(nursery):
    faults = []
    disconnects = Disconnects(lambda where, exception: faults.append(exception))
    disconnects.faults = faults
    nursery.start_soon(disconnects.run)
    yield disconnects
    assert not disconnects._waiting


@pytest.fixture(params=[tcp_pair, unix_pair])
def pair(request):
    ours, theirs = request.param()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def anybody_leaves(disconnects):
    """Let another client leave and wait until that is detected. All earlier events have been detected then, too."""
    ours, theirs = unix_pair()
    with ours:
        disconnects.watch(ours, last := Waiting())
        theirs.close()
        await last.heard()


async def test_a_client_that_closes_has_left(disconnects, pair):
    ours, theirs = pair
    disconnects.watch(ours, waiting := Waiting())
    await anybody_leaves(disconnects)
    assert not waiting.reasons
    theirs.close()
    assert await waiting.heard() == ["eof"]


async def test_one_that_had_left_before_is_seen_as_well(disconnects, pair):
    ours, theirs = pair
    theirs.close()
    disconnects.watch(ours, waiting := Waiting())
    assert await waiting.heard() == ["eof"]


async def test_a_client_that_has_sent_something_and_finished_still_waits(disconnects, pair):
    ours, theirs = pair
    disconnects.watch(ours, waiting := Waiting())
    theirs.send(b"question")
    theirs.shutdown(socket.SHUT_WR)
    await anybody_leaves(disconnects)
    assert not waiting.reasons
    disconnects.forget(ours)
    assert ours.recv(100) == b"question", "nothing is read"


@pytest.mark.parametrize("finished", [False, True])
async def test_a_reset_is_seen_whatever_was_sent(disconnects, finished):
    ours, theirs = tcp_pair()
    with ours:
        disconnects.watch(ours, waiting := Waiting())
        theirs.send(b"question")
        if finished:
            theirs.shutdown(socket.SHUT_WR)
            await anybody_leaves(disconnects)
            assert not waiting.reasons
        end_with_reset(theirs)
        theirs.close()
        assert await waiting.heard() == ["reset"]


async def test_a_unix_client_that_closes_has_left_whatever_it_sent(disconnects):
    ours, theirs = unix_pair()
    with ours:
        disconnects.watch(ours, waiting := Waiting())
        theirs.send(b"question")
        theirs.close()
        assert await waiting.heard() == ["eof"]


async def test_who_is_forgotten_is_not_told(disconnects, pair):
    ours, theirs = pair
    disconnects.watch(ours, waiting := Waiting())
    disconnects.forget(ours)
    disconnects.forget(ours)
    theirs.close()
    await anybody_leaves(disconnects)
    assert not waiting.reasons


async def test_a_bug_in_one_does_not_reach_the_others(disconnects, pair):
    ours, theirs = pair

    class Broken:
        def client_left(self, reason):
            raise ValueError(reason)

    disconnects.watch(ours, Broken())
    theirs.close()
    await anybody_leaves(disconnects)
    assert [str(fault) for fault in disconnects.faults] == ["eof"]
