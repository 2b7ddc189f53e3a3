"""The figures of caches add up over processes."""

from __future__ import annotations

from lb.model.cache_figures import MOST_TOP_OBJECTS, CacheFigures, CacheTier, hit_ratio


def test_memory_adds_up_and_the_disk_is_the_same_for_all():
    first = CacheFigures(CacheTier(1, 10, 100), CacheTier(5, 50, 500), {"HIT": 1}, 2, 1, {"size": 1}, {"read": 1})
    second = CacheFigures(CacheTier(2, 20, 100), CacheTier(6, 60, 500), {"HIT": 3, "MISS": 1}, 1)
    total = first.plus(second)
    assert (total.memory, total.disk) == (CacheTier(3, 30, 200), CacheTier(6, 60, 500))
    assert total.requests == {"HIT": 4, "MISS": 1}
    assert (total.fills, total.fills_under_way, total.evictions, total.errors) == (3, 1, {"size": 1}, {"read": 1})
    assert first.plus(CacheFigures()).disk == first.disk
    assert CacheFigures().plus(CacheFigures()).disk is None


def test_of_a_process_that_has_ended_its_counts_remain():
    figures = CacheFigures(CacheTier(1, 10, 100), CacheTier(5, 50, 500), {"HIT": 1}, 2, 1).totals()
    assert figures == CacheFigures(requests={"HIT": 1}, fills=2)


def test_the_objects_asked_for_most_often_are_those_of_all_processes():
    first = CacheFigures(top={f"a{number}": 2 for number in range(MOST_TOP_OBJECTS)})
    second = CacheFigures(top={"a3": 1, "b": 9, "c": 1})
    top = first.plus(second).top
    assert len(top) == MOST_TOP_OBJECTS
    assert list(top.items())[:2] == [("b", 9), ("a3", 3)]
    assert "c" not in top


def test_the_hit_ratio_is_that_of_the_requests_since_then():
    now = {"HIT": 5, "STALE": 1, "UPDATING": 1, "REVALIDATED": 1, "MISS": 1, "EXPIRED": 1, "BYPASS": 0}
    assert hit_ratio(now) == 0.8
    assert hit_ratio(now, {"HIT": 5, "STALE": 1, "REVALIDATED": 1}) == 1 / 3
    assert hit_ratio(now, now) is None
    assert hit_ratio({}) is None
