"""Test fixture for connections: a fake splicer that records its calls, a pool, and a listener."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter

import attrs
import trio
import trio.testing

from healthcheck.result import CheckResult
from lb.events import ConnectionClosed, Fault
from lb.model import HealthSpec, PoolSpec, ServerSpec
from lb.model.address import Address
from lb.net.deadlines import Deadlines
from lb.net.descriptors import Descriptors
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.listener import Listener, Pressure
from lb.relay.splicer import TIMEOUTS
from tests.support.specs import listener_spec
from tests.support.strategy_driver import finish

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
NO_SUCH_SOCKET = FileNotFoundError(errno.ENOENT, "no such file")


class FakeSocket:
    """A socket that records options and closes."""

    family = socket.AF_INET

    def __init__(self):
        self.closed = 0
        self.options = []

    def fileno(self):
        return -1 if self.closed else 1000

    def setsockopt(self, *option):
        self.options.append(option)

    @property
    def reset(self):
        return any(option[1] == socket.SO_LINGER for option in self.options)

    def close(self):
        self.closed += 1


@attrs.define(eq=False)
class FakeConnecting:
    target: object
    owner: object
    open: bool = True

    def succeed(self):
        self.open = False
        self.owner.connected(FakeSocket())

    def fail(self, number=errno.ECONNREFUSED):
        self.open = False
        self.owner.connect_failed(OSError(number, os.strerror(number)))

    def cancel(self):
        assert self.open
        self.open = False


@attrs.define(eq=False)
class FakeRelay:
    client: FakeSocket
    owner: object
    idle: object
    half_close: object
    first_byte: object
    bytes_in: int = 0
    bytes_out: int = 0
    closed: str = ""
    """"" while open, then how it was closed."""

    def end(self, ended_by="client", reason="eof"):
        assert not self.closed
        self._leave("ended")
        self.owner.relay_ended(ended_by, reason)

    def expired(self, queue):
        self.end("lb", TIMEOUTS[queue.kind])

    def finish_first(self):
        """One side has finished: the half-close deadline applies."""
        self.idle.discard(self)
        self.half_close.enter(self, trio.current_time())

    def close(self, *, reset):
        assert not self.closed
        self._leave("reset" if reset else "closed")

    def _leave(self, how):
        self.closed = how
        self.idle.discard(self)
        self.half_close.discard(self)
        self.client.close()


class FakeHandshaking:
    """A handshake that proceeds every half second."""

    def __init__(self, sock, handshake, fault):
        self.sock = sock
        self.handshake = handshake
        self.fault = fault
        self.scope = trio.CancelScope()

    async def run(self):
        with self.scope:
            try:
                while not self.handshake.proceed():  # noqa: ASYNC110 - no event: the fake clock is one
                    await trio.sleep(0.5)
            except Exception as exception:  # noqa: BLE001 - as a splicer does
                self.fault("splicer", exception)
                self.handshake.failed()

    def cancel(self):
        self.scope.cancel()
        self.sock.close()


class FakeSplicer:
    """A splicer without sockets. ``failing`` maps a target to the error that its connect raises at once.

    Handshakes need a nursery.
    """

    def __init__(self, fault):
        self.fault = fault
        self.nursery = None
        self.failing = {}
        self.connects = []
        self.relays = []

    def connect(self, address, owner, outgoing=None):
        if address in self.failing:
            raise self.failing[address]
        self.connects.append(FakeConnecting(address, owner))
        return self.connects[-1]

    def handshake(self, sock, handshake):
        running = FakeHandshaking(sock, handshake, self.fault)
        self.nursery.start_soon(running.run)
        return running

    def relay(self, client, server, owner, *, idle, half_close, first_byte, client_tls, server_tls, bandwidth):
        self.relays.append(FakeRelay(client, owner, idle, half_close, first_byte))
        idle.enter(self.relays[-1], trio.current_time())
        return self.relays[-1]

    @property
    def under_way(self):
        return [connecting for connecting in self.connects if connecting.open]

    @property
    def joined(self):
        return [relay for relay in self.relays if not relay.closed]


class FakeDisconnects:
    """Reports a client as disconnected when a test calls :meth:`leave`."""

    def __init__(self):
        self.watched = {}

    async def run(self):
        """Nothing to do."""

    def watch(self, sock, waiting):
        assert sock not in self.watched
        assert not sock.closed
        self.watched[sock] = waiting

    def forget(self, sock):
        assert not sock.closed
        self.watched.pop(sock, None)

    def leave(self, sock, reason="eof"):
        self.watched.pop(sock).client_left(reason)


def target_of(name):
    return (socket.AF_INET, (name, 1))


class World:
    """A listener and a pool with single-letter server names, on a fake splicer."""

    def __init__(self, names="ab", *, listener=None, **pool):
        self.events = []
        self.sink = self.events.append
        self.splicer = FakeSplicer(self._fault)
        self.deadlines = Deadlines(fault=self._fault)
        self.descriptors = Descriptors(1000)
        self.disconnects = FakeDisconnects()
        self.context = ConnectionContext(
            splicer=self.splicer,
            descriptors=self.descriptors,
            deadlines=self.deadlines,
            disconnects=self.disconnects,
            sink=self.sink,
        )
        self.pool = Pool("web", self.sink, self._health_changed)
        self.clients = []
        self.reload(names, **pool)
        self.listener = Listener(
            listener_spec("front", (), "web", **(listener or {})),
            {"web": self.pool},
            pressure=Pressure(self.descriptors, self.deadlines, self.sink),
            context=self.context,
        )

    def _fault(self, where, exception):
        self.sink(Fault(where, exception))

    def _health_changed(self, pool, backend, change):
        pass

    def reload(self, names, *, weights=None, limits=None, **pool):
        """Reload the pool like the balancer. Return the removed servers."""
        servers = tuple(
            ServerSpec(
                name,
                Address(f"{name}:1", host=name, port=1),
                weight=(weights or {}).get(name, 1),
                max_connections=(limits or {}).get(name, 0),
            )
            for name in names
        )
        spec = PoolSpec("web", servers, **{"health": HealthSpec(rise=1, fall=1), **pool})
        targets = {server.address: (target_of(server.name),) for server in servers}
        return self.pool.apply(finish(self.pool.prepare(spec)), targets, trio.current_time())

    def accept(self, peer=("10.1.2.3", 5555)):
        client = FakeSocket()
        self.clients.append(client)
        self.listener._accepted(client, peer)
        return client

    def check(self, name, passed):
        self.pool.checked(self.pool.backends[name], CheckResult(passed, "as told", 1.0), trio.current_time())

    @property
    def open(self):
        """The connections, oldest first."""
        return sorted(self.context.open, key=lambda connection: connection.id)

    @property
    def records(self):
        return [event for event in self.events if isinstance(event, ConnectionClosed)]

    @property
    def record(self):
        """The only log record, after all connections have ended."""
        self.assert_all_is_given_back()
        (record,) = self.records
        return record

    def assert_leases_are_right(self):
        held = Counter(connection.backend for connection in self.context.open if connection.backend is not None)
        backends = {*self.pool.backends.values(), *self.pool.leaving.values(), *held}
        assert {backend: backend.active for backend in backends if backend.active} == dict(held)
        assert self.listener.active == len(self.context.open)
        assert self.descriptors.used == 2 * self.listener.active

    def assert_all_is_given_back(self):
        self.assert_leases_are_right()
        assert not self.context.open
        assert not self.pool.leaving
        assert not self.pool._wait_queue
        assert not self.disconnects.watched
        assert not self.splicer.under_way
        assert not self.splicer.joined
        assert all(len(queue) == 0 for queue in self.deadlines._queues.values())
        assert all(client.closed == 1 for client in self.clients)
        assert sorted(record.id for record in self.records) == list(range(1, len(self.clients) + 1))
        assert not [event for event in self.events if isinstance(event, Fault)]


def world_maker(nursery):
    """Return a function that makes a world with running deadlines."""

    def make(*args, **kwargs):
        world = World(*args, **kwargs)
        world.splicer.nursery = nursery
        nursery.start_soon(world.deadlines.run)
        return world

    return make
