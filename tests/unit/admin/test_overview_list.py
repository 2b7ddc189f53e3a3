"""Which pools and servers the overview lists, and in which order."""

from __future__ import annotations

import pytest

from lb.admin.overview_list import ROWS_A_PAGE, found_by
from lb.admin.overview_query import OverviewQuery
from lb.admin.pool_sums import sum_pools
from lb.model import PoolSpec
from lb.net.cooperate import done_at_once
from lb.pools.pool import Pool
from tests.support.pooling import servers
from tests.support.strategy_driver import finish


def pools(**names):
    """Return pools with these servers."""
    found = {}
    for name, each in names.items():
        found[name] = Pool(name, lambda event: None, lambda pool, backend, change: None)
        found[name].apply(finish(found[name].prepare(PoolSpec(name, servers(each)))), {}, 0.0)
    return found


def break_server(pool, server, state="down", reason="connection refused"):
    health = pool.backends[server].health
    health.state, health.reason = state, reason


def listed(found, leased=None, failing=(), **query):
    sums = done_at_once(sum_pools(found, failing, leased or {}, {}, 0.0))
    return done_at_once(found_by(sums, leased or {}, OverviewQuery(**query)))


def names(page):
    return {sums.pool.name: [backend.name for backend in backends] for sums, backends in page.rows}


def many(count=60):
    return {f"p{number:02}": [f"p{number:02}-a", f"p{number:02}-b"] for number in range(count)}


def test_few_servers_are_all_listed_in_the_order_of_the_configuration():
    found = pools(web=["b", "a"], db=["c"])
    break_server(found["web"], "a", "ejected")
    page = listed(found)
    assert (page.of, page.sort, page.page, page.pages, page.pools, page.servers) == ("servers", "", 1, 1, 2, 3)
    assert names(page) == {"web": ["b", "a"], "db": ["c"]}


def test_the_worst_pools_come_first_and_a_drained_server_moves_none():
    found = pools(one=["a", "b"], two=["a", "b"], three=["a", "b"], four=["a"])
    break_server(found["three"], "a")
    break_server(found["four"], "a")
    break_server(found["two"], "b", "draining")
    assert list(names(listed(found))) == ["four", "three", "one", "two"]
    assert list(names(listed(found, failing={"two"}))) == ["four", "three", "two", "one"]


def test_more_than_a_page_of_servers_is_a_list_of_pools_the_worst_first():
    found = pools(**many())
    break_server(found["p30"], "p30-a")
    break_server(found["p31"], "p31-a", "checking")
    page = listed(found)
    assert (page.of, page.sort, page.pages, page.pools, page.servers) == ("pools", "state", 2, 60, 120)
    assert list(names(page))[:3] == ["p30", "p31", "p00"]
    assert len(page.rows) == ROWS_A_PAGE
    assert not any(names(page).values())
    assert list(names(listed(found, page=2))) == [f"p{number}" for number in range(50, 60)]
    assert listed(found, page=99).page == 2


def test_a_pool_of_many_servers_is_listed_in_pages_the_worst_first():
    found = pools(web=[f"s{number:03}" for number in range(120)])
    break_server(found["web"], "s100", "draining")
    break_server(found["web"], "s110")
    page = listed(found)
    assert (page.of, page.sort, page.pages) == ("servers", "state", 3)
    assert names(page)["web"][:3] == ["s110", "s100", "s000"]
    assert len(names(listed(found, page=3))["web"]) == 20


def test_what_a_search_finds_is_listed_as_servers_once_it_fits():
    found = pools(**many())
    break_server(found["p40"], "p40-b", reason="HTTP 503")
    assert names(listed(found, words=("p07",))) == {"p07": ["p07-a", "p07-b"]}
    assert names(listed(found, words=("p0", "-b:1"))) == {f"p0{number}": [f"p0{number}-b"] for number in range(10)}
    assert names(listed(found, words=("http 503",))) == {"p40": ["p40-b"]}
    assert listed(found, words=("p",)).of == "pools"
    assert names(listed(found, words=("nothing",))) == {}


def test_only_what_is_not_well_is_listed():
    found = pools(**many(), empty=[])
    break_server(found["p40"], "p40-b")
    break_server(found["p41"], "p41-a", "draining")
    page = listed(found, trouble=True, failing={"p42"})
    assert names(page) == {"empty": [], "p40": ["p40-b"], "p42": [], "p41": ["p41-a"]}
    assert names(listed(found, trouble=True, failing={"p42"}, words=("p42",))) == {"p42": []}


def test_a_pool_by_name_is_listed_with_its_servers_also_if_none_is_found():
    found = pools(**many())
    assert names(listed(found, pool="p05")) == {"p05": ["p05-a", "p05-b"]}
    assert names(listed(found, pool="p05", words=("p06",))) == {"p05": []}
    assert names(listed(found, pool="p99")) == {}


@pytest.mark.parametrize(
    ("sort", "descending", "wanted"),
    [
        ("name", False, ["a", "b", "c"]),
        ("name", True, ["c", "b", "a"]),
        ("total", True, ["a", "b", "c"]),
        ("state", False, ["c", "b", "a"]),
        ("rate", False, ["b", "c", "a"]),  # servers have none: the order of the configuration
    ],
)
def test_servers_are_sorted_by_a_column(sort, descending, wanted):
    found = pools(web=["b", "c", "a"])
    break_server(found["web"], "c")
    leased = {("web", "a"): 9, ("web", "b"): 5}
    page = listed(found, leased, sort=sort, descending=descending)
    assert names(page)["web"] == wanted
    assert page.sort == ("" if sort == "rate" else "-" * descending + sort)


@pytest.mark.parametrize("sort", ["active", "failed", "weight", "change"])
def test_servers_can_be_sorted_by_what_they_know_themselves(sort):
    found = pools(web=["a", "b"])
    backend = found["web"].backends["a"]
    backend.failed_connects = 3
    backend.leases.add(1)
    backend.turned = 9.0
    break_server(found["web"], "b")
    assert names(listed(found, sort=sort, descending=True))["web"] == ["a", "b"]


@pytest.mark.parametrize("sort", ["servers", "available", "active", "total", "rate", "failed"])
def test_pools_are_sorted_by_a_column(sort):
    found = pools(**many(), z=["z-a", "z-b", "z-c"])
    backend = found["z"].backends["z-a"]
    backend.failed_connects = 3
    backend.leases.add(1)
    leased = {("z", "z-a"): 7}
    sums = done_at_once(sum_pools(found, (), leased, dict.fromkeys(found, 0), 2.0))
    assert sums["z"].per_second == 3.5
    page = done_at_once(found_by(sums, leased, OverviewQuery(sort=sort, descending=True)))
    assert next(iter(names(page))) == "z"


def test_a_rate_is_known_once_there_are_two_counts_and_never_negative():
    found = pools(web=["a"])
    assert done_at_once(sum_pools(found, (), {("web", "a"): 3}, {}, 1.0))["web"].per_second is None
    assert done_at_once(sum_pools(found, (), {("web", "a"): 3}, {"web": 5}, 1.0))["web"].per_second == 0
