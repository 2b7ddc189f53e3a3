"""The dashboard for a screen reader, weak eyes and a telephone: 200 pools with 20 servers each, in a real browser."""

from __future__ import annotations

import pytest

from tests.e2e.admin.test_dashboard import browse, change_overview, with_cache, with_proxy, with_requests
from tests.support.accessibility import axe_findings
from tests.support.balancer import config, connect, request
from tests.support.browser import NEEDS_CHROMIUM
from tests.support.effort import DEEP
from tests.support.operating import ADMIN, operated
from tests.support.servers import backends
from tests.support.troubled_pools import troubled_pools

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
NARROW, WIDE = 390, 1280  # CSS pixels: a telephone, a small laptop
LOOKS = [(NARROW, "light"), (WIDE, "dark"), *([(NARROW, "dark"), (WIDE, "light")] if DEEP else [])]
POOLS = ["web", *(["checked"] if DEEP else [])]


def findings_in_each_look(page, what):
    """Return what axe finds in each width and colour. Nothing may be wider than the window."""
    findings = []
    for width, colours in LOOKS:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=colours)
        where = f"{what}, {width} px, {colours}"
        findings += [f"{where}: {finding}" for finding in axe_findings(page)]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
    return findings


async def test_axe_finds_nothing_and_nothing_is_wider_than_a_telephone(tmp_path):
    async with troubled_pools(tmp_path) as lb:

        def visit(page):
            findings = findings_in_each_look(page, "all pools")
            for pool in POOLS:
                page.goto(f"{page.url.partition('#')[0]}#pool={pool}")
                page.locator(f'#list-title:text-is("Pool {pool}")').wait_for()
                page.locator("#history .changes li").first.wait_for()
                findings += findings_in_each_look(page, f"the pool {pool}")
            assert not findings, "\n\n".join(findings)

        await browse(lb, visit, ready=".pool-row")


def with_all_cards(overview):
    """Add requests, a cache, a forward proxy, a stream and a cluster to an overview."""
    then = overview["timestamp"]
    stream = {"client": "10.0.0.1:5", "ladder": [], "live": True, "since": then, "codecs": ["avc1.64001f", "mp4a.40.2"]}
    stream |= {"bitrate": 3_100_000, "viewers": 1200}
    overview["streams"] = {"count": 1, "shown": {"live/show": stream}, "urls": {"live": "http://127.0.0.1:9/live/"}}
    nodes = {
        name: {"started": then, "version": "1.2.3", "config": "5e884898da28", "ready": name == "a"} for name in "ab"
    }
    cluster = {"name": "web", "node": "a", "etcd": "ok", "differ": ["config"], "nodes": nodes, "count": 2}
    return with_requests(with_cache(with_proxy({**overview, "cluster": cluster})))


async def test_axe_finds_nothing_on_a_page_that_shows_all_that_there_can_be(tmp_path):
    async with (
        backends("a", "b") as servers,
        operated(tmp_path, config(*servers, top=ADMIN)) as (lb, _),
        await connect(lb.port) as stream,
    ):
        await request(stream, b"name")

        def visit(page):
            change_overview(page, with_all_cards)
            page.get_by_role("button", name="Show", exact=True).click()
            page.get_by_role("button", name="Show changes").click()
            for shown in ("requests", "caches", "forward", "streams", "cluster", "connections", "changes"):
                page.locator(f"#{shown}").wait_for()
            findings = findings_in_each_look(page, "all cards")
            assert not findings, "\n\n".join(findings)

        await browse(lb, visit)
