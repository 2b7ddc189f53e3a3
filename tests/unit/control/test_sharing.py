"""Nodes that share checks: the real monitor, checker and pool of each, on a virtual clock."""

import math

import pytest
import trio

import lb.control.sharing
from healthcheck.shared_checks import CheckClaim
from lb.control.sharing import Sharing
from lb.events import BackendEjected, BackendRestored
from lb.model import HealthSpec
from tests.support.effort import DEEP
from tests.support.sharing_nodes import LATENCY, Nodes

SERVERS = [f"s{number}" for number in range(8)]
TWENTY = [f"s{number}" for number in range(20)]
SPEC = HealthSpec(share=True)
DETECTION = SPEC.interval * 1.1 + 2 * SPEC.fast_interval * 1.1
"""Seconds in which a node finds by itself that a server is dead: three checks."""
ONE_CHECK = SPEC.fast_interval + LATENCY + 0.05


async def five(nursery, names=("lb1", "lb2", "lb3", "lb4", "lb5"), servers=SERVERS):
    nodes = Nodes(nursery, servers)
    for name in names:
        await nodes.start(name)
    await trio.sleep(3 * SPEC.interval)
    return nodes


def ejected(nodes, name):
    return {event.server: event.reason for event in nodes.each[name].events if isinstance(event, BackendEjected)}


async def test_three_of_five_nodes_check_each_server(nursery, autojump_clock):
    nodes = await five(nursery, servers=TWENTY)
    assert await nodes.load() == pytest.approx(3, abs=0.4)
    assert max((await nodes.count(6 * SPEC.interval)).values()) <= 3.5 * 6
    assert {len(node.resting()) for node in nodes.each.values()} != {0}
    for server in TWENTY:
        by = {tuple(node.sharing.checked_by(("web", server))) for node in nodes.each.values()}
        assert [len(each) for each in by] == [3]


async def test_each_node_checks_every_server_once_before_it_relies_on_others(nursery, autojump_clock):
    nodes = await five(nursery)
    before = dict(nodes.checks)
    await nodes.start("lb6")
    await trio.sleep(SPEC.interval * 1.1)
    node = nodes.each["lb6"]
    assert all(backend.last_check is not None for backend in node.pool.backends.values())
    assert nodes.made["lb6"] >= len(SERVERS)
    assert before != nodes.checks


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_up_to_three_nodes_check_everything(nursery, autojump_clock, count):
    nodes = await five(nursery, [f"lb{number}" for number in range(count)])
    assert await nodes.load() == pytest.approx(count, abs=0.4)


async def test_a_dead_server_is_out_on_all_nodes(nursery, autojump_clock):
    nodes = await five(nursery)
    nodes.dead = {"s1", "s2"}
    await trio.sleep(DETECTION + ONE_CHECK)
    for name, node in nodes.each.items():
        assert {server for server, state in node.states().items() if state == "down"} == nodes.dead, name
    reasons = [reason for name in nodes.each for reason in ejected(nodes, name).values()]
    assert set(reasons) - {"refused"} <= {f"refused, as on {name}" for name in nodes.each}
    assert len(reasons) == 10
    assert "refused" in reasons
    assert await nodes.load() == pytest.approx(3, abs=0.4)


async def test_a_server_that_is_back_is_back_on_all_nodes(nursery, autojump_clock):
    nodes = await five(nursery)
    nodes.dead = {"s1"}
    await trio.sleep(10)
    nodes.dead = set()
    await trio.sleep(SPEC.down_interval * 1.1 + 2 * SPEC.fast_interval * 1.1 + ONE_CHECK)
    for node in nodes.each.values():
        assert {*node.states().values()} == {"up"}
        assert node.events[-1] == BackendRestored("web", "s1")
    await trio.sleep(5)
    assert await nodes.load() == pytest.approx(3, abs=0.4)


async def test_a_node_that_reaches_a_server_keeps_it_whatever_another_says(nursery, autojump_clock):
    nodes = await five(nursery)
    wrong = min(nodes.each["lb1"].sharing.checked_by(("web", "s1")))
    nodes.cut_off = {(wrong, "s1")}
    await trio.sleep(20)
    assert nodes.each[wrong].states()["s1"] == "down"
    assert {name for name, node in nodes.each.items() if node.states()["s1"] == "up"} == nodes.each.keys() - {wrong}
    assert all("s1" not in node.resting() for node in nodes.each.values())
    nodes.cut_off = set()
    await trio.sleep(20)
    assert {node.states()["s1"] for node in nodes.each.values()} == {"up"}
    assert sum("s1" in node.resting() for node in nodes.each.values()) == 2


async def test_traffic_that_ejects_makes_own_checks(nursery, autojump_clock):
    nodes = await five(nursery)
    node = next(node for node in nodes.each.values() if node.resting())
    server = min(node.resting())
    node.pool.connect_failed(node.pool.backends[server], "refused", trio.current_time())
    assert node.states()[server] == "ejected"
    await trio.sleep(SPEC.fast_interval + 0.1)
    assert node.states()[server] == "up", "a check of its own has brought it back"
    assert server in node.resting()
    nodes.cut_off = {(node.name, server)}
    node.pool.connect_failed(node.pool.backends[server], "refused", trio.current_time())
    await trio.sleep(4 * SPEC.fast_interval)
    assert node.states()[server] == "down"
    assert server not in node.resting()


