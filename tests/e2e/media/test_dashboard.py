"""Live streams on the dashboard, and the player of its page, in a real browser."""

from __future__ import annotations

import re
import time
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.support.balancer import PATIENCE
from tests.support.browser import NEEDS_CHROMIUM, new_page
from tests.support.operating import ADMIN, operated
from tests.support.publishing import live_config, publishing
from tests.support.servers import free_port

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
ROW = '#streams tr[data-stream="live/show"]'
FRAMES = "document.querySelector('#player video').getVideoPlaybackQuality().totalVideoFrames"
TIME = "document.querySelector('#player video').currentTime"
SOUND = "document.querySelector('#player video').webkitAudioDecodedByteCount"


@asynccontextmanager
async def browsed(tmp_path, app="", **parts):
    """Run a balancer with a stream that is published in real time. Yield it, and a function that visits its page."""
    async with operated(tmp_path, live_config(app, **{"top": ADMIN, **parts})) as (lb, _):
        admin = f"http://127.0.0.1:{lb.of('admin.started')[0]['bind'].rpartition(':')[2]}/"
        hosts = "127.0.0.1", "tv.example"
        allowed = (admin, *(f"http://{host}:{lb.ports['web']}/" for host in hosts), "data:", "blob:")

        async def browse(visit):
            await trio.to_thread.run_sync(partial(_visit, admin, allowed, visit))

        following = trio.CancelScope()
        async with publishing(lb) as publisher, trio.open_nursery() as nursery:

            async def follow():
                with following:
                    await publisher.follow()

            async def leave():
                following.cancel()
                await publisher.leave()
                await lb.event("stream.unpublished")

            nursery.start_soon(follow)
            await lb.event("stream.published")
            yield lb, browse, leave
            nursery.cancel_scope.cancel()


def _visit(admin, allowed, visit):
    complaints, asked = [], []
    with new_page() as page:
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(admin)
        visit(page)
    assert not [each for each in complaints if "404" not in each and "503" not in each]
    assert not [each for each in asked if not each.startswith(allowed)]


def until(page, condition):
    """Wait until a condition is true. The policy of the page forbids what playwright's own waits do with it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, page.locator("#streams").inner_text()
        page.wait_for_timeout(50)


def latency(page):
    """Wait until a latency is shown, and return it in seconds."""
    until(page, lambda: page.locator("#player .latency").inner_text())
    shown = page.locator("#player .latency").inner_text()
    return float(re.fullmatch(r"([\d.]+) s behind the publisher", shown)[1])


@pytest.mark.parametrize(
    ("app", "route", "most"),
    [("", "", 8.0), ('segment = "1s"\npart = "200ms"', 'host = "tv.example"', 3.0)],
    ids=["usual", "low latency, by name"],
)
async def test_a_stream_is_listed_and_played_with_its_latency(tmp_path, app, route, most):
    async with browsed(tmp_path, app, route=route) as (lb, browse, _):

        def visit(page):
            page.wait_for_selector(ROW)
            client = lb.of("stream.published")[0]["client"]
            until(page, lambda: page.locator(f"{ROW} .codecs").inner_text().startswith("avc1"))
            assert page.locator(f"{ROW} .publisher").inner_text() == client
            assert re.fullmatch(r"\d+ s ago", page.locator(f"{ROW} .since").inner_text())
            assert not page.locator("#player").is_visible()
            page.get_by_role("button", name="Play live/show").click()
            until(page, lambda: page.evaluate(FRAMES) > 20 and page.evaluate(SOUND) > 0)
            assert page.locator("#player .doing").inner_text() == "playing"
            assert page.evaluate("document.querySelector('#player video').videoWidth") == 96
            until(page, lambda: 0 < latency(page) < most)
            until(page, lambda: page.locator(f"{ROW} .viewers").inner_text() == "1")
            page.get_by_role("button", name="Stop").click()
            page.locator("#player").wait_for(state="hidden")

        await browse(visit)


@pytest.mark.parametrize("tracks", [("video", "audio"), ("video",)], ids=["the same", "without sound"])
async def test_a_protected_stream_is_played_and_goes_on_when_its_publisher_has_come_back(tmp_path, tracks):
    (tmp_path / "viewers").write_text("secret of viewers")
    async with browsed(tmp_path, route='viewer_secret_file = "viewers"') as (lb, browse, leave):

        async def come_back():
            await leave()
            async with publishing(lb, tracks=tracks) as other:
                await other.follow()

        def visit(page):
            page.get_by_role("button", name="Play live/show").click()
            until(page, lambda: page.evaluate(FRAMES) > 20 and page.evaluate(SOUND) > 0)
            before = page.evaluate(FRAMES)
            trio.from_thread.run_sync(nursery.start_soon, come_back)
            trio.from_thread.run(partial(lb.event, "stream.published", count=2))
            until(page, lambda: page.evaluate(FRAMES) > before + 60)
            until(page, lambda: 0 < latency(page) < 8)

        async with trio.open_nursery() as nursery:
            await browse(visit)
            nursery.cancel_scope.cancel()


async def test_a_stream_goes_on_when_its_segments_are_counted_from_a_lower_number(tmp_path):
    """As behind a balancer that was started with longer segments."""
    async with browsed(tmp_path) as (_, browse, _):

        def lower(route):
            answer = route.fetch(url=route.request.url.partition("?")[0])
            if not answer.ok:
                route.fulfill(response=answer)
                return
            body = re.sub(r"(?<=MEDIA-SEQUENCE:)\d+", lambda number: str(int(number[0]) - 1000), answer.text())
            route.fulfill(response=answer, body=body.replace("CAN-BLOCK-RELOAD=YES,", ""))

        def visit(page):
            page.get_by_role("button", name="Play live/show").click()
            until(page, lambda: page.evaluate(FRAMES) > 20)
            page.route(re.compile(r"/[va]0\.m3u8"), lower)
            before = page.evaluate(TIME)
            until(page, lambda: page.evaluate(TIME) > before + 8)

        await browse(visit)


async def test_the_page_may_connect_to_the_streams_it_can_play_and_nowhere_else(tmp_path):
    config = live_config(top=ADMIN)
    async with operated(tmp_path, config) as (lb, operator):

        async def policy(**headers):
            return (await operator.client.get("/", headers=headers)).headers["content-security-policy"]

        web = lb.ports["web"]
        assert f"connect-src 'self' http://127.0.0.1:{web}; img-src data:; media-src blob:;" in await policy()
        web_bind = '[listeners.web]\nmode = "http"\nbind = "'
        await lb.reload(config.replace(f"{web_bind}127.0.0.1:0", f"{web_bind}:{free_port()}"))
        port = lb.ports["web"]
        assert f"connect-src 'self' http://localhost:{port};" in await policy(host="localhost:99")
        await lb.reload(f'{ADMIN}\n[listeners.web]\nbind = "127.0.0.1:0"\nservers = ["127.0.0.1:1"]\n')
        assert "connect-src 'self'; img-src data:; base-uri 'none';" in await policy()
