"""Requests in the status: totals, and rates and percentiles of the last minute."""

from __future__ import annotations

import json
from types import SimpleNamespace

import trio
import trio.testing

from lb.admin.recent_requests import SAMPLE_PERIOD, SAMPLES, RecentRequests, http_listeners
from lb.admin.request_status import SLOWEST, requests_of
from lb.admin.status import status
from lb.dataplane.requests import STATUS_CLASSES
from lb.dataplane.stats import Counters, StatsSnapshot
from lb.events import FailedResponse
from lb.model import MediaSpec, TcpSettings
from lb.model.http import HttpSettings
from lb.model.stream_status import MediaSnapshot
from tests.unit.log.test_request_line import request


def counters(*requests, before=None):
    figures = Counters()
    if before is not None:
        figures.add(before)
    for each in requests:
        figures.note_request(each)
    return figures


async def document(before, after, seconds=50.0):
    return (await requests_of(["www"], after.requests, before.requests, seconds))["www"]


async def test_totals_are_of_all_time_and_rates_of_the_last_minute():
    before = counters(*[request()] * 100, request(status=None))
    after = counters(*[request()] * 45, *[request(status=503, route="other")] * 5, before=before)
    found = await document(before, after)
    assert found["total"] == 151
    assert found["statuses"] == dict.fromkeys(STATUS_CLASSES, 0) | {"2xx": 145, "5xx": 5, "none": 1}
    latest = found["last_minute"]
    assert (latest["seconds"], latest["per_second"]) == (50.0, 1.0)
    assert latest["statuses"] == dict.fromkeys(STATUS_CLASSES, 0) | {"2xx": 0.9, "5xx": 0.1}


async def test_percentiles_forget_what_is_older_than_a_minute():
    before = counters(*[request(duration_ms=9000.0, wait_ms=9000.0)] * 1000)
    after = counters(*[request(duration_ms=1.5, wait_ms=0.7)] * 10, before=before)
    latest = (await document(before, after))["last_minute"]
    assert 1 < latest["p50_ms"] < latest["p90_ms"] < latest["p99_ms"] <= 2
    assert 0.5 < latest["first_byte"]["p50_ms"] <= 1


async def test_the_slowest_routes_come_first_and_are_few():
    requests = [request(route=f"r{number}", duration_ms=float(2**number)) for number in range(3, 12)]
    slowest = (await document(counters(), counters(*requests)))["last_minute"]["slowest_routes"]
    assert len(slowest) == SLOWEST
    assert [each["route"] for each in slowest][:2] == ["r11", "r10"]
    assert slowest[0]["per_second"] == 1 / 50
    assert slowest[0]["p50_ms"] <= slowest[0]["p99_ms"]


async def test_a_quiet_listener_has_no_percentiles_and_no_slow_routes():
    before = counters(request())
    latest = (await document(before, before))["last_minute"]
    assert (latest["per_second"], latest["p50_ms"], latest["slowest_routes"]) == (0, None, [])
    first = await document(before, before, seconds=0.0)
    assert first["last_minute"]["per_second"] == 0


async def test_listeners_do_not_mix_and_those_without_requests_are_there():
    figures = counters(request(listener="www"), request(listener="gone"))
    found = await requests_of(["www", "new"], figures.requests, {}, 1.0)
    assert {name: each["total"] for name, each in found.items()} == {"www": 1, "new": 0}


async def test_the_status_has_requests_of_http_listeners_and_kept_connections_of_pools():
    pool = SimpleNamespace(backends={}, spec=SimpleNamespace(strategy=SimpleNamespace(name="least-conn")), ignored=())
    settings = {"www": HttpSettings(pool="backend"), "web": TcpSettings("backend")}
    running = SimpleNamespace(
        shown_pools={"backend": pool},
        bound=("www", "web"),
        bound_of={"www": ["127.0.0.1:80"], "web": ["127.0.0.1:81"]}.__getitem__,
        config=SimpleNamespace(
            listeners={name: SimpleNamespace(settings=each) for name, each in settings.items()},
            caches={},
            media=MediaSpec(),
        ),
        data_plane=SimpleNamespace(active=lambda name: 2),
        sources=lambda pool: {},
    )
    tried = (FailedResponse("a", "connection reset", 0.3),)
    figures, recent = counters(), RecentRequests()
    recent.sample(trio.current_time() - 10, figures.requests)
    figures = counters(request(attempts=tried), request(listener="gone"))
    found = await status(running, StatsSnapshot(figures, kept_connections={"backend": 3}), MediaSnapshot(), recent)
    assert "requests" not in found["listeners"]["web"]
    assert found["listeners"]["www"]["requests"]["total"] == 1
    assert 0.09 < found["listeners"]["www"]["requests"]["last_minute"]["per_second"] <= 0.1
    assert (found["pools"]["backend"]["retries"], found["pools"]["backend"]["kept_connections"]) == (1, 3)
    json.dumps(found)


# Samples


def balancer(settings, figures):
    async def stats():
        return StatsSnapshot.sum([StatsSnapshot(figures)])

    listeners = {"www": SimpleNamespace(settings=settings)}
    return SimpleNamespace(config=SimpleNamespace(listeners=listeners), data_plane=SimpleNamespace(stats=stats))


async def test_the_oldest_sample_is_a_minute_old(nursery, autojump_clock):
    figures, recent = Counters(), RecentRequests()
    nursery.start_soon(recent.run, balancer(HttpSettings(), figures))
    for _ in range(300):
        await trio.sleep(1)
        figures.note_request(request())
        now = trio.current_time()
        began, before = recent.oldest(now, figures.requests)
        assert now - began <= SAMPLES * SAMPLE_PERIOD
        (each,) = figures.requests.values()
        earlier = before.get(("www", "videos"))
        assert abs(each.total - (earlier.total if earlier else 0) - (now - began)) <= 1
    assert now - began >= (SAMPLES - 1) * SAMPLE_PERIOD


async def test_no_sample_is_taken_without_a_listener_of_requests(nursery, autojump_clock):
    figures, recent = counters(request()), RecentRequests()
    running = balancer(HttpSettings(), figures)
    nursery.start_soon(recent.run, running)
    await trio.testing.wait_all_tasks_blocked()
    assert recent.oldest(7.0, {})[1] == figures.requests
    running.config.listeners["www"].settings = TcpSettings("web")
    assert http_listeners(running) == []
    await trio.sleep(2 * SAMPLE_PERIOD)
    assert recent.oldest(7.0, {}) == (7.0, {})
