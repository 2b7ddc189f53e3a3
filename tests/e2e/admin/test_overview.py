"""What the dashboard asks for, of the real command: a page of what there is, in bounded size."""

from __future__ import annotations

import pytest

from tests.support.balancer import ask, config
from tests.support.many_pools import POOLS, SERVERS, many_pools
from tests.support.operating import ADMIN, operated
from tests.support.servers import Named, backends, free_port

pytestmark = pytest.mark.slow
PATH = "/api/v1/overview"
MOST_BYTES = 64_000  # of an answer, whatever is asked of four thousand servers


async def test_an_overview_of_four_thousand_servers_is_bounded_and_finds_each_of_them(tmp_path):
    async with operated(tmp_path, many_pools(top=ADMIN)) as (_, operator):
        everything = await operator.get(PATH)
        assert everything["totals"]["states"] == {"up": POOLS * SERVERS}
        assert everything["totals"]["without"] == {"count": 0, "names": []}
        found = everything["list"]
        assert (found["of"], found["pools"], found["servers"], found["pages"]) == ("pools", POOLS, POOLS * SERVERS, 4)
        assert everything["listeners"]["count"] == POOLS
        assert len(everything["listeners"]["shown"]) == 20
        await operator.do("p150-07", "drain", pool="p150")
        (row,) = (await operator.get(PATH, trouble=1))["list"]["rows"]
        assert (row["name"], row["states"], row["worst"]["name"]) == ("p150", {"draining": 1, "up": 19}, "p150-07")
        assert [each["name"] for each in row["shown"]] == ["p150-07"]
        assert (await operator.get(PATH))["list"]["rows"][0]["name"] == "p150"
        found = await operator.get(PATH, search="10.0.42.3:")
        (row,) = found["list"]["rows"]
        assert [each["name"] for each in row["shown"]] == ["p042-03"]
        assert list(found["listeners"]["shown"]) == ["p042"]
        (port,) = everything["listeners"]["shown"]["p000"]["bind"]
        assert list((await operator.get(PATH, search=port))["listeners"]["shown"]) == ["p000"]
        for query in ({}, {"page": 4}, {"pool": "p150"}, {"search": "p1"}, {"sort": "-rate"}, {"trouble": 1}):
            assert len((await operator.client.get(PATH, params=query)).content) < MOST_BYTES


@pytest.mark.usefixtures("balancer_kind")
async def test_an_overview_counts_what_all_processes_have_served_and_names_what_is_wrong(tmp_path):
    down = Named("b", f"127.0.0.1:{free_port()}")
    async with backends("a") as (a,), operated(tmp_path, config(a, down, top=ADMIN)) as (lb, operator):
        await lb.event("backend.ejected", server="b")
        for _ in range(4):
            assert await ask(lb.port) == b"a\n"

        def complete(overview):
            return overview["totals"]["accepted"] == overview["list"]["rows"][0]["total"] == 4

        overview = await operator.until(lambda: operator.get(PATH), complete)
        (row,) = overview["list"]["rows"]
        assert (row["servers"], row["available"], row["states"]) == (2, 1, {"up": 1, "down": 1})
        assert "refused" in row["worst"]["reason"]
        status = (await operator.status())["pools"]["web"]["servers"]
        for shown in row["shown"]:
            assert shown.keys() == {"name", *status[shown["name"]]}


async def test_an_overview_names_where_servers_cannot_be_looked_up(tmp_path):
    etcd = f"127.0.0.1:{free_port()}"
    source = f'etcd = {{ endpoints = ["http://{etcd}"], prefix = "/web/" }}'
    front = '[listeners.web]\nbind = "127.0.0.1:0"'
    async with operated(tmp_path, f"{ADMIN}\n{front}\n[pools.web]\n{source}\n") as (_, operator):

        def failing(overview):
            return overview["list"]["rows"][0]["failing_sources"]

        def refused(overview):
            return any(f"{etcd}: connection refused" in each["error"] for each in failing(overview))

        overview = await operator.until(lambda: operator.get(PATH), refused)
        (known,) = (await operator.status())["pools"]["web"]["sources"]
        assert [each["source"] for each in failing(overview)] == [known["source"]]


async def test_who_has_an_overview_is_told_that_nothing_has_changed(tmp_path):
    server = Named("a", "127.0.0.1:9")
    async with operated(tmp_path, config(server, top=ADMIN, health=None)) as (_, operator):
        await operator.until(lambda: operator.get(PATH), lambda found: found["list"]["rows"][0]["per_second"] == 0)
        first = await operator.client.get(PATH)
        known = {"If-None-Match": first.headers["etag"]}
        again = await operator.client.get(PATH, headers=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert "content-length" not in again.headers
        await operator.do("a", "drain")
        changed = await operator.client.get(PATH, headers=known)
        assert changed.status_code == 200
        assert changed.json()["totals"]["states"] == {"draining": 1}
        assert changed.json()["totals"]["without"] == {"count": 1, "names": ["web"]}


async def test_a_pool_that_there_is_not_has_no_rows_and_other_parameters_are_refused(tmp_path):
    async with operated(tmp_path, config(Named("a", "127.0.0.1:9"), top=ADMIN, health=None)) as (_, operator):
        overview = await operator.get(PATH, pool="shop")
        assert overview["list"]["rows"] == []
        assert "events" not in overview
        answer = await operator.client.get(PATH, params={"colour": "red"})
        assert (answer.status_code, answer.json()) == (400, {"error": "unknown parameter 'colour'"})
