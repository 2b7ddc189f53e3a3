"""Streams that need a link: players keep it, caches and logs never see it, and it ends."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import httpx
import m3u8
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer
from tests.support.http_client import client as http_client
from tests.support.http_client import scripted
from tests.support.paths import ROOT
from tests.support.publishing import live_config, publishing
from tests.support.viewer_link import viewer_link
from tests.support.viewing import viewer

pytestmark = pytest.mark.slow
HOW_TO = ROOT / "docs" / "how-to" / "protect-streams.md"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nhi"


def soon(seconds=1000):
    return int(time.time()) + seconds


def token(link):
    return link.rpartition(".")[2]


@asynccontextmanager
async def protected(tmp_path, secret="secret\n"):
    """Run a balancer with a stream of some segments. The block gets it, and a client of its listener ``web``."""
    (tmp_path / "viewers.key").write_text(secret)
    config = live_config("window = 10\nkeep = 10", route='viewer_secret_file = "viewers.key"')
    async with balancer(tmp_path, config) as lb, publishing(lb) as publisher:
        await publisher.send(4)
        base = f"http://127.0.0.1:{lb.ports['web']}"
        async with httpx.AsyncClient(base_url=base, timeout=PATIENCE) as web:
            link = viewer_link(b"secret", "/live/", soon())
            async with viewer(lb, route=f"{link[1:]}/live") as show:
                await show.until(lambda found: len(found.segments) >= 3)
            yield lb, web


async def all_of_a_stream(web, url):
    """Ask for a stream as players do. Return the cache's results by path without what stands before ``/live/``."""
    results, to_ask = {}, [url]
    while to_ask:
        response = await web.get(url := to_ask.pop())
        assert response.status_code == 200, (url, response.text)
        results[url[url.index("/live/") :]] = response.headers["x-cache-status"]
        if url.endswith(".m3u8"):
            found = m3u8.M3U8(response.text, strict=True)
            uris = [each.uri for each in (*found.playlists, *found.media, *found.segments)]
            uris += [each.init_section.uri for each in found.segments]
            to_ask += [urljoin(url, uri) for uri in dict.fromkeys(uris)]
    return results


@pytest.mark.usefixtures("worker_count")
async def test_a_player_gets_all_by_its_link_and_others_get_it_from_the_cache(tmp_path):
    async with protected(tmp_path) as (lb, web):
        links = [viewer_link(b"secret", "/live/", soon(1000 + each)) for each in range(5)]
        first, *others = [await all_of_a_stream(web, f"{link}/live/show/master.m3u8") for link in links]
        assert len([path for path in first if path.endswith(".m4s")]) >= 6
        for results in others:
            assert {result for path, result in results.items() if path.endswith((".m4s", ".mp4"))} == {"HIT"}
        manifest = await web.get(f"{links[0]}/live/show/manifest.mpd")
        assert manifest.status_code == 200
        assert links[0] not in manifest.text, "addresses are relative"
        assert (await web.get(f"{links[0]}/live/time")).status_code == 200
        await lb.event("http.request", path="/live/time")
        assert not [event for event in lb.events for link in links if token(link) in str(event)]
        assert {event["path"].partition("/")[2][:5] for event in lb.of("http.request")} == {"live/"}


@pytest.mark.usefixtures("worker_count")
async def test_without_a_valid_link_nobody_sees_anything_also_not_from_the_cache(tmp_path):
    async with protected(tmp_path) as (lb, web):
        good = viewer_link(b"secret", "/live/", soon())
        wrong = [
            "",
            viewer_link(b"secret", "/live/", soon(-2)),
            viewer_link(b"other", "/live/", soon()),
            viewer_link(b"secret\n", "/live/", soon()),
            viewer_link(b"secret", "/films/", soon()),
            good[:-1] + ("0" if good[-1] != "0" else "1"),
            "/~x",
        ]
        paths = [*(await all_of_a_stream(web, f"{good}/live/show/master.m3u8")), "/live/nobody/v0.m3u8", "/live/time"]
        for link in wrong:
            for path in paths:
                for method in ("GET", "HEAD"):
                    for _ in range(3):  # a head that came before is looked up
                        response = await web.request(method, link + path)
                        assert (response.status_code, response.headers["cache-control"]) == (403, "no-store")
            assert response.headers["access-control-allow-origin"] == "*"
        denied = lb.of("http.request", status=403)
        assert {(event["reason"], event["route"], event["server"]) for event in denied} == {("denied", "live", None)}
        assert not [event for event in lb.events for link in wrong if len(link) > 3 and token(link) in str(event)]
        assert (await web.get(f"{good}/other")).status_code == 404
        missed = await lb.event("http.request", status=404, reason="no_route")
        assert missed["path"] == "/~.../other"


