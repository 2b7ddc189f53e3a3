"""The document of caches, and what a purge may ask for."""

from __future__ import annotations

import pytest

from lb.admin.caches import caches_of, purge_of
from lb.admin.messages import HttpError
from lb.dataplane.stats import StatsSnapshot
from lb.model import CacheSpec
from lb.model.cache_figures import CacheFigures, CacheTier


def test_a_cache_that_no_route_uses_is_empty_and_has_its_limits():
    specs = {"m": CacheSpec("m", memory=5), "d": CacheSpec("d", "/d", max_size=9)}
    found = caches_of(specs, StatsSnapshot(), {})
    assert found["m"]["memory"] == {"objects": 0, "bytes": 0, "max_bytes": 5}
    assert (found["m"]["disk"], found["d"]["disk"]) == (None, {"objects": 0, "bytes": 0, "max_bytes": 9})
    assert found["m"]["hit_ratio"] == {"last_minute": None, "since_start": None}
    assert set(found["m"]["requests"].values()) == {0}


def test_the_hit_ratio_is_of_the_last_minute_and_since_the_start():
    stats = StatsSnapshot(caches={"m": CacheFigures(CacheTier(1, 2, 3), requests={"HIT": 3, "MISS": 3}, top={"k": 4})})
    before = {"m": CacheFigures(requests={"HIT": 3, "MISS": 2})}
    found = caches_of({"m": CacheSpec("m")}, stats, before)["m"]
    assert found["hit_ratio"] == {"last_minute": 0.0, "since_start": 0.5}
    assert found["top"] == [{"key": "k", "requests": 4}]


@pytest.mark.parametrize("body", [{"url": "http://a/b"}, {"prefix": "https://a"}, {"tag": "news"}])
def test_a_purge_has_one_kind(body):
    ((kind, text),) = body.items()
    assert (purge_of(body).kind, purge_of(body).texts) == (kind, (text.encode(),))


@pytest.mark.parametrize(
    "body",
    [{}, {"key": "a"}, {"url": "/a"}, {"tag": 1}, {"tag": ""}, {"tag": "a", "url": "http://a/"}, {"tag": "a", "x": 1}],
)
def test_any_other_purge_is_refused(body):
    with pytest.raises(HttpError):
        purge_of(body)
