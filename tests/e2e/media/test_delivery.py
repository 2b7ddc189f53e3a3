"""What viewers see of resources of live streams: types, how long they may be kept, conditions, compression, CORS."""

from __future__ import annotations

import gzip
import os
import re

import httpx
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, with_workers
from tests.support.publishing import live_config, publishing
from tests.support.viewing import viewer

pytestmark = pytest.mark.slow
LIST, MANIFEST, SEGMENT = "application/vnd.apple.mpegurl", "application/dash+xml", "video/iso.segment"
FOREVER = "max-age=31536000, immutable"
TRIES = 5
"""Of a measurement: on a busy machine, one takes longer."""


async def resources(show):
    """Return type and Cache-Control of what there is, by path."""
    found = await show.playlist()
    segment = found.segments[0]
    first = re.search(r'#EXT-X-PART:DURATION=[\d.]+,URI="([^"]+)"', await text(show, "v0.m3u8"))
    return {
        "master.m3u8": (LIST, "max-age=2, stale-if-error=30"),
        "v0.m3u8": (LIST, "max-age=1, stale-if-error=30"),
        "a0.m3u8": (LIST, "max-age=1, stale-if-error=30"),
        f"v0.m3u8?_HLS_msn={found.media_sequence}": (LIST, "max-age=12"),
        "manifest.mpd": (MANIFEST, "max-age=1, stale-if-error=30"),
        segment.init_section.uri: ("video/mp4", FOREVER),
        segment.uri: (SEGMENT, FOREVER),
        first[1]: (SEGMENT, FOREVER),
    }


async def text(show, path):
    return (await show.body(path)).decode()


@pytest.mark.usefixtures("worker_count")
async def test_each_resource_says_what_it_is_and_how_long_it_may_be_kept(tmp_path):
    app = 'segment = "1s"\npart = "250ms"'
    async with balancer(tmp_path, live_config(app)) as lb, viewer(lb) as show, publishing(lb) as publisher:
        await publisher.send(4)
        await show.until(lambda found: len(found.segments) >= 3)
        for path, told in (await resources(show)).items():
            for method in ("GET", "HEAD", "GET"):
                response = await show.client.request(method, f"{show.base}/{path}")
                assert response.status_code == 200, path
                assert (response.headers["content-type"], response.headers["cache-control"]) == told, path
                assert response.headers["access-control-allow-origin"] == "*"
                assert int(response.headers["content-length"]) > 0
                assert bool(response.content) == (method == "GET")
                assert ("etag" in response.headers) == (told[0] in (LIST, MANIFEST))
        clock = await show.get("../time")
        assert (clock.status_code, clock.headers["cache-control"]) == (200, "no-store")
        assert (await show.get("../time")).text != clock.text
        for path in ("../nobody/master.m3u8", "nothing", "v0.m3u8x", "00000000/v0/init.mp4"):
            for result in ("MISS", "HIT"):
                response = await show.get(path)
                assert (response.status_code, response.headers["cache-control"]) == (404, "max-age=1"), path
                assert response.headers["x-cache-status"] == result


