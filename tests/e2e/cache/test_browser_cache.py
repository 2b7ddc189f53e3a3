"""A real browser keeps what we send: the second load of a page is no request, or 304s, as Cache-Control says."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer
from tests.support.browser import new_page
from tests.support.cache_origin import Answer, cache_origin

pytestmark = pytest.mark.slow

PAGE = b"""<!doctype html><title>page</title><link rel="stylesheet" href="/style.css">
<script src="/script.js"></script><img src="/image.svg"><p>text</p>"""
SITE = {
    "/": ("text/html", PAGE),
    "/style.css": ("text/css", b"p { color: rgb(1, 2, 3) }" + b" " * 20_000),
    "/script.js": ("text/javascript", b"window.loaded = true;"),
    "/image.svg": ("image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'),
}


def front(*, cache_control="", target):
    """Return the configuration of a listener that sets Cache-Control, if told to."""
    fields = f'response_headers = {{ set = {{ Cache-Control = "{cache_control}" }} }}' if cache_control else ""
    return (
        '[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\n[[listeners.web.routes]]\n'
        f'path = "=/mark"\nrespond = "mark"\n[[listeners.web.routes]]\n{fields}\n{target}\n'
    )


def of_files(directory, **options):
    directory.mkdir()
    for path, (_, body) in SITE.items():
        (directory / (path.strip("/") or "index.html")).write_bytes(body)
    return front(target=f'files = "{directory}"', **options)


def of_cache(origin, **options):
    target = (
        'pool = "origin"\n[listeners.web.routes.cache]\nzone = "site"\n[caches.site]\n'
        f'[pools.origin]\nservers = ["{origin.address}"]'
    )
    return front(target=target, **options)


@asynccontextmanager
async def site_origin(*fields):
    """An origin of the site, with validators and these fields."""
    answers = {
        path: Answer(body, (("Content-Type", kind), *fields), tag=f'"{len(body)}"')
        for path, (kind, body) in SITE.items()
    }
    async with cache_origin(answers) as origin:
        yield origin


def load(page, url):
    """Load the page as one who comes from elsewhere: loading it anew from itself would be a reload."""
    page.goto("about:blank")
    page.goto(url, wait_until="load")
    loaded = page.evaluate(
        "[window.loaded, document.images[0].naturalWidth, getComputedStyle(document.querySelector('p')).color]"
    )
    assert loaded == [True, 9, "rgb(1, 2, 3)"]


async def second_load(lb):
    """Load the page twice in a browser. Return the statuses of the second load by path."""
    url = f"http://127.0.0.1:{lb.port}/"

    def mark():
        assert httpx.get(f"{url}mark", timeout=PATIENCE).text == "mark"

    def visit():
        with new_page() as page:
            load(page, url)
            mark()
            load(page, url)
            mark()

    await trio.to_thread.run_sync(visit)
    await lb.event("http.request", path="/mark", count=2)
    records = [record for record in lb.of("http.request") if record["path"] in ("/mark", *SITE)]
    marks = [number for number, record in enumerate(records) if record["path"] == "/mark"]
    first, second = records[: marks[0]], records[marks[0] + 1 : marks[1]]
    assert {record["path"]: record["status"] for record in first} == dict.fromkeys(SITE, 200)
    return {record["path"]: record["status"] for record in second}


async def test_files_that_are_fresh_are_not_asked_for_again(tmp_path):
    text = of_files(tmp_path / "site", cache_control="max-age=600")
    async with balancer(tmp_path, text) as lb:
        assert await second_load(lb) == {}


async def test_files_that_must_be_asked_for_are_not_sent_again(tmp_path):
    text = of_files(tmp_path / "site", cache_control="no-cache")
    async with balancer(tmp_path, text) as lb:
        assert await second_load(lb) == dict.fromkeys(SITE, 304)


async def test_what_the_origin_calls_fresh_is_not_asked_for_again(tmp_path):
    async with site_origin(("Cache-Control", "max-age=600")) as origin:
        async with balancer(tmp_path, of_cache(origin)) as lb:
            assert await second_load(lb) == {}
        assert len([target for _, target, _ in origin.requests if target in SITE]) == len(SITE)


async def test_the_cache_answers_a_browser_that_must_ask_without_the_origin(tmp_path):
    """We may store for an hour; browsers are told to ask each time, so that they see a purge at once."""
    async with site_origin(("Cache-Control", "max-age=3600")) as origin:
        async with balancer(tmp_path, of_cache(origin, cache_control="no-cache")) as lb:
            assert await second_load(lb) == dict.fromkeys(SITE, 304)
        assert len([target for _, target, _ in origin.requests if target in SITE]) == len(SITE)
