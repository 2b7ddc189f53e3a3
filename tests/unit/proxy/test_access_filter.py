"""Access lists and limits per source, alone and after another filter."""

from __future__ import annotations

import attrs
import pytest

from lb.model.address import Client, Networks
from lb.proxy.access_filter import AccessFilter, AccessOnly
from lb.proxy.listener import make_admission
from tests.support.connecting import world_maker
from tests.support.specs import listener_spec


@pytest.fixture
async def make(nursery):
    def make(**listener):
        return world_maker(nursery)("a", listener=listener)

    return make


def networks(*texts):
    return Networks(texts)


def let_in(world, host="10.1.2.3"):
    """Return whether a client from this host gets a server."""
    before = len(world.splicer.connects)
    world.accept((host, 5555) if host else "")
    return len(world.splicer.connects) > before


def end_all(world):
    for connection in world.open:
        connection.close("stopped")


async def test_a_plain_listener_has_no_gate(make):
    world = make()
    assert make_admission(world.listener.spec, world.context) is None


@pytest.mark.parametrize(
    ("allow", "deny", "in_", "out"),
    [
        (("10.0.0.0/8",), (), ["10.1.2.3"], ["11.1.2.3", "::1", ""]),
        ((), ("10.0.0.0/8",), ["11.1.2.3", "::1", ""], ["10.1.2.3"]),
        (("10.0.0.0/8", "::1"), ("10.1.0.0/16",), ["10.2.2.3", "::1"], ["10.1.2.3", "::2", ""]),
        (("10.1.2.3",), ("10.0.0.0/8",), [], ["10.1.2.3"]),
    ],
)
async def test_networks_decide(make, allow, deny, in_, out):
    world = make(allow=Networks(allow), deny=Networks(deny))
    assert [host for host in in_ + out if let_in(world, host)] == in_
    assert all(record.reason == "denied" for record in world.records)
    assert [(record.ended_by, record.client.host) for record in world.records] == [("lb", host) for host in out]
    end_all(world)
    world.assert_all_is_given_back()


async def test_a_client_of_a_dual_stack_listener_is_plain_ipv4(make):
    world = make(allow=networks("10.0.0.0/8"))
    world.accept(("::ffff:10.1.2.3", 5555, 0, 0))
    assert len(world.splicer.connects) == 1
    end_all(world)


async def test_a_source_has_only_so_many_connections_open(make):
    world = make(max_per_source=2)
    assert [let_in(world) for _ in range(3)] == [True, True, False]
    assert let_in(world, "10.9.9.9")
    world.open[0].close("stopped")
    assert [let_in(world) for _ in range(2)] == [True, False]
    end_all(world)
    assert [let_in(world) for _ in range(3)] == [True, True, False]
    end_all(world)
    world.assert_all_is_given_back()


async def test_unix_clients_are_no_source(make):
    world = make(max_per_source=1, rate_per_source=1)
    assert all(let_in(world, "") for _ in range(5))
    end_all(world)


async def test_a_source_comes_only_so_fast(make):
    world = make()
    now = 100.0
    spec = listener_spec("web", (), "web", rate_per_source=2)
    world.listener.admission = AccessOnly(AccessFilter(spec, world.context.source_limits, lambda: now))
    assert [let_in(world) for _ in range(3)] == [True, True, False]
    assert let_in(world, "10.9.9.9")
    now = 100.6
    assert [let_in(world) for _ in range(2)] == [True, False]
    end_all(world)
    world.assert_all_is_given_back()


async def test_who_is_too_fast_is_not_counted_as_open(make):
    world = make()
    spec = listener_spec("web", (), "web", rate_per_source=1, max_per_source=1)
    now = 100.0
    world.listener.admission = AccessOnly(AccessFilter(spec, world.context.source_limits, lambda: now))
    assert let_in(world)
    end_all(world)
    assert not let_in(world)
    now = 102.0
    assert let_in(world)
    end_all(world)


async def test_a_reload_that_turns_a_limit_on_or_off_loses_no_count(make):
    world = make()
    assert let_in(world)
    world.listener.configure(listener_spec("front", (), "web", max_per_source=1), {"web": world.pool})
    assert [let_in(world) for _ in range(2)] == [True, False]
    world.open[0].close("stopped")
    assert not let_in(world), "the connection that ended was not counted"
    world.listener.configure(listener_spec("front", (), "web"), {"web": world.pool})
    end_all(world)
    world.listener.configure(listener_spec("front", (), "web", max_per_source=1), {"web": world.pool})
    assert [let_in(world) for _ in range(2)] == [True, False]
    end_all(world)


async def test_after_a_greeting_the_client_that_was_named_is_judged(make):
    """Filters run in order: the access list checks the client that an earlier filter has set."""

    class Naming:
        reason = "bad_proxy_header"

        def begin(self, connection):
            connection.speaks_for(Client("10.6.6.6", 1), Client("10.0.0.1", 80), b"")

    world = make(deny=networks("10.6.6.6"))
    chain = make_admission(attrs.evolve(world.listener.spec, accept_proxy=True), world.context)
    world.listener.admission = attrs.evolve(chain, filters=[Naming(), chain.filters[-1]])
    world.accept()
    record = world.record
    assert (record.reason, record.client, record.peer) == ("denied", Client("10.6.6.6", 1), Client("10.1.2.3", 5555))
