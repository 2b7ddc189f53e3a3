"""Films in players that others wrote: hls.js, dash.js, GStreamer; their lists by strict readers."""

from __future__ import annotations

import json

import pytest
import trio

from tests.e2e.media.test_web_players import STRICT
from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer
from tests.support.films import films_config, stored_film, title, write_films, write_ladder
from tests.support.node_packages import HLS_PARSER, node_package
from tests.support.web_players import web_players, write_page

pytestmark = pytest.mark.slow
FAST = "() => { for (const {video} of Object.values(players)) video.playbackRate = 3; }"
PLACES = "() => Object.values(players).map(({video}) => [video.currentTime, video.ended])"


async def test_hls_js_and_dash_js_play_films_to_their_ends(tmp_path):
    program("chromium")
    site, root = tmp_path / "site", tmp_path / "films"
    site.mkdir()
    root.mkdir()
    write_page(site)
    write_ladder(root / "ladder")
    config = films_config(root, web=f'[[listeners.web.routes]]\npath = "/"\nfiles = "{site}"\n')
    async with balancer(tmp_path, config) as lb, web_players(f"http://127.0.0.1:{lb.ports['web']}/") as players:
        await players.play("hls", "hls", "/films/ladder/master.m3u8")
        await players.play("dash", "dash", "/films/ladder/manifest.mpd")
        with trio.fail_after(PATIENCE):
            places = []
            while not (places and all(ended for _, ended in places)):
                await players.evaluate(FAST)
                await trio.sleep(0.2)  # a page tells nothing by itself
                places = await players.evaluate(PLACES)
        assert [place for place, _ in places] == pytest.approx([6.0, 6.0], abs=0.1)
        found = await players.seen()
        assert not [each.fatal for each in found.values() if each.fatal]  # at this speed they may stall
        assert all(each.pictures for each in found.values())


@pytest.mark.parametrize("listing", ["master.m3u8", "manifest.mpd"])
async def test_gstreamer_gets_all_frames(tmp_path, listing):
    (tmp_path / "film.mp4").write_bytes(stored_film(kinds=("video",)))
    out = tmp_path / "out.h264"
    async with balancer(tmp_path, films_config(tmp_path)) as lb, title(lb, "film.mp4") as shown:
        command = [program("gst-launch-1.0"), "-q", "urisourcebin", f"uri={shown.base}/{listing}", "!", "parsebin"]
        command += ["!", "h264parse", "!", "video/x-h264,stream-format=byte-stream", "!", "filesink", f"location={out}"]
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
        assert done.stderr == b""
    command = [program("ffprobe"), "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets"]
    done = await trio.run_process([*command, "-of", "csv=p=0", out], capture_stdout=True)
    assert done.stdout.strip() == b"160"


async def test_lists_of_films_are_what_a_strict_reader_of_the_standard_wants(tmp_path):
    package = node_package(HLS_PARSER)
    paths = ["ladder/master.m3u8", "ladder/v0.m3u8", "ladder/v1.m3u8", "ladder/a0.m3u8"]
    paths += ["audio%20alone.mp4/master.m3u8", "hevc-opus.mp4/master.m3u8", "av1-aac.mp4/v0.m3u8"]
    write_films(tmp_path)
    async with balancer(tmp_path, films_config(tmp_path)) as lb, title(lb, "") as shown:
        texts = [(await shown.client.get(shown.base + path)).text for path in paths]
    given = json.dumps(texts).encode()
    done = await trio.run_process([program("node"), "-e", STRICT, package], stdin=given, capture_stdout=True)
    assert json.loads(done.stdout) == [2, 6, 6, 6, 1, 1, 1]