@pytest.mark.usefixtures("worker_count")
async def test_a_link_ends_over_an_open_connection_and_hits(tmp_path):
    async with protected(tmp_path) as (_, web):
        link = viewer_link(b"secret", "/live/", ends := soon(2))
        answers = []
        while (now := time.time()) < ends + 0.2:
            response = await web.get(f"{link}/live/show/master.m3u8")
            answers.append((now, response.status_code))
            await trio.sleep(0.02)
        assert {status for at, status in answers if at < ends - 0.2} == {200}
        assert {status for at, status in answers if at > ends} == {403}


async def test_another_secret_in_the_file_ends_the_links_of_the_one_before(tmp_path):
    async with protected(tmp_path) as (lb, web):
        old, new = (f"{viewer_link(key, '/live/', soon())}/live/show/v0.m3u8" for key in (b"secret", b" new"))
        assert [(await web.get(link)).status_code for link in (old, new)] == [200, 403]
        (tmp_path / "viewers.key").write_text(" new\n")
        applied = await lb.reload(lb.config_file.read_text())
        assert applied["event"] == "config.applied"
        assert [(await web.get(link)).status_code for link in (old, new)] == [403, 200]
        (tmp_path / "viewers.key").unlink()
        rejected = await lb.reload(lb.config_file.read_text())
        assert "viewers.key' cannot be read" in str(rejected)
        assert (await web.get(new)).status_code == 200


@pytest.mark.parametrize("cache", ["", "[caches.zone]\n[listeners.web.routes.cache]\nzone = 'zone'"])
@pytest.mark.usefixtures("worker_count")
async def test_any_route_may_need_a_link(tmp_path, cache):
    (tmp_path / "key").write_text("k")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.txt").write_text("a file")
    async with scripted(ANSWER) as server:
        config = f"""
            pools.web.servers = ["{server.address}"]
            [pools.web.health]
            [listeners.web]
            mode = "http"
            bind = "127.0.0.1:0"
            [[listeners.web.routes]]
            path = "/site"
            files = "site"
            strip_prefix = "/site"
            viewer_secret_file = "key"
            [[listeners.web.routes]]
            pool = "web"
            viewer_secret_file = "key"
            {cache}
        """
        async with balancer(tmp_path, config) as lb, http_client(lb) as http:
            for path, of, body in (
                ("/site/a.txt", "/site", b"a file"),
                ("/site/a.txt", "/", None),
                ("/b?c", "/", b"hi"),
            ):
                for _ in range(3):
                    head = f"GET {viewer_link(b'k', of, soon())}{path} HTTP/1.1\r\nHost: a\r\n\r\n"
                    answer = await http.ask(head.encode())
                    assert (answer.status, answer.body if body else None) == (200 if body else 403, body)
                    assert (await http.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())).status == 403
        assert {request.target for request in server.requests} == {b"/b?c"}
        assert len(server.requests) == (1 if cache else 3)


async def test_a_link_holds_at_all_balancers_with_the_same_file(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.txt").write_text("a file")
    config = f"""
        [listeners.web]
        mode = "http"
        bind = "127.0.0.1:0"
        [[listeners.web.routes]]
        path = "/site"
        strip_prefix = "/site"
        files = "{tmp_path}/site"
        viewer_secret_file = "viewers.key"
    """
    link = viewer_link(b"shared", "/site", soon())
    for name, secret, status in (("lb1", "shared\n", 200), ("lb2", "shared", 200), ("lb3", "another", 403)):
        home = tmp_path / name
        home.mkdir()
        (home / "viewers.key").write_text(secret)
        async with balancer(home, config) as lb, http_client(lb) as http:
            assert (await http.ask(f"GET {link}/site/a.txt HTTP/1.1\r\nHost: a\r\n\r\n".encode())).status == status


def test_the_lines_of_the_how_to_make_links(tmp_path):
    lines = re.findall(r"^```sh\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "viewers.key").write_text("a key\n")
    example = [sys.executable, ROOT / "examples" / "viewer_link.py", "viewers.key", "/live/", "4"]
    for command, rest in ((["sh", "-ec", lines], "show/master.m3u8"), (example, "")):
        printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
        expires = int(re.search(r"/~(\d+)", printed)[1])
        assert 4 * 3600 - 60 < expires - time.time() < 4 * 3600 + 60
        assert (
            printed.removeprefix("https://video.example.com")
            == viewer_link(b"a key", "/live/", expires) + f"/live/{rest}"
        )
