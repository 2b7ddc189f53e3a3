"""Listeners: limits, sockets, and descriptor shortage."""

from __future__ import annotations

import errno
import socket

import attrs
import pytest
import trio

from lb.events import AcceptPaused, AcceptResumed, ConnectionClosed
from lb.model import PoolSpec
from lb.model.address import Address
from lb.model.listener import ListeningSpec
from lb.net.deadlines import Deadlines
from lb.net.descriptors import Descriptors
from lb.net.disconnects import Disconnects
from lb.net.sockets import open_sockets
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.listener import Listener, Pressure
from tests.support.specs import listener_spec

ANYWHERE = Address.parse("127.0.0.1:0")
LISTENING = ListeningSpec(16)


class FakeAcceptor:
    """One listening socket; ``arrive`` adds clients."""

    def __init__(self, sock, may_accept, accepted, exhausted):
        self.sock = sock
        self.may_accept = may_accept
        self.accepted = accepted
        self.exhausted = exhausted
        self.backlog = 0
        self.resumed = 0
        self.state = "open"

    def arrive(self, count=1):
        self.backlog += count
        self._accept()

    def _accept(self):
        while self.backlog and self.may_accept():
            self.backlog -= 1
            ours, theirs = socket.socketpair()
            theirs.close()
            self.accepted(ours, ("10.1.2.3", 5555))

    def resume(self):
        self.resumed += 1
        self._accept()

    def detach(self):
        self.state = "detached"


class FakeConnecting:
    def cancel(self):
        pass


class FakeSplicer:
    """Its connects never finish."""

    def __init__(self):
        self.acceptors = []
        self.crowded, self.costly_waiting = False, 0

    def listen(self, sock, *, may_accept, accepted, exhausted):
        self.acceptors.append(FakeAcceptor(sock, may_accept, accepted, exhausted))
        return self.acceptors[-1]

    def connect(self, address, owner):
        return FakeConnecting()


class World:
    """Listeners of one pool with one server, over a fake splicer."""

    def __init__(self, limit=1000):
        self.events = []
        self.splicer = FakeSplicer()
        self.deadlines = Deadlines(fault=lambda where, exception: None)
        self.descriptors = Descriptors(limit)
        self.pressure = Pressure(self.descriptors, self.deadlines, self.events.append)
        self.context = ConnectionContext(
            splicer=self.splicer,
            descriptors=self.descriptors,
            deadlines=self.deadlines,
            disconnects=Disconnects(lambda where, exception: None),
            sink=self.events.append,
        )
        self.pool = Pool("web", self.events.append, lambda pool, backend, change: None)
        self.listeners = []

    def listen(self, name="web", *addresses, sockets=None, **spec):
        listener = Listener(
            listener_spec(name, addresses or (ANYWHERE,), "web", **spec),
            {"web": self.pool},
            pressure=self.pressure,
            context=self.context,
        )
        for address in addresses or (ANYWHERE,):
            listener.open(address, open_sockets(address, LISTENING))
        self.listeners.append(listener)
        return listener, self.splicer.acceptors[-1]

    def close(self):
        for connection in list(self.context.open):
            connection.close("stopped")
        for listener in self.listeners:
            for address in tuple(listener.bound):
                listener.close(address)
        for acceptor in self.splicer.acceptors:
            acceptor.sock.close()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def world():
    world = World()
    hold(world)
    yield world
    world.close()


def hold(world):
    """Hold connections, so that they stay open until the test ends them."""
    (*_, prepared) = finished(world.pool.prepare(PoolSpec("web", when_all_down="hold")))
    world.pool.apply(prepared, {}, 0.0)


def finished(generator):
    slices = []
    while True:
        try:
            slices.append(next(generator))
        except StopIteration as done:
            return [*slices, done.value]


def end_one(world):
    min(world.context.open, key=lambda connection: connection.id).close("stopped")


# Limits


async def test_connections_are_counted(world):
    listener, acceptor = world.listen()
    acceptor.arrive(3)
    assert (listener.active, listener.total, world.descriptors.used) == (3, 3, 6)
    end_one(world)
    assert (listener.active, listener.total, world.descriptors.used) == (2, 3, 4)


async def test_above_max_connections_clients_wait_in_the_backlog(world):
    listener, acceptor = world.listen(max_connections=2)
    acceptor.arrive(4)
    assert (listener.active, acceptor.backlog) == (2, 2)
    end_one(world)
    assert (listener.active, acceptor.backlog) == (2, 1)
    end_one(world)
    assert (listener.active, acceptor.backlog) == (2, 0)
    end_one(world)
    end_one(world)
    assert (listener.active, acceptor.backlog) == (0, 0)
    assert not world.of(AcceptPaused), "a configured limit is no shortage"