async def test_who_has_a_list_is_told_so_and_its_tag_changes_with_it(tmp_path):
    async with balancer(tmp_path, live_config()) as lb, viewer(lb) as show, publishing(lb) as publisher:
        await publisher.send(3.2)
        await show.until(lambda found: len(found.segments) == 6)
        before = await show.get("v0.m3u8")
        for path in ("master.m3u8", "v0.m3u8", "manifest.mpd"):
            tag = (await show.get(path)).headers["etag"]
            again = await show.client.get(f"{show.base}/{path}", headers={"If-None-Match": tag})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), path
            other = await show.client.get(f"{show.base}/{path}", headers={"If-None-Match": '"x"'})
            assert other.status_code == 200
        await publisher.send(2)
        await show.until(lambda found: found.segments[-1].uri not in before.text)
        after = await show.client.get(f"{show.base}/v0.m3u8", headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        assert after.headers["etag"] != before.headers["etag"]


@pytest.mark.usefixtures("worker_count")
async def test_lists_are_compressed_and_segments_are_not(tmp_path):
    config = live_config('segment = "500ms"', route="compress = true")
    async with balancer(tmp_path, config) as lb, viewer(lb) as show, publishing(lb) as publisher:
        await publisher.send(6)
        found = await show.until(lambda found: len(found.segments) >= 6)
        async with show.client.stream(
            "GET", f"{show.base}/manifest.mpd", headers={"Accept-Encoding": "gzip"}
        ) as response:
            raw = b"".join([chunk async for chunk in response.aiter_raw()])
        assert response.headers["content-encoding"] == "gzip"
        assert gzip.decompress(raw) == await show.body("manifest.mpd")
        segment = await show.get(found.segments[0].uri)
        assert "content-encoding" not in segment.headers


async def test_a_list_is_never_older_than_it_says(tmp_path):
    """With the usual defaults of a cache, the first who asks after a while would get what there was long ago."""
    async with balancer(tmp_path, live_config()) as lb, viewer(lb) as show, publishing(lb) as publisher:
        await publisher.send(3)
        await show.until(lambda found: len(found.segments) >= 3)
        for _ in range(2):
            before = await show.playlist()
            await publisher.send(1)
            newest = before.media_sequence + len(before.segments)
            await show.until(lambda found, newest=newest: found.media_sequence + len(found.segments) >= newest + 2)
        assert {event["cache"] for event in lb.of("http.request")} <= {"MISS", "HIT", "EXPIRED", "REVALIDATED"}


@pytest.mark.usefixtures("worker_count")
async def test_a_browser_may_ask_whether_a_player_of_another_site_may_ask(tmp_path):
    async with balancer(tmp_path, live_config()) as lb, httpx.AsyncClient(timeout=PATIENCE) as web:
        asking = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
        url = f"http://127.0.0.1:{lb.ports['web']}/live/show/master.m3u8"
        answer = await web.options(url, headers={**asking, "Access-Control-Request-Headers": "cmcd-request"})
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == answer.headers["access-control-allow-headers"] == "*"
        assert answer.headers["access-control-allow-methods"] == "GET, HEAD"
        assert (await web.post(url)).status_code == 405


@pytest.mark.usefixtures("worker_count")
async def test_a_film_comes_at_the_rate_of_its_route_also_from_the_cache(tmp_path):
    (tmp_path / "films").mkdir()
    content = os.urandom(384 << 10)
    (tmp_path / "films" / "a.mp4").write_bytes(content)
    config = with_workers(f"""
        [listeners.web]
        mode = "http"
        bind = "127.0.0.1:0"
        [[listeners.web.routes]]
        path = "/films/"
        media = "films"
        cache = {{ zone = "zone", status_header = "X-Cache-Status" }}
        limit_rate = "128KiB"
        limit_rate_after = "128KiB"
        [caches.zone]
        [media.vod.films]
        root = "{tmp_path}/films"
    """)
    async with balancer(tmp_path, config) as lb, httpx.AsyncClient(timeout=PATIENCE) as web:
        url = f"http://127.0.0.1:{lb.port}/films/a.mp4"
        for result in ("MISS", "HIT"):
            began = trio.current_time()
            answer = await web.get(url)
            assert answer.content == content
            assert answer.headers["x-cache-status"] == result
            assert trio.current_time() - began > 1.5, "256 KiB at 128 KiB/s, but for what may come at once"
        times = []
        while not times or (min(times) >= 0.75 and len(times) < TRIES):
            began = trio.current_time()
            part = await web.get(url, headers={"Range": "bytes=1000-100000"})
            times.append(trio.current_time() - began)
            assert (part.status_code, part.content) == (206, content[1000:100001])
        assert min(times) < 0.75, "no more than what comes without a limit"
