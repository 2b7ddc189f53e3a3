"""Both splicers: accept clients, and handle errors of accept."""

from __future__ import annotations

import errno
import itertools
import socket

import pytest
import trio
import trio.testing

from lb.relay.splicer import ACCEPTS
from tests.support.splicing import running_splicer

pytestmark = pytest.mark.usefixtures("splicer_kind")


class Listening(socket.socket):
    """A listening socket whose accept first raises each of ``errors``."""

    def __init__(self):
        super().__init__()
        self.errors = []
        self.calls = 0
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.setblocking(False)

    def _accept(self):
        self.calls += 1
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, "as the test wants it")
        return super()._accept()


class Clients:
    """Listens on a splicer and keeps the accepted clients and errors."""

    def __init__(self, bench, listening):
        self.accepted = []
        self.exhausted = []
        self.allowed = 1000
        self.acceptor = bench.splicer.listen(
            listening,
            may_accept=lambda: len(self.accepted) < self.allowed,
            accepted=lambda sock, peer: self.accepted.append(sock),
            exhausted=self.exhausted.append,
        )

    def close(self):
        for sock in self.accepted:
            sock.close()


@pytest.fixture
async def bench(splicer_kind):
    async with running_splicer() as bench:
        yield bench


@pytest.fixture
async def accepting(bench):
    """A listening splicer with its clients; all sockets are closed at the end."""
    with Listening() as listening:
        clients = Clients(bench, listening)
        yield listening, clients
        await clients.acceptor.finish()
        clients.close()


def knock(listening, times=1):
    return [socket.create_connection(listening.getsockname()) for _ in range(times)]


def hang_up(callers):
    for caller in callers:
        caller.close()


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN])
async def test_a_client_that_is_gone_before_it_is_accepted_costs_nothing(autojump_clock, accepting, number):
    listening, clients = accepting
    listening.errors = [number] * 3
    start = trio.current_time()
    callers = knock(listening, 2)
    await trio.testing.wait_all_tasks_blocked()
    assert len(clients.accepted) == 2
    assert clients.exhausted == []
    assert trio.current_time() == start, "no pause"
    hang_up(callers)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_out_of_descriptors_pauses_and_goes_on_by_itself(autojump_clock, accepting, number):
    listening, clients = accepting
    listening.errors = [number] * 10
    callers = knock(listening, 3)
    start = trio.current_time()
    await trio.sleep(5)
    assert len(clients.accepted) == 3
    assert [error.errno for error in clients.exhausted] == [number] * 10
    assert listening.calls <= 10 + 3 + 1
    assert trio.current_time() - start >= 10 * 0.1, "a pause after each"
    hang_up(callers)


async def test_an_unknown_accept_error_is_a_fault_and_the_listener_goes_on(autojump_clock, bench, accepting):
    listening, clients = accepting
    listening.errors = [errno.EBADE] * 2
    callers = knock(listening)
    await trio.sleep(5)
    assert [exception.errno for _, exception in bench.faults] == [errno.EBADE] * 2
    bench.faults.clear()
    assert len(clients.accepted) == 1
    hang_up(callers)


async def test_a_client_that_cannot_be_taken_in_is_a_fault_and_the_listener_goes_on(autojump_clock, bench):
    taken = []

    def accepted(sock, peer):
        taken.append(sock)
        if len(taken) == 1:
            raise RuntimeError("boom")

    with Listening() as listening:
        acceptor = bench.splicer.listen(
            listening, may_accept=lambda: True, accepted=accepted, exhausted=lambda error: None
        )
        callers = knock(listening, 2)
        await trio.sleep(5)
        assert [str(exception) for _, exception in bench.faults] == ["boom"]
        bench.faults.clear()
        assert len(taken) == 2
        await acceptor.finish()
        hang_up(callers + taken)


async def test_clients_wait_in_the_backlog_until_they_may_be_accepted(accepting):
    listening, clients = accepting
    clients.allowed = 1
    callers = knock(listening, 3)
    await trio.testing.wait_all_tasks_blocked()
    assert len(clients.accepted) == 1
    clients.allowed = 2
    clients.acceptor.resume()
    await trio.testing.wait_all_tasks_blocked()
    assert len(clients.accepted) == 2
    clients.allowed = 3
    clients.acceptor.resume()
    await trio.testing.wait_all_tasks_blocked()
    assert len(clients.accepted) == 3
    hang_up(callers)


async def test_closing_takes_the_clients_in_that_wait(bench):
    with Listening() as listening:
        clients = Clients(bench, listening)
        callers = knock(listening, 3)
        await clients.acceptor.finish()
        assert len(clients.accepted) == 3
        assert listening.fileno() != -1, "it is its owner's to close"
        clients.close()
        hang_up(callers)


async def test_closing_stops_at_what_may_be_accepted_and_survives_faults(bench):
    with Listening() as listening:
        clients = Clients(bench, listening)
        clients.allowed = 2
        callers = knock(listening, 5)
        await clients.acceptor.finish()
        assert len(clients.accepted) == 2
        clients.close()
        hang_up(callers)
    with Listening() as listening:
        clients = Clients(bench, listening)
        listening.errors = [errno.EBADE]
        callers = knock(listening)
        await clients.acceptor.finish()
        assert listening.fileno() != -1, "it is its owner's to close"
        assert [exception.errno for _, exception in bench.faults] == [errno.EBADE]
        bench.faults.clear()
        clients.close()
        hang_up(callers)


async def test_closing_serves_others_between_the_clients_that_wait(bench):
    """A listener closed with thousands of clients in its backlog: their accepts held the loop for half a second."""
    with Listening() as listening:
        clients = Clients(bench, listening)
        clients.acceptor.stand_aside()
        callers = knock(listening, 5 * ACCEPTS)
        turns = set()

        async def others():
            while True:
                turns.add(len(clients.accepted))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            await clients.acceptor.finish()
            nursery.cancel_scope.cancel()
        assert len(clients.accepted) == len(callers)
        steps = sorted(turns | {0, len(callers)})
        assert max(later - earlier for earlier, later in itertools.pairwise(steps)) <= 3 * ACCEPTS
        clients.close()
        hang_up(callers)


async def test_a_socket_that_is_let_go_serves_somebody_else(bench):
    for _ in range(8):  # the splicer's task and the test's become ready at the same time and run in any order
        witness, poke = socket.socketpair()
        with Listening() as listening, witness, poke:
            first = Clients(bench, listening)
            await trio.testing.wait_all_tasks_blocked()
            callers = knock(listening)
            poke.send(b".")
            await trio.lowlevel.wait_readable(witness)
            accepted_before = len(first.accepted)
            first.acceptor.detach()
            first.acceptor.resume()
            second = Clients(bench, listening)
            await trio.testing.wait_all_tasks_blocked()
            assert len(first.accepted) == accepted_before
            assert len(second.accepted) == 1 - accepted_before
            await second.acceptor.finish()
            first.close()
            second.close()
            hang_up(callers)
