"""HTTP/2 connections that exchanges share, and connects that several wait for."""

from __future__ import annotations

from types import SimpleNamespace

from lb.http.shared_connections import SharedConnections
from lb.net.descriptors import Descriptors


class Backend:
    leaving = False


class Connection:
    """In place of an Http2Server."""

    def __init__(self, shared, backend, room=2, keep_alive=1):
        self.backend, self.room = backend, room
        self.pool = SimpleNamespace(name="web", spec=SimpleNamespace(http=SimpleNamespace(keep_alive=keep_alive)))
        self.carriers = {}
        self.is_current = self.open = True
        self.retired = False
        self._shared = shared
        shared.add(self)

    @property
    def has_room(self):
        return not self.retired and len(self.carriers) < self.room

    def new_carrier(self):
        carrier = object()
        self.carriers[carrier] = None
        return self, carrier

    def leave(self, carrier):
        del self.carriers[carrier]
        if not self.carriers:
            self._shared.became_idle(self)

    def keep_alive(self):
        assert self.open

    def retire(self):
        self.retired = True
        if not self.carriers:
            self.close_socket()

    def close_socket(self):
        assert self.open
        self.open = False
        self._shared.closed(self)


def world():
    descriptors = Descriptors(100)
    return SharedConnections(descriptors, lambda *_: None), descriptors


def test_the_oldest_connection_with_room_is_used():
    (shared, descriptors), backend = world(), Backend()
    assert shared.take(backend) is None
    first, second = Connection(shared, backend), Connection(shared, backend)
    taken = [shared.take(backend) for _ in range(5)]
    assert [each and each[0] for each in taken] == [first, first, second, second, None]
    first.leave(taken[0][1])
    assert shared.take(backend)[0] is first
    assert shared.take(Backend()) is None
    assert descriptors.used == 2


def test_so_many_stay_open_without_an_exchange():
    (shared, descriptors), backend = world(), Backend()
    connections = [Connection(shared, backend, room=1) for _ in range(3)]
    for connection, (_, carrier) in zip(connections, [shared.take(backend) for _ in range(3)], strict=True):
        connection.leave(carrier)
    assert [each.open for each in connections] == [True, False, False]
    assert (shared.idle(), descriptors.used) == ([connections[0]], 1)


def test_connections_to_servers_that_have_changed_end_with_their_last_exchange():
    (shared, descriptors), backend, other = world(), Backend(), Backend()
    busy, idle, current = Connection(shared, backend), Connection(shared, other), Connection(shared, other)
    _, carrier = shared.take(backend)
    busy.is_current = idle.is_current = False
    shared.close_outdated()
    assert (busy.open, idle.open, current.open) == (True, False, True)
    assert shared.take(backend) is None
    busy.leave(carrier)
    assert not busy.open
    shared.close_all(other)
    assert (current.open, descriptors.used) == (False, 0)


def test_a_connection_that_is_not_shared_ends_with_its_exchange():
    (shared, descriptors), backend = world(), Backend()
    alone = Connection(shared, backend)
    shared.closed(alone)
    shared.became_idle(alone)
    assert (alone.open, descriptors.used) == (False, 0)


def test_a_connect_is_waited_for_by_as_many_as_its_connection_takes():
    (shared, _), backend = world(), Backend()
    assert shared.wait(backend, "nobody connects") is None
    first = shared.begin_connect(backend, 3)
    assert [shared.wait(backend, name) for name in "abc"] == [first, first, None]
    second = shared.begin_connect(backend, 3)
    assert shared.wait(backend, "c") is second
    assert shared.end_connect(first) == ["a", "b"]
    assert shared.end_connect(second) == ["c"]
    assert shared.wait(backend, "d") is None


def test_what_a_server_has_allowed_bounds_the_next_connect():
    (shared, _), backend = world(), Backend()
    assert shared.allowed(backend) == 100
    shared.note_allowed(backend, 2)
    assert shared.begin_connect(backend, 50).room == 1
    shared.note_allowed(backend, 0)
    assert shared.begin_connect(backend, 50).room == 0
