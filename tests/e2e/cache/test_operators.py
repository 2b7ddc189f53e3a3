"""What operators see of a cache and do with it: figures, purges, in all workers at once."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest

from tests.support.balancer import run_lb
from tests.support.caching import Gate, ask, cache_config, response, results
from tests.support.http_client import client, scripted
from tests.support.operating import ADMIN, operated

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("worker_count", "tier")]

URL = "http://a.example"
ON_DISK = 'lb_cache_objects{zone="zone",tier="disk"}'
IN_ALL_WORKERS = 12
"""Requests over connections of their own, after which both workers have very probably answered one."""


@asynccontextmanager
async def cached(tmp_path, *script, route="", zone=""):
    """Run an operated balancer with a cache in front of a server."""
    async with (
        scripted(*script) as server,
        operated(tmp_path, cache_config(server, top=ADMIN, route=route, zone=zone)) as (_, operator),
    ):
        operator.server_requests = server.requests
        yield operator


async def fill_all(lb, *targets):
    """Ask until all workers have the responses."""
    for target in targets:
        for _ in range(IN_ALL_WORKERS):
            await ask(lb, target)


async def first_results(lb, target, count=IN_ALL_WORKERS):
    """Return the results of the first requests over many connections."""
    return results([await ask(lb, target) for _ in range(count)])


async def test_the_figures_of_all_workers_are_in_the_api_and_the_metrics(tmp_path, worker_count, tier):
    async with cached(tmp_path, response(b"x" * 1000)) as operator:
        await fill_all(operator.lb, b"/a")
        found = (await operator.get("/api/v1/caches"))["caches"]["zone"]
        misses = len(operator.server_requests)
        hits = IN_ALL_WORKERS - misses
        assert 1 <= misses <= worker_count
        assert (found["requests"]["MISS"], found["requests"]["HIT"]) == (misses, hits)
        assert misses <= found["memory"]["objects"] <= worker_count
        assert 1000 < found["memory"]["bytes"] < found["memory"]["max_bytes"] == 64 << 20
        assert (found["fills"], found["fills_under_way"]) == (misses, 0)
        assert found["hit_ratio"]["since_start"] == round(hits / IN_ALL_WORKERS, 4)
        assert found["top"] == [{"key": "http a.example /a", "requests": IN_ALL_WORKERS}]
        assert (await operator.status())["caches"]["zone"]["requests"] == found["requests"]
        metrics = await operator.metrics()
        assert metrics['lb_cache_requests_total{zone="zone",result="HIT"}'] == hits
        assert metrics['lb_cache_objects{zone="zone",tier="memory"}'] == found["memory"]["objects"]
        assert metrics['lb_cache_bytes{zone="zone",tier="memory"}'] == found["memory"]["bytes"]
        assert metrics['lb_cache_fills_total{zone="zone"}'] == misses
        if tier == "memory":
            assert found["disk"] is None
            return
        await operator.until(operator.metrics, lambda values: values[ON_DISK] == 1)
        disk = (await operator.get("/api/v1/caches"))["caches"]["zone"]["disk"]
        assert disk["objects"] == 1
        assert 1000 < disk["bytes"] < disk["max_bytes"] == 1 << 30


async def test_a_purge_by_url_holds_in_all_workers(tmp_path):
    async with cached(tmp_path, response()) as operator:
        lb = operator.lb
        await fill_all(lb, b"/a?x=1", b"/a", b"/ab")
        assert await operator.post("/api/v1/caches/zone/purge", {"url": f"{URL}/a"}) == {"purged": 1}
        before = len(operator.server_requests)
        assert (await first_results(lb, b"/a?x=1")) == ["HIT"] * IN_ALL_WORKERS
        assert (await first_results(lb, b"/ab")) == ["HIT"] * IN_ALL_WORKERS
        assert len(operator.server_requests) == before
        assert (await ask(lb, b"/a"))[b"x-cache-status"] == b"MISS"
        assert await operator.post("/api/v1/caches/zone/purge", {"url": f"{URL}/none"}) == {"purged": 0}
        event = await lb.event("cache.purged", purged=1)
        assert (event["zone"], event["by"], event["text"]) == ("zone", "url", f"{URL}/a")


async def test_no_worker_serves_what_was_purged(tmp_path, worker_count, tier):
    async with cached(tmp_path, response(b"old")) as operator:
        lb = operator.lb
        await fill_all(lb, b"/")
        if tier == "disk":
            await operator.until(operator.metrics, lambda values: values[ON_DISK] == 1)
        operator.server_requests.clear()
        await operator.post("/api/v1/caches/zone/purge", {"prefix": URL})
        await fill_all(lb, b"/")
        assert 1 <= len(operator.server_requests) <= worker_count
        found = (await operator.get("/api/v1/caches"))["caches"]["zone"]
        assert 1 <= found["evictions"]["purge"] <= worker_count


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("{host}{path}{cookie:user}", b"Cookie: user=7\r\n"),
        ("{method}-{uri}", b""),
        ("{query}{path}{header:Accept}", b"Accept: text/html\r\n"),
    ],
)
async def test_a_url_finds_its_keys_whatever_else_is_in_them(tmp_path, key, asked):
    async with cached(tmp_path, response(), route=f'key = "{key}"') as operator:
        lb = operator.lb
        await ask(lb, b"/a/1?q=2", fields=asked)
        await ask(lb, b"/a/2?q=2", fields=asked)
        assert await operator.post("/api/v1/caches/zone/purge", {"url": f"{URL}/a/1?q=2"}) == {"purged": 1}
        assert await operator.post("/api/v1/caches/zone/purge", {"prefix": f"{URL}/a/"}) == {"purged": 1}


async def test_a_purge_takes_all_variants_of_a_url(tmp_path):
    varied = response(fields=b"Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\n")
    async with cached(tmp_path, varied) as operator:
        for coding in (b"gzip", b"br"):
            await ask(operator.lb, fields=b"Accept-Encoding: %s\r\n" % coding)
        assert await operator.post("/api/v1/caches/zone/purge", {"url": f"{URL}/"}) == {"purged": 2}


async def test_a_purge_by_tag_takes_what_the_server_has_tagged(tmp_path):
    tagged = response(fields=b"Cache-Control: max-age=60\r\nSurrogate-Key: one two\r\nCache-Tag: three\r\n")
    async with cached(tmp_path, tagged, response()) as operator:
        lb = operator.lb
        await ask(lb, b"/tagged")
        await ask(lb, b"/plain")
        for tag, purged in (("four", 0), ("two", 1), ("two", 0)):
            assert await operator.post("/api/v1/caches/zone/purge", {"tag": tag}) == {"purged": purged}


async def test_what_is_on_its_way_when_its_tag_is_purged_is_not_stored(tmp_path):
    slow = Gate(response(b"old", b"Cache-Control: max-age=60\r\nCache-Tag: news\r\n"))
    async with cached(tmp_path, slow, response(b"new")) as operator:
        async with client(operator.lb) as visitor:
            await visitor.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            await slow.asked.wait()
            await operator.post("/api/v1/caches/zone/purge", {"tag": "news"})
            slow.let(0)
            assert (await visitor.answer()).body == b"old"
        assert (await ask(operator.lb)).body == b"new"


@pytest.mark.parametrize(
    "body",
    [{}, {"url": "/a"}, {"url": "ftp://a/b"}, {"tag": ""}, {"tag": 7}, {"url": f"{URL}/", "tag": "a"}, {"x": "y"}],
)
async def test_what_is_no_purge_is_refused(tmp_path, body):
    async with cached(tmp_path, response()) as operator:
        assert (await operator.post("/api/v1/caches/zone/purge", body, status=422))["error"]
        answer = await operator.post("/api/v1/caches/other/purge", {"tag": "a"}, status=404)
        assert answer["error"] == "there is no cache 'other'"


async def test_an_unsafe_request_is_answered_once_no_worker_has_the_old_response(tmp_path):
    """Each round, a client changes something over one worker, and others read it at once over all."""
    versions = iter(range(1000))
    version = next(versions)

    async def answer(stream, request):
        nonlocal version
        if request.method == b"POST":
            version = next(versions)
        await stream.send_all(response(b"%d" % version))

    async with cached(tmp_path, answer) as operator:
        lb = operator.lb
        for _ in range(10):
            await fill_all(lb, b"/")
            await ask(lb, method=b"POST", fields=b"Content-Length: 0\r\n")
            assert {(await ask(lb)).body for _ in range(IN_ALL_WORKERS)} == {b"%d" % version}


async def test_the_body_of_an_answer_that_waits_for_the_workers_comes_whole(tmp_path):
    body = bytes(range(256)) * 4000
    parts = Gate(response(body)[:50_000], response(body)[50_000:])
    async with cached(tmp_path, parts) as operator, client(operator.lb) as visitor:
        await visitor.send(b"DELETE / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        await parts.asked.wait()
        parts.let(0)
        parts.let(1)
        assert (await visitor.answer()).body == body


async def test_purge_by_a_client_holds_in_all_workers(tmp_path):
    async with cached(tmp_path, response(), route='purge = ["127.0.0.0/8"]') as operator:
        lb = operator.lb
        await fill_all(lb, b"/a/1", b"/a/2", b"/b")
        answer = await ask(lb, b"/a/*", method=b"PURGE")
        assert (answer.status, answer.body) == (200, b"2 purged\n")
        answer = await ask(lb, b"/a/*", method=b"PURGE")
        assert answer.status == 404
        answer = await ask(lb, b"/b", method=b"PURGE")
        assert (answer.status, answer.body) == (200, b"1 purged\n")
        assert (await ask(lb, b"/b", method=b"PURGE")).status == 404


async def test_lb_explain_tells_what_is_stored_for_a_request(tmp_path):
    async with cached(tmp_path, response(b"x" * 1000)) as operator:
        address = (await operator.lb.event("admin.started"))["bind"]
        explain = ("explain", "--admin", address, "--listener", "web", "--url", f"{URL}/a")
        code, out, _ = await run_lb(*explain)
        assert code == 0
        assert "its key in the cache is http a.example /a\n  nothing is stored in its cache\n" in out
        await ask(operator.lb, b"/a")
        code, out, _ = await run_lb(*explain)
        assert code == 0
        assert "  stored in its cache: status 200, 1.0 kB, fresh for " in out
        code, out, _ = await run_lb(*explain, "--json")
        (stored,) = json.loads(out)["stored"]
        assert (stored["status"], stored["bytes"]) == (200, 1000)
        assert 0 < stored["fresh_for"] <= 60


async def test_lb_ctl_shows_and_purges_caches(tmp_path):
    async with cached(tmp_path, response(b"x" * 1000)) as operator:
        await fill_all(operator.lb, b"/a")
        address = (await operator.lb.event("admin.started"))["bind"]
        code, out, err = await run_lb("ctl", "--admin", address, "cache")
        assert (code, err) == (0, "")
        _, line = out.splitlines()
        assert line.split()[0] == "zone"
        assert "of 67.1 MB" in line
        assert "%" in line
        code, out, _ = await run_lb("ctl", "--admin", address, "cache", "--json")
        assert json.loads(out)["caches"].keys() == {"zone"}
        purge = ("ctl", "--admin", address, "cache", "purge", "zone")
        assert await run_lb(*purge, "--url", f"{URL}/a") == (0, "1 purged\n", "")
        assert await run_lb(*purge, "--tag", "a", "--json") == (0, '{\n  "purged": 0\n}\n', "")
        code, _, err = await run_lb(*purge, "--prefix", "nowhere")
        assert (code, err.count("\n")) == (1, 1)
        assert "https://www.example.com/a" in err
        code, _, err = await run_lb(*purge)
        assert code == 2