async def test_a_reload_that_lifts_the_limit_lets_clients_in(world):
    listener, acceptor = world.listen(max_connections=1)
    acceptor.arrive(3)
    listener.configure(listener_spec("web", (ANYWHERE,), "web", max_connections=0), {"web": world.pool})
    assert (listener.active, acceptor.backlog) == (3, 0)


def pressure_events(world):
    return [type(event) for event in world.events if isinstance(event, AcceptPaused | AcceptResumed)]


async def test_without_descriptors_for_both_sides_all_listeners_pause_and_say_so_once(autojump_clock, nursery):
    world = World(limit=5)
    nursery.start_soon(world.deadlines.run)
    hold(world)
    (one, first), (other, second) = world.listen("one"), world.listen("other")
    first.arrive(3)
    second.arrive(2)
    assert (one.active, other.active, world.descriptors.used) == (2, 0, 4)
    assert len(world.of(AcceptPaused)) == 1
    assert "5 file descriptors" in world.of(AcceptPaused)[0].reason
    await trio.sleep(10)
    assert pressure_events(world) == [AcceptPaused], "the shortage lasts while no client can be accepted"
    while world.context.open:
        assert world.descriptors.used <= 5
        end_one(world)
    assert (first.backlog, second.backlog) == (0, 0)
    assert (one.total, other.total) == (3, 2)
    await trio.sleep(10)
    assert pressure_events(world) == [AcceptPaused, AcceptResumed]
    world.close()


async def test_out_of_descriptors_in_the_system_is_said_once_per_pause(autojump_clock, nursery):
    world = World()
    nursery.start_soon(world.deadlines.run)
    _, acceptor = world.listen()
    for _ in range(5):
        acceptor.exhausted(OSError(errno.EMFILE, "x"))
        acceptor.arrive()
        await trio.sleep(0.5)
    assert world.of(AcceptPaused) == [AcceptPaused("out of file descriptors")]
    assert not world.of(AcceptResumed), "one accepted client between two shortages does not end them"
    await trio.sleep(1)
    assert world.of(AcceptResumed) == [AcceptResumed()]
    acceptor.exhausted(OSError(errno.ENFILE, "x"))
    assert len(world.of(AcceptPaused)) == 2
    world.close()


async def test_pressure_forgets_a_listener_that_is_closed():
    world = World(limit=2)
    hold(world)
    listener, acceptor = world.listen()
    acceptor.arrive(2)
    listener.close(ANYWHERE)
    resumed = acceptor.resumed
    end_one(world)
    assert acceptor.resumed == resumed
    world.close()


# Sockets


async def test_a_listener_that_is_closed_listens_no_more(world):
    listener, acceptor = world.listen()
    assert listener.close(ANYWHERE) == [acceptor], "to be finished"
    assert not listener.bound


async def test_open_connections_outlive_their_listener(world):
    listener, acceptor = world.listen()
    acceptor.arrive()
    listener.close(ANYWHERE)
    assert not world.of(ConnectionClosed)
    assert listener.active == 1
    end_one(world)
    assert listener.active == 0


async def test_a_socket_that_is_handed_over_goes_on_listening(world):
    listener, acceptor = world.listen()
    sockets = listener.hand_over(ANYWHERE)
    assert acceptor.state == "detached"
    assert sockets == [acceptor.sock]
    socket.create_connection(sockets[0].getsockname()).close()
    other, _ = world.listen("other", Address.parse("127.0.0.2:0"))
    other.open(ANYWHERE, sockets)
    assert other.bound[ANYWHERE] == sockets


async def test_while_too_many_tls_handshakes_wait_new_clients_do_so_in_the_backlog(world):
    listener, acceptor = world.listen()
    plain, other = world.listen("plain")
    listener.spec = attrs.evolve(listener.spec, tls=object())
    world.splicer.crowded, world.splicer.costly_waiting = True, 1024
    acceptor.arrive(2)
    acceptor.arrive(2)
    other.arrive(2)
    assert (listener.active, plain.active) == (0, 2)
    assert world.of(AcceptPaused) == [AcceptPaused("1024 TLS handshakes are waiting", None)]
    world.splicer.crowded = False
    listener.resume()
    assert listener.active == 4
