"""Several balancers, one etcd: what operators say holds on all, in order, whatever happens to etcd and to nodes."""

from __future__ import annotations

import hashlib
from functools import partial

import pytest
import trio

from tests.support.balancer import ask, config, run_lb
from tests.support.clustered import (
    OVERRIDES,
    cluster_config,
    cluster_node,
    override_in,
)
from tests.support.effort import LONG_FORM
from tests.support.etcd import etcd
from tests.support.operating import ADMIN, operated
from tests.support.servers import Named, backends, free_port

pytestmark = pytest.mark.slow

BUSY = 6  # seconds that a busy machine may add
A, B = Named("a", "127.0.0.1:1"), Named("b", "127.0.0.1:2")


def file_hash(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


async def test_what_is_said_to_one_node_holds_on_all_in_order(tmp_path):
    async with etcd() as store, backends("a", "b") as (a, b):
        text, two = (cluster_config(store, a, b, more=more) for more in ("", "[process]\nworkers = 2"))
        async with cluster_node(tmp_path, "lb1", text) as first, cluster_node(tmp_path, "lb2", two) as second:
            assert (await first.lb.event("cluster.joined"))["nodes"][0] == "lb1"
            await first.until_nodes("lb1", "lb2")
            await first.tell("a", "drain")
            event = await second.lb.event("backend.overridden")
            assert {key: event[key] for key in ("server", "drained", "weight", "node")} == {
                "server": "a", "drained": True, "weight": 0, "node": "lb1",
            }  # fmt: skip
            assert [await ask(second.lb.port) for _ in range(4)] == [b"b\n"] * 4
            await second.tell("a", "weight", {"weight": 3})
            await second.tell("a", "enable")
            for node in (first, second):
                await node.until_override("a", weight=3)
            assert await override_in(store, "web/a") | {"at": ""} == {
                "drained": False, "weight": 3, "node": "lb2", "at": "",
            }  # fmt: skip
            said_by = [event["node"] for event in first.lb.of("backend.overridden")]
            assert said_by in (["lb1", "lb2"], ["lb1", "lb2", "lb2"]), "two words may arrive as one"
            await store.ctl("put", f"{OVERRIDES}web/b", "nonsense")
            bad = await first.lb.event("cluster.bad_key")
            assert (bad["key"], "Expecting value" in bad["error"]) == (f"{OVERRIDES}web/b", True)
            await first.tell("b", "drain")
            await second.until_override("b", drained=True)


async def test_a_node_that_starts_later_knows_what_was_said_and_servers_that_come_later_too(tmp_path):
    async with etcd() as store, backends("a", "b") as (a, b):
        text, less = cluster_config(store, a, b), cluster_config(store, a)
        async with cluster_node(tmp_path, "lb1", text) as first:
            await first.tell("b", "drain")
            async with cluster_node(tmp_path, "lb2", text) as second, cluster_node(tmp_path, "lb3", less) as third:
                assert (await second.operator.server("b"))["state"] == "draining", "not from the start"
                assert not second.lb.of("backend.overridden"), "it had another state before"
                await third.tell("a", "weight", {"weight": 7})
                await third.lb.reload(text)
                assert (await third.operator.server("b"))["override"] == {"drained": True, "weight": None}
                heavier = text.replace('name = "a"', 'name = "a"\nweight = 2')
                assert (await third.lb.reload(heavier))["event"] == "config.applied"
                assert (await third.operator.server("a"))["weight"] == 7, "in a cluster a file ends no override"


async def test_what_was_said_of_a_server_that_is_gone_is_forgotten_by_its_key(tmp_path):
    """As docs/how-to/roll-out.md has it."""
    async with etcd() as store:
        text, less = cluster_config(store, A, B), cluster_config(store, A)
        async with cluster_node(tmp_path, "lb1", text) as first, cluster_node(tmp_path, "lb2", text) as second:
            await first.until_nodes("lb1", "lb2")
            await first.tell("b", "drain")
            await second.until_override("b", drained=True)
            for node in (first, second):
                await node.lb.reload(less)
            assert await store.ctl("get", "--prefix", "--keys-only", OVERRIDES) == f"{OVERRIDES}web/b\n\n"
            assert await store.ctl("del", f"{OVERRIDES}web/b") == "1\n"
            for node in (first, second):
                await node.lb.reload(text)
                await node.operator.until(partial(node.operator.server, "b"), lambda found: found["override"] is None)
            assert await override_in(store, "web/b") is None


async def test_the_nodes_are_listed_with_what_differs(tmp_path):
    async with etcd() as store:
        admin = f'[admin]\nbind = "127.0.0.1:{free_port()}"'
        text = cluster_config(store, A, B, admin=admin)
        other = cluster_config(store, A, B)
        async with cluster_node(tmp_path, "lb1", text) as first, cluster_node(tmp_path, "lb2", other) as second:
            await second.until_all_ready()
            listed = await first.until_all_ready()
            states = {name: node["config"] for name, node in listed["nodes"].items()}
            assert states == {"lb1": file_hash(text), "lb2": file_hash(other)}
            assert (listed["name"], listed["node"], listed["differ"]) == ("edge", "lb1", ["config"])
            version = listed["nodes"]["lb1"]["version"]
            lines = [f"lb1  ready  {version}  {file_hash(text)}", f"lb2  ready  {version}  {file_hash(other)}"]
            assert await first.ctl("--cluster", "status") == ("\n".join([*lines, "differ: config", ""]), "")
            assert (await first.operator.status())["cluster"]["node"] == "lb1"
            file = first.lb.config_file
            compared = [
                f"{file}  {file_hash(text)}",
                f"lb1  {file_hash(text)}  same",
                f"lb2  {file_hash(other)}  differs",
            ]
            for words, code in ((("-c", file), 0), ((file, "--exit-code"), 1)):
                assert await run_lb("diff", "--cluster", *words) == (code, "\n".join([*compared, ""]), "")
            for server in "ab":
                await second.tell(server, "drain")
            await first.operator.until(first.cluster, lambda found: not found["nodes"]["lb2"]["ready"])
            out, _ = await first.ctl("drain", "web/a")
            assert out == "web/a: draining, weight 0\ncluster: told\n"
            assert await second.lb.stop() == 0
            await first.until_nodes("lb1")
            figures = await first.operator.metrics()
            assert {name: value for name, value in figures.items() if name.startswith("lb_cluster")} == {
                "lb_cluster_nodes": 1,
                "lb_cluster_nodes_ready": 0,
                "lb_cluster_etcd_up": 1,
                'lb_cluster_overrides_total{result="told"}': 1,
                'lb_cluster_overrides_total{result="not_told"}': 0,
            }


async def test_what_is_said_while_etcd_is_away_holds_here_and_is_told_when_it_is_back(tmp_path):
    async with etcd() as store, backends("a", "b") as (a, b):
        text = cluster_config(store, a, b)
        async with cluster_node(tmp_path, "lb1", text) as first, cluster_node(tmp_path, "lb2", text) as second:
            for node in (first, second):
                await node.lb.event("cluster.joined")
            await store.kill()
            for node in (first, second):
                lost = await node.lb.event("cluster.lost")
                assert lost["errors"][0].startswith(store.url)
            away = f"not told: {store.url}: connection refused"
            await first.until_etcd(away.removeprefix("not told: "))
            assert await first.say("a", "drain") == away
            out, err = await first.ctl("weight", "web/a", "4")
            assert (out, err) == (f"web/a: draining, weight 0: 0.0% of new connections\ncluster: {away}\n", "")
            assert [await ask(first.lb.port) for _ in range(4)] == [b"b\n"] * 4
            assert {await ask(second.lb.port) for _ in range(4)} == {b"a\n", b"b\n"}
            assert (await first.lb.upgrade())["event"] == "upgrade.done", "the successor has to tell it"
            await store.start()
            for node in (first, second):
                await node.lb.event("cluster.joined", count=2)
            await second.until_override("a", drained=True, weight=4)
            assert len(first.lb.of("cluster.lost")) <= 2, "once a streak, and once for the successor"
            assert len(second.lb.of("cluster.lost")) == 1


async def test_a_second_node_of_a_name_is_refused(tmp_path):
    async with etcd() as store:
        text = cluster_config(store, A)
        async with cluster_node(tmp_path, "lb1", text) as first:
            await first.lb.event("cluster.joined")
            (tmp_path / "lb.toml").write_text(text.replace("[cluster]", '[cluster]\nnode = "lb1"'))
            code, _, err = await run_lb("--config", tmp_path / "lb.toml")
            assert (code, err) == (1, "lb: another balancer is the node 'lb1' of this cluster\n")


@LONG_FORM
async def test_a_node_that_was_killed_leaves_the_list_and_comes_back(tmp_path):
    """In short: tests/unit/cluster/test_registration.py."""
    async with etcd() as store:
        text = cluster_config(store, A)
        async with cluster_node(tmp_path, "lb1", text) as first, cluster_node(tmp_path, "lb2", text) as second:
            before = (await second.until_nodes("lb1", "lb2"))["nodes"]["lb1"]["started"]
            killed = trio.current_time()
            first.lb.process.kill()
            async with cluster_node(tmp_path / "again", "lb1", text) as third:
                await second.operator.until(second.cluster, lambda found: "lb1" not in found["nodes"])
                assert trio.current_time() - killed < 6 + BUSY
                again = await second.until_nodes("lb1", "lb2")
                assert again["nodes"]["lb1"]["started"] > before
                await third.lb.event("cluster.joined")
                assert not third.lb.of("cluster.lost"), "its own last process is no trouble"


async def test_a_reload_joins_leaves_and_changes_a_cluster(tmp_path):
    async with etcd() as store, backends("a", "b") as (a, b):
        alone = config(a, b, top=ADMIN, health=None)
        text = cluster_config(store, a, b)
        async with cluster_node(tmp_path, "lb2", text) as second, operated(tmp_path, alone) as (lb, operator):
            missing = await operator.client.get("/api/v1/cluster")
            assert (missing.status_code, "in no cluster" in missing.json()["error"]) == (404, True)
            assert "cluster" not in await operator.do("a", "drain")
            await lb.reload(text.replace("[cluster]", '[cluster]\nnode = "lb1"'))
            await second.until_nodes("lb1", "lb2")
            await second.until_override("a", drained=True)
            await lb.reload(text.replace("[cluster]", '[cluster]\nnode = "lb3"'))
            await second.until_nodes("lb2", "lb3")
            assert (await lb.reload("[["))["event"] == "config.rejected"
            comment = text.replace("[cluster]", '# now with a comment\n[cluster]\nnode = "lb3"')
            await lb.reload(comment)
            found = await second.operator.until(
                second.cluster, lambda found: found["nodes"]["lb3"]["config"] == file_hash(comment)
            )
            assert [*found["nodes"]] == ["lb2", "lb3"]
            await lb.reload(alone)
            await second.until_nodes("lb2")
            assert (await operator.server("a"))["override"] == {"drained": True, "weight": None}
            assert "cluster" not in await operator.do("a", "enable")


async def test_an_upgrade_stays_in_the_list(tmp_path):
    async with etcd() as store:
        text = cluster_config(store, A, B)
        async with cluster_node(tmp_path, "lb1", text) as first, cluster_node(tmp_path, "lb2", text) as second:
            await second.until_nodes("lb1", "lb2")
            await second.tell("a", "drain")
            leases = sorted((await store.ctl("lease", "list")).split())
            first.lb.config_file.write_text(f"{text}# of the next version\n")
            assert (await first.lb.upgrade())["event"] == "upgrade.done"
            changed = file_hash(f"{text}# of the next version\n")
            await second.operator.until(second.cluster, lambda found: found["nodes"]["lb1"]["config"] == changed)
            assert sorted((await store.ctl("lease", "list")).split()) == leases, "it left the cluster for a moment"
            await first.lb.event("cluster.joined", count=2)


async def test_a_start_does_not_wait_for_an_etcd_that_is_away(tmp_path):
    async with backends("a") as (a,):

        class Nobody:
            url = f"http://127.0.0.1:{free_port()}"

        async with cluster_node(tmp_path, "lb1", cluster_config(Nobody, a)) as first:
            assert await ask(first.lb.port) == b"a\n"
            assert await first.say("a", "drain") == f"not told: {Nobody.url}: connection refused"
            await first.lb.event("cluster.lost")
            found = await first.cluster()
            assert ([*found["nodes"]], found["etcd"]) == (["lb1"], f"{Nobody.url}: connection refused")
            out, err = await first.ctl("--cluster", "status")
            assert out.splitlines()[-1] == "all alike"
            assert err == f"lb: as last known: {Nobody.url}: connection refused\n"
            assert await first.lb.stop() == 0
