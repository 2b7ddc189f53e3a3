"""Clients that leave while they wait, over real sockets."""

from __future__ import annotations

import socket
import sys

import pytest
import trio

from lb.splicing.departures import Departures
from lb.splicing.splicer import end_with_reset
from tests.balancer import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no epoll here")


class Waiting:
    """What it has heard."""

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
async def departures(nursery):
    faults = []
    departures = Departures(lambda where, exception: faults.append(exception))
    departures.faults = faults
    nursery.start_soon(departures.run)
    yield departures
    assert not departures._waiting


@pytest.fixture(params=[tcp_pair, unix_pair])
def pair(request):
    ours, theirs = request.param()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def anybody_leaves(departures):
    """Wait until a client that has come last is seen to leave: whatever came before it has been seen, too."""
    ours, theirs = unix_pair()
    with ours:
        departures.watch(ours, last := Waiting())
        theirs.close()
        await last.heard()


async def test_a_client_that_closes_has_left(departures, pair):
    ours, theirs = pair
    departures.watch(ours, waiting := Waiting())
    await anybody_leaves(departures)
    assert not waiting.reasons
    theirs.close()
    assert await waiting.heard() == ["eof"]


async def test_one_that_had_left_before_is_seen_as_well(departures, pair):
    ours, theirs = pair
    theirs.close()
    departures.watch(ours, waiting := Waiting())
    assert await waiting.heard() == ["eof"]


async def test_a_client_that_has_sent_something_and_finished_still_waits(departures, pair):
    ours, theirs = pair
    departures.watch(ours, waiting := Waiting())
    theirs.send(b"question")
    theirs.shutdown(socket.SHUT_WR)
    await anybody_leaves(departures)
    assert not waiting.reasons
    departures.forget(ours)
    assert ours.recv(100) == b"question", "nothing is read"


@pytest.mark.parametrize("finished", [False, True])
async def test_a_reset_is_seen_whatever_was_sent(departures, finished):
    ours, theirs = tcp_pair()
    with ours:
        departures.watch(ours, waiting := Waiting())
        theirs.send(b"question")
        if finished:
            theirs.shutdown(socket.SHUT_WR)
            await anybody_leaves(departures)
            assert not waiting.reasons
        end_with_reset(theirs)
        theirs.close()
        assert await waiting.heard() == ["reset"]


async def test_a_unix_client_that_closes_has_left_whatever_it_sent(departures):
    ours, theirs = unix_pair()
    with ours:
        departures.watch(ours, waiting := Waiting())
        theirs.send(b"question")
        theirs.close()
        assert await waiting.heard() == ["eof"]


async def test_who_is_forgotten_is_not_told(departures, pair):
    ours, theirs = pair
    departures.watch(ours, waiting := Waiting())
    departures.forget(ours)
    departures.forget(ours)
    theirs.close()
    await anybody_leaves(departures)
    assert not waiting.reasons


async def test_a_bug_in_one_does_not_reach_the_others(departures, pair):
    ours, theirs = pair

    class Broken:
        def client_left(self, reason):
            raise ValueError(reason)

    departures.watch(ours, Broken())
    theirs.close()
    await anybody_leaves(departures)
    assert [str(fault) for fault in departures.faults] == ["eof"]
