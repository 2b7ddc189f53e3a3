"""Kept connections to servers: which are kept, which is used next, and what they cost."""

from __future__ import annotations

from types import SimpleNamespace

from lb.http.kept import KeptConnections
from lb.net.descriptors import Descriptors


class Connection:
    """In place of a ServerConnection."""

    def __init__(self, kept, backend, keep_alive=2, pool="web"):
        self.backend = backend
        self.pool = SimpleNamespace(name=pool, spec=SimpleNamespace(http=SimpleNamespace(keep_alive=keep_alive)))
        self.kept = self.has_options = False
        self.generation = 0
        self.is_current = True
        self.open = True
        self.idle = False
        self._owner = kept

    def keep_alive(self):
        assert not self.has_options
        self.has_options = True

    def became_idle(self):
        assert self.has_options
        assert not self.idle
        self.idle = True

    def close_socket(self):
        assert self.open
        self.open = False
        if self.kept:
            self._owner.closed(self)


class Backend:
    leaving = False


class World:
    def __init__(self, descriptors=100):
        self.context = SimpleNamespace(descriptors=Descriptors(descriptors), kept_connections=None)
        self.kept = KeptConnections(self.context)
        self.a, self.b = Backend(), Backend()

    @property
    def used(self):
        return self.context.descriptors.used

    def keep(self, server=None, **options):
        connection = Connection(self.kept, server or self.a, **options)
        self.kept.keep(connection)
        return connection


def test_the_one_that_was_used_last_is_used_first():
    world = World()
    first, second = world.keep(), world.keep()
    assert (first.open, second.open, world.used) == (True, True, 2)
    assert world.kept.take(world.b) is None
    assert world.kept.take(world.a) is second
    assert world.kept.take(world.a) is first
    assert world.kept.take(world.a) is None


def test_of_each_server_no_more_are_kept_than_the_pool_says():
    world = World()
    kept = [world.keep(keep_alive=2) for _ in range(4)]
    assert [connection.open for connection in kept] == [True, True, False, False]
    assert world.keep(world.b).open
    assert not World().keep(keep_alive=0).open


def test_a_connection_in_use_leaves_its_place_to_another_and_keeps_its_descriptor():
    world = World()
    connection = world.keep(keep_alive=1)
    assert world.kept.take(world.a) is connection
    connection.idle = False  # it carries a request
    other = world.keep(keep_alive=1)
    assert world.used == 2
    world.kept.keep(connection)
    assert (other.open, connection.open, world.used) == (True, False, 1)


def test_none_of_a_server_that_leaves_or_has_changed_is_kept():
    world = World()
    outdated = Connection(world.kept, world.a)
    outdated.is_current = False
    world.kept.keep(outdated)
    world.b.leaving = True
    assert (outdated.open, world.keep(world.b).open, world.used) == (False, False, 0)


def test_a_reload_closes_what_is_outdated():
    world = World()
    current, outdated, leaving = world.keep(), world.keep(), world.keep(world.b)
    outdated.is_current = False
    world.b.leaving = True
    world.kept.close_outdated()
    assert (current.open, outdated.open, leaving.open, world.used) == (True, False, False, 1)
    assert world.kept.take(world.a) is current
    assert world.kept.take(world.a) is None
    assert world.kept.take(world.b) is None


def test_without_a_descriptor_for_it_none_is_kept():
    world = World(descriptors=1)
    assert world.keep().open
    assert not world.keep().open
    assert world.used == 1


def test_one_that_ends_while_idle_is_forgotten():
    world = World()
    first, second = world.keep(), world.keep()
    world.kept.forget(first)
    first.close_socket()
    assert world.used == 1
    assert world.kept.take(world.a) is second


def test_idle_ones_are_counted_by_pool():
    world = World()
    world.keep()
    world.keep()
    world.keep(world.b, pool="other")
    assert world.context.kept_connections() == {"web": 2, "other": 1}
    world.kept.take(world.a)
    assert world.context.kept_connections() == {"web": 1, "other": 1}
