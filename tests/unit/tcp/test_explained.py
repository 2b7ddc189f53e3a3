"""``explain_sample``: which connections are explained, the content of their decisions, and that others have none."""

from __future__ import annotations

import pytest
import trio

from lb.model import PassiveSpec, PluginSpec, Share
from lb.model.decision import MOST_NAMED
from lb.tcp.connection import Connection
from lb.tcp.explained import MOST_DECISIONS, ExplainedConnection
from tests.support.connecting import REFUSED, target_of, world_maker
from tests.support.specs import listener_spec

EVERY = {"explain_sample": Share(1)}


@pytest.fixture
async def make_world(nursery):
    return world_maker(nursery)


def verdicts(decision):
    return {each.name: each.verdict for each in decision.servers}


async def sampled(world, count):
    """Return which of ``count`` connections are explained."""
    for _ in range(count):
        world.accept()
        world.splicer.under_way[0].succeed()
        world.splicer.joined[0].end()
    return [record.decisions is not None for record in world.records]


@pytest.mark.parametrize("part", [0.01, 0.25, 0.7])
async def test_so_large_a_part_is_explained(make_world, part):
    explained = await sampled(make_world(listener={"explain_sample": Share(part)}), 1000)
    assert sum(explained) == pytest.approx(1000 * part, abs=2)
    for start in range(0, 1000, 200):
        assert sum(explained[start : start + 200]) == pytest.approx(200 * part, abs=2), "spread evenly"


async def test_the_sample_is_not_in_step_with_turns(make_world):
    world = make_world("abcd", listener={"explain_sample": Share(0.25)})
    await sampled(world, 400)
    servers = [record.server for record in world.records if record.decisions]
    assert all(servers.count(name) in range(15, 36) for name in "abcd"), servers


async def test_without_a_sample_connections_are_none_but_plain_ones(make_world):
    world = make_world()
    assert world.listener.mode.accepted.func is Connection
    assert not any(await sampled(world, 10))


async def test_a_reload_changes_the_sample(make_world):
    world = make_world()
    world.accept()
    world.listener.configure(listener_spec("front", (), "web", **EVERY), {"web": world.pool})
    world.accept()
    assert [type(connection) for connection in world.open] == [Connection, ExplainedConnection]


async def test_each_pick_has_its_decision(make_world):
    world = make_world("abc", listener=EVERY, passive=PassiveSpec(failures=1))
    world.accept()
    world.splicer.under_way[0].fail()
    world.splicer.under_way[0].succeed()
    world.assert_leases_are_right()
    world.splicer.joined[0].end()
    record = world.record
    assert [attempt.server for attempt in record.attempts] == ["a"]
    first, second = record.decisions
    assert verdicts(first) == {"a": "chosen", "b": "candidate", "c": "candidate"}
    assert verdicts(second) == {"a": "tried", "b": "chosen", "c": "candidate"}
    assert [each.active for each in second.servers] == [0, 0, 0], "before the pick"


async def test_who_gets_no_server_is_told_why(make_world):
    world = make_world("ab", listener=EVERY)
    world.check("a", passed=False)
    world.check("b", passed=False)
    world.accept()
    (decision,) = world.record.decisions
    assert (decision.chosen, decision.otherwise) == (None, "reject")
    assert [(each.verdict, each.reason) for each in decision.servers] == [("down", "as told")] * 2


async def test_a_connection_that_is_held_keeps_its_latest_decisions(autojump_clock, make_world):
    world = make_world("a", listener=EVERY, when_all_down="hold", hold_timeout=10.0, passive=PassiveSpec(failures=0))
    world.splicer.failing[target_of("a")] = REFUSED
    world.accept()
    await trio.sleep(8)
    del world.splicer.failing[target_of("a")]
    await trio.sleep(1)
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    record = world.record
    assert len(record.attempts) > MOST_DECISIONS == len(record.decisions)
    assert record.decisions[-1].chosen == "a"


async def test_a_decision_that_chance_makes_names_who_was_chosen(make_world):
    world = make_world("abcdefghijkl", listener=EVERY, strategy=PluginSpec("random-two"))
    await sampled(world, 20)
    for record in world.records:
        (decision,) = record.decisions
        assert decision.chosen == record.server
        assert len(decision.servers) == MOST_NAMED
        assert [each.name for each in decision.servers if each.verdict == "chosen"] == [record.server]
