"""The cluster of a balancer: it follows the configuration, and its bugs stay its own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio

from lb.cluster import membership
from lb.cluster.cluster import REJOIN, Cluster
from lb.cluster.said_override import SaidOverride
from lb.control.overrides import Override
from lb.control.sharing import Sharing
from lb.events import Fault
from lb.model import ClusterSpec, Config, EtcdSpec
from tests.support.imports import imports, sources

SPEC = ClusterSpec("edge", "lb1", EtcdSpec(("http://127.0.0.1:1",), "/trio-lb/cluster/edge/"))
OTHER = ClusterSpec("core", "lb1", EtcdSpec(("http://127.0.0.1:1",), "/trio-lb/cluster/core/"))


class World:
    def __init__(self, nursery):
        self.events = []
        self.balancer = SimpleNamespace(
            overrides={}, stop_begun=False, shown_pools={}, written=Config(), sharing=Sharing()
        )
        self.cluster = Cluster(self.balancer, self.events.append, nursery)


@pytest.fixture
def runs(monkeypatch):
    """The memberships that were run, each until cancelled; or until it fails with what ``failures`` holds."""
    runs = SimpleNamespace(begun=[], failures=[])

    async def run(self):
        runs.begun.append(self.spec)
        if runs.failures:
            raise runs.failures.pop()
        await trio.sleep_forever()

    monkeypatch.setattr(membership.Membership, "run", run)
    return runs


async def test_a_reload_leaves_joins_and_changes(runs, nursery, autojump_clock):
    world = World(nursery)
    assert world.cluster.status() is None
    await world.cluster.follow(None)
    for spec in (SPEC, SPEC, OTHER, None, SPEC):
        await world.cluster.follow(spec)
        await trio.testing.wait_all_tasks_blocked()
        status = world.cluster.status()
        assert (status and status["name"]) == (spec and spec.name)
    assert runs.begun == [SPEC, OTHER, SPEC]
    await world.cluster.end()
    assert world.events == []


async def test_a_bug_does_not_end_the_balancer_and_the_cluster_is_joined_again(runs, nursery, autojump_clock):
    world = World(nursery)
    bugs = [ValueError("a bug"), ValueError("again")]
    runs.failures = [*bugs]
    await world.cluster.follow(SPEC)
    await trio.sleep(3.5 * REJOIN)
    assert [event.exception for event in world.events if isinstance(event, Fault)] == bugs[::-1]
    assert runs.begun == [SPEC] * 3
    await world.cluster.end()
    await trio.sleep(3 * REJOIN)
    assert runs.begun == [SPEC] * 3


async def test_what_was_said_is_known_after_a_change_of_endpoints(runs, nursery, autojump_clock):
    world = World(nursery)
    await world.cluster.follow(SPEC)
    shared = world.cluster.membership.overrides.shared
    shared.say(("web", "a"), {"drained": True}, "lb1", "", awaited=False)
    world.balancer.overrides = shared.all()
    await world.cluster.follow(ClusterSpec("edge", "lb1", EtcdSpec(("http://127.0.0.1:2",), SPEC.etcd.prefix)))
    assert world.cluster.membership.overrides.shared is shared
    await world.cluster.end()


async def test_a_successor_has_the_lease_and_what_was_said(runs, nursery, autojump_clock):
    old, new = World(nursery), World(nursery)
    await old.cluster.follow(SPEC)
    old.cluster.membership.overrides.shared.say(("web", "a"), {"weight": 3}, "lb1", "", awaited=False)
    handed = {**old.cluster.as_json(), "lease": 7}
    old.cluster.hand_over()
    new.balancer.overrides = {("web", "a"): Override(weight=3)}
    new.cluster.serve(SPEC, handed)
    assert new.cluster.membership.lease == 7
    assert new.cluster.membership.overrides.shared.untold[("web", "a")].said.override == Override(weight=3)
    other = World(nursery)
    other.cluster.serve(OTHER, handed)
    assert other.cluster.membership.lease == 0
    for world in (old, new, other):
        await world.cluster.end()


async def test_what_was_heard_during_an_upgrade_is_not_taken_back_by_the_successor(runs, nursery, autojump_clock):
    """While an upgrade is under way, what others say is heard, and not applied."""
    old, new = World(nursery), World(nursery)
    await old.cluster.follow(SPEC)
    said = SaidOverride(Override(drained=True), "lb2", "")
    old.cluster.membership.overrides.shared.heard(("web", "a"), said, 12)
    new.cluster.serve(SPEC, old.cluster.as_json())
    shared = new.cluster.membership.overrides.shared
    assert not shared.untold
    assert shared.said(("web", "a")) == said
    for world in (old, new):
        await world.cluster.end()


async def test_what_was_heard_and_not_applied_is_not_taken_back_by_a_change_of_endpoints(runs, nursery, autojump_clock):
    world = World(nursery)
    await world.cluster.follow(SPEC)
    shared = world.cluster.membership.overrides.shared
    shared.heard(("web", "a"), SaidOverride(Override(drained=True), "lb2", ""), 12)
    world.balancer.overrides = {("web", "b"): Override(weight=3)}
    ending = world.cluster.end

    async def end():
        await ending()
        world.balancer.overrides = {("web", "b"): Override(weight=4)}

    world.cluster.end = end
    await world.cluster.follow(ClusterSpec("edge", "lb1", EtcdSpec(("http://127.0.0.1:2",), SPEC.etcd.prefix)))
    assert shared.untold.keys() == {("web", "b")}, "what was said here meanwhile is told"
    await world.cluster.end()


async def test_a_predecessor_that_knows_no_clusters_hands_nothing(runs, nursery, autojump_clock):
    world = World(nursery)
    world.cluster.serve(SPEC, {})
    assert (world.cluster.membership.lease, world.cluster.membership.overrides.shared.all()) == (0, {})
    await world.cluster.end()


def test_only_what_is_for_people_to_read_reads_a_clock_of_the_wall():
    """Clocks of nodes may differ by an hour: nothing is decided by them."""
    inside = {name: imports(name) for name in sources() if name.startswith("lb.cluster.")}
    readers = {
        name for name, found in inside.items() if {each.partition(".")[0] for each in found} & {"time", "datetime"}
    }
    assert readers == {"lb.cluster.utc_now"}
    users = {name for name, found in inside.items() if "lb.cluster.utc_now" in found}
    assert users == {"lb.cluster.cluster", "lb.cluster.membership"}