async def test_without_etcd_each_node_checks_all_and_ejects(nursery, autojump_clock):
    nodes = await five(nursery)
    await nodes.lose_etcd()
    assert max((await nodes.count(0.1 * SPEC.interval)).values()) <= 5, "no burst"
    await trio.sleep(SPEC.interval * 1.1)
    assert await nodes.load() == pytest.approx(5, abs=0.4)
    nodes.dead = {"s1"}
    await trio.sleep(DETECTION + 0.1)
    assert {node.states()["s1"] for node in nodes.each.values()} == {"down"}
    assert {ejected(nodes, name)["s1"] for name in nodes.each} == {"refused"}
    await nodes.find_etcd()
    await trio.sleep(3 * SPEC.interval)
    assert await nodes.load() == pytest.approx(3, abs=0.4)
    assert {node.states()["s1"] for node in nodes.each.values()} == {"down"}


async def test_when_etcd_goes_the_checks_of_all_servers_are_spread_over_the_interval(nursery, autojump_clock):
    nodes = await five(nursery, servers=[f"s{number}" for number in range(40)])
    await nodes.lose_etcd()
    tenths = [sum((await nodes.count(SPEC.interval / 10)).values()) for _ in range(10)]
    assert max(tenths) < 2.5 * 40 * 5 / 10, "all at once would be four times as many"


async def test_when_a_checker_dies_another_takes_its_place_and_nothing_else_moves(nursery, autojump_clock):
    nodes = await five(nursery)
    node = nodes.each["lb1"]
    before = {server: node.sharing.checked_by(("web", server)) for server in SERVERS}
    told = {name: each.told for name, each in nodes.each.items()}
    await nodes.kill("lb5")
    await trio.sleep(3 * SPEC.interval)
    for server in SERVERS:
        after = node.sharing.checked_by(("web", server))
        assert len(after) == 3
        assert {*after} >= {*before[server]} - {"lb5"}
    gone = sum("lb5" in by for by in before.values())
    assert sum(each.told - told[name] for name, each in nodes.each.items()) == gone
    assert await nodes.load() == pytest.approx(3, abs=0.4)


async def test_a_node_that_does_not_know_a_server_leaves_it_to_the_next(nursery, autojump_clock):
    nodes = await five(nursery, ["lb1", "lb2", "lb3", "lb4", "lb5", "lb6"])
    without = min(nodes.each["lb1"].sharing.checked_by(("web", "s1")))
    await nodes.each[without].serve([server for server in SERVERS if server != "s1"])
    await trio.sleep(10)
    by = {tuple(node.sharing.checked_by(("web", "s1"))) for name, node in nodes.each.items() if name != without}
    assert len(by) == 1
    assert len({*by.pop()} - {without}) == 3
    assert (await nodes.count(20))["s1"] == pytest.approx(30, abs=5)


async def test_a_server_that_is_removed_while_etcd_goes_is_checked_no_more(nursery, autojump_clock, monkeypatch):
    nodes = await five(nursery)
    node = next(node for node in nodes.each.values() if node.resting())
    gone = min(node.resting())
    checks = node.monitor._checks[node.pool.backends[gone]]

    async def meanwhile_removed(items):
        await node.serve([server for server in SERVERS if server != gone])
        for item in items:
            yield item

    monkeypatch.setattr(lb.control.sharing, "in_turns", meanwhile_removed)
    await node.sharing.leave()
    assert checks.due == math.inf


async def test_one_that_is_told_to_check_something_else_tells_it_anew(nursery, autojump_clock):
    nodes = await five(nursery, servers=["s1"])
    nodes.health = HealthSpec(share=True, interval=1.0)
    for node in nodes.each.values():
        await node.serve(["s1"])
    await trio.sleep(5)
    assert (await nodes.count(20))["s1"] == pytest.approx(60, abs=8)


async def test_what_is_told_is_taken_in_batches(autojump_clock):
    sharing = Sharing()
    claim = CheckClaim(True, "10.0.0.1:80")
    for server in "abc":
        sharing.tell(("web", server), claim)
    sharing.tell(("web", "a"), None)
    assert await sharing.untold(2) == {("web", "a"): None, ("web", "b"): claim}
    assert await sharing.untold(2) == {("web", "c"): claim}
    with trio.move_on_after(1) as scope:
        await sharing.untold(2)
    assert scope.cancelled_caught


async def test_a_server_whose_checks_are_not_shared_has_no_list_of_nodes(nursery, autojump_clock):
    nodes = await five(nursery, servers=["s1"])
    assert nodes.each["lb1"].sharing.checked_by(("web", "s2")) is None
    await nodes.lose_etcd()
    assert nodes.each["lb1"].sharing.checked_by(("web", "s1")) is None


async def test_64_nodes_and_1000_servers(nursery, autojump_clock):
    """The bar of the contract: at most 3.5 checks a server and interval. Smaller in the short form."""
    count, servers = (64, 1000) if DEEP else (10, 30)
    nodes = Nodes(nursery, [f"s{number}" for number in range(servers)])
    for number in range(count):
        await nodes.start(f"lb{number}")
    await trio.sleep(4 * SPEC.interval)
    assert await nodes.load(5) <= 3.5
    assert sum(node.told for node in nodes.each.values()) < 20 * servers
