"""A server's HTTP/2 connection in a loop that only takes notes."""

from __future__ import annotations

import socket
from types import SimpleNamespace

from lb.http.http2_server import Http2Server
from lb.http.shared_connections import SharedConnections
from lb.http1.response_head import ResponseHeads
from lb.net.deadlines import DeadlineQueue
from lb.net.descriptors import Descriptors


class Loop:
    def __init__(self):
        self.turn = SimpleNamespace(now=0.0, budget=1 << 20)
        self.closed = []

    def later(self, handler):
        """Nothing goes on by itself."""

    queue = later

    def refresh(self):
        """The time is what a test says."""

    def close(self, sock):
        sock.close()
        self.closed.append(sock)


class Backend:
    spec = SimpleNamespace(address="a")
    leaving = False


class Exchange:
    """Gives its stream up when the response does not come."""

    max_header = 32768

    def __init__(self, carrier):
        self.carrier = carrier

    def response_timed_out(self):
        self.carrier.end()
        self.carrier.close_socket(reset=True)


class World:
    def __init__(self, *, keep_alive=2):
        self.loop = Loop()
        self.response_queue, self.kept_queue = DeadlineQueue("response", 10), DeadlineQueue("kept", 60)
        http = SimpleNamespace(max_streams=100, keep_alive=keep_alive)
        spec = SimpleNamespace(tls=None, http=http)
        settings = SimpleNamespace(
            pool=SimpleNamespace(spec=spec),
            heads=ResponseHeads(),
            response_queue=self.response_queue,
            kept_queue=self.kept_queue,
            keepalive_options=(),
        )
        self.descriptors = Descriptors(10)
        self.shared = SharedConnections(self.descriptors, lambda where, error: None)
        self.backend = Backend()
        self.peer, sock = socket.socketpair()
        sock.setblocking(False)
        self.connection = Http2Server(self.loop, sock, None, 0, self.backend, settings, self.shared)
        self.shared.add(self.connection)

    def close(self):
        self.connection.close_socket()
        self.peer.close()

    def ask(self):
        carrier = self.connection.new_carrier()
        exchange = Exchange(carrier)
        carrier.begin(exchange, SimpleNamespace(method=b"GET"), b"", b"", ended=True)
        carrier.waiting_since = self.loop.turn.now
        return carrier


def test_a_connection_that_ends_with_a_response_that_is_late_leaves_all_queues():
    world = World()
    world.loop.turn.now = 1.0
    world.ask()
    world.loop.turn.now = 12.0
    wait = world.response_queue.pop_due(12.0)
    assert wait is world.connection
    wait.expired(world.response_queue)
    assert world.connection.closed
    assert (len(world.response_queue), len(world.kept_queue), world.descriptors.used) == (0, 0, 0)
    assert len(world.loop.closed) == 1
    world.close()


def test_short_pieces_of_a_body_that_nobody_reads_are_joined():
    world = World()
    carrier = world.ask()
    for number in range(10_000):
        carrier.data_received(memoryview(b"%04d" % number), ended=False)
    assert len(carrier._inbound) <= 10
    carrier._responded = True
    assert carrier.read(1 << 20) == b"".join(b"%04d" % number for number in range(10_000))
    world.close()
