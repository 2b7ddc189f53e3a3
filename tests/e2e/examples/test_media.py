"""examples/live and examples/vod: their one command, and their page in a browser, by HLS and by DASH."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import httpx
import m3u8
import pytest
import trio

from tests.support.balancer import PATIENCE
from tests.support.browser import CHROMIUM, new_page
from tests.support.paths import EXAMPLES, ROOT
from tests.support.servers import free_port

pytestmark = pytest.mark.slow
PORTS = ("1935", "8080", "9900")
PLAYERS = ("hls.min.js", "dash.all.min.js")


@asynccontextmanager
async def example(name, home, *changes):
    """Run the command of an example, on ports of its own. The block gets the URL of its page."""
    ports = {port: str(free_port()) for port in PORTS}
    shutil.copytree(EXAMPLES / name, home / name, ignore=shutil.ignore_patterns("films"))
    for path in (home / name).glob("*.*"):
        text = path.read_text()
        for old, new in (("../players", str(EXAMPLES / "players")), *changes, *ports.items()):
            text = text.replace(old, new)
        path.write_text(text.replace('HERE.parent / "players"', f'"{EXAMPLES / "players"}"'))
    process = await trio.lowlevel.open_process(
        [sys.executable, home / name / "start.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{ports['8080']}"
    finally:
        process.send_signal(signal.SIGTERM)
        with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
            assert await process.wait() == 0


async def found(client, url):
    """Return the text at a URL, once there is one."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                response = await client.get(url)
            except httpx.TransportError:
                pass  # the example is not there yet
            else:
                if response.status_code == 200:
                    return response.text
            await trio.sleep(0.2)  # nothing tells of a start from outside


def plays(page, url, player):
    """Show the page with a player, and wait until the picture moves."""
    page.goto(f"{url}&player={player}")
    page.wait_for_function("document.getElementById('video').currentTime > 0 && video.readyState > 2")
    before = page.evaluate("video.currentTime")
    page.wait_for_function(f"video.currentTime > {before} + 1")
    return page.evaluate("video.videoHeight")


def require_players():
    """Without a browser, or the registry, tests are skipped; in CI they fail."""
    if CHROMIUM is None or not all((EXAMPLES / "players" / "vendor" / name).exists() for name in PLAYERS):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no chromium, or npm cannot fetch the players")


async def test_the_live_example_publishes_and_its_page_plays(tmp_path):
    async with example("live", tmp_path) as site, httpx.AsyncClient() as client:
        listed = m3u8.loads(await found(client, f"{site}/live/show/v0.m3u8"))
        assert listed.part_inf.part_target == 0.5
        require_players()

        def visit():
            with new_page() as page:
                return [plays(page, f"{site}/?src=/live/show", player) for player in ("hls", "dash")]

        assert await trio.to_thread.run_sync(visit) == [180, 180]


async def test_the_vod_example_makes_films_and_its_page_plays_them(tmp_path):
    async with example("vod", tmp_path, ("SECONDS = 60", "SECONDS = 12")) as site, httpx.AsyncClient() as client:
        master = m3u8.loads(await found(client, f"{site}/films/ladder/master.m3u8"))
        assert [each.stream_info.resolution for each in master.playlists] == [(320, 180), (640, 360)]
        assert m3u8.loads(await found(client, f"{site}/films/card.mp4/v0.m3u8")).is_endlist
        part = await client.get(f"{site}/films/card.mp4", headers={"Range": "bytes=4-7"})
        assert (part.status_code, part.content) == (206, b"ftyp")
        require_players()

        def visit():
            with new_page() as page:
                assert plays(page, f"{site}/?src=/films/card.mp4", "hls") == 180
                return [plays(page, f"{site}/?src=/films/ladder", player) for player in ("hls", "dash")]

        assert set(await trio.to_thread.run_sync(visit)) <= {180, 360}
