"""``lb demo live``: the real command, what it prints, and what comes back by itself."""

from __future__ import annotations

import os
import re
import signal
import sys

import httpx
import m3u8
import pytest
import trio

from tests.e2e.tools.test_demo import none_outlives
from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE
from tests.support.browser import NEEDS_CHROMIUM, new_page
from tests.support.effort import LONG_FORM
from tests.support.terminals import on_pipe, on_terminal

pytestmark = pytest.mark.slow


async def begun(demo):
    """Wait for the stream. Return the page's URL, and the pids of the media process and of the publisher."""
    page = (await demo.until(r"(http://\S+/) +# plays the stream"))[1]
    publisher = int((await demo.until(r"kill -9 (\d+) +# kill the publisher"))[1])
    media = int((await demo.until(r"kill -9 (\d+) +# kill the process that makes segments"))[1])
    await demo.until("live/show is published from")
    return page, media, publisher


async def stopped(demo):
    """Stop the demo. No request may have failed, but late ones of a busy machine. Return requests and segments."""
    demo.process.terminate()
    text, code = await demo.rest()
    counts = re.search(
        r"^requests: (\d+) ok, (\d+) failed, (\d+) cut by a kill; segments: (\d+); stalls: (\d+)$", text, re.MULTILINE
    )
    requests, failed, _, segments, stalls = map(int, counts.groups())
    assert code == (1 if failed or stalls or not segments else 0), text
    late = sum(map(int, re.findall(r"failed: (\d+) x .+: no response in ", text)))
    assert failed == late, text
    return requests, segments


async def test_it_kills_the_publisher_and_the_media_process_and_both_come_back():
    """A machine that is too busy may stall the player, or a request: the demo says so, and its exit code."""
    async with on_pipe("demo", "live", "--seconds", "60") as demo:
        _, media, publisher = await begun(demo)
        async with none_outlives([media, publisher]):
            await demo.until(rf"kill -9 {publisher} \(the publisher\)")
            await demo.until("the publisher is dead: killed by SIGKILL")
            await demo.until("live/show is published from")
            await demo.until(rf"kill -9 {media} \(the media process\)")
            await demo.until("the media process is dead: killed by SIGKILL")
            await demo.until("live/show is published from")
            await demo.until(r"the media process has come back", 60)
            requests, segments = await stopped(demo)
    assert requests > segments > 10


async def test_the_lines_that_it_prints_do_what_is_said_of_them():
    async with on_pipe("demo", "live") as demo:
        playlist = (await demo.until(r"curl (http://\S+/v0\.m3u8) "))[1]
        ffmpeg = (await demo.until(r"(ffmpeg -re .+) +# publish"))[1]
        await demo.until("live/show is published from")
        await demo.until(r"segments: [1-9].* viewers: 1\n")
        async with httpx.AsyncClient() as client:
            listed = m3u8.loads((await client.get(playlist)).text, uri=playlist)
            segment = next(each.absolute_uri for each in reversed(listed.segments) if each.uri)
            assert (await client.get(segment)).content[4:8] in (b"styp", b"moof")
        program("ffmpeg")
        command = ffmpeg.replace("640x360", "192x108").replace("ffmpeg ", "exec ffmpeg -v error -nostdin ")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.run_process, ["bash", "-c", command])
            await demo.until("live/mine is published from")
            nursery.cancel_scope.cancel()
        await demo.until("live/mine has lost its publisher: ")
        settings = re.search(r"Server +(rtmp://\S+)\n +Stream Key +(\S+)\n", demo.text).groups()
        assert "/".join(settings) in ffmpeg
        await stopped(demo)


@NEEDS_CHROMIUM
@LONG_FORM
async def test_its_page_plays_and_goes_on_when_the_publisher_is_back():
    async with on_pipe("demo", "live") as demo:
        url, _, publisher = await begun(demo)

        def visit():
            with new_page() as page:
                page.goto(url)
                page.locator("#state", has_text="plays").wait_for()
                assert page.evaluate("document.getElementById('video').videoWidth") == 320
                before = shown(page)
                os.kill(publisher, signal.SIGKILL)
                trio.from_thread.run(demo.until, "live/show is published from")
                page.wait_for_function(f"document.getElementById('video').currentTime > {before + 3}")

        await trio.to_thread.run_sync(visit)
        await stopped(demo)


def shown(page):
    """Return the time of the picture that a page shows."""
    return page.evaluate("document.getElementById('video').currentTime")


async def test_on_a_terminal_keys_kill_and_quit():
    async with on_terminal("demo", "live", lines=30, columns=120) as (demo, _):
        publisher = int((await demo.until(r"publisher +(\d+) "))[1])
        await demo.until("live/show is published from")
        demo.press("p")
        await demo.until(r"the publisher is dead: killed by SIGKILL")
        await demo.until(rf"the publisher starts, pid (?!{publisher}\b)\d")
        demo.press("c")
        await demo.until(r"\[media\.live\.live\]")
        demo.press("l")
        await demo.until("Stream Key")
        demo.press("q")
        await demo.until(r"requests: \d+ ok, \d+ failed, ")
        with trio.fail_after(PATIENCE):
            await demo.process.wait()


async def test_without_pyav_it_says_what_is_missing():
    """What the environment has is hidden from the command."""
    hide = "import sys, importlib.util as u; find = u.find_spec; "
    hide += "u.find_spec = lambda name: None if name == 'av' else find(name)"
    run = f"{hide}; import lb.cli; sys.exit(lb.cli.main(['demo', 'live']))"
    done = await trio.run_process([sys.executable, "-c", run], capture_stdout=True, capture_stderr=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == "lb: this demo needs PyAV: pip install 'trio-lb[media]'\n"
