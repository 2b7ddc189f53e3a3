"""Viewers go back in a live stream through the real command: what is no longer in memory comes from the disk."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest
import trio

from tests.e2e.media.test_recording import content, files, first_file, small_disk
from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer
from tests.support.processes import media_process
from tests.support.publishing import live_config, publishing
from tests.support.viewing import packets, viewer

pytestmark = pytest.mark.slow
DVR = 'dvr = "1m"\nwindow = 3\nkeep = 3'


def dvr_config(directory, app=DVR):
    return live_config(app, media=f'directory = "{directory}"')


def newest(found):
    """Return the number of a list's last segment."""
    return int(found.segments[-1].uri.rpartition("/")[2].partition(".")[0])


def oldest(found):
    return int(found.segments[0].uri.rpartition("/")[2].partition(".")[0])


async def all_gone(directory):
    """Wait until there is no file below a directory."""
    with trio.fail_after(PATIENCE):
        while any(names for _, _, names in os.walk(directory)):  # noqa: ASYNC110 - not told otherwise
            await trio.sleep(0.05)


@pytest.mark.parametrize("part", ["0", "250ms"])
async def test_viewers_of_hls_and_dash_get_all_that_was_sent_from_the_beginning(tmp_path, part):
    home = tmp_path / "home"
    async with balancer(tmp_path, dvr_config(home, f'{DVR}\npart = "{part}"')) as lb, viewer(lb) as show:
        async with publishing(lb) as publisher:
            await publisher.send(20)
            await publisher.leave()
            await lb.event("stream.unpublished", reason="left")
        for track, name in (("video", "v0"), ("audio", "a0")):
            sent = [frame.data for frame in publisher.of(track)]
            for film in (await show.film(name), await show.dash_film(name)):
                assert [data for _, _, data in packets(film)] == sent
        found = await show.playlist()
        assert len(found.segments) >= 38
        oldest = await show.get(found.segments[0].uri)
        assert oldest.headers["cache-control"] == "max-age=31536000, immutable"
        assert oldest.content in [content(path) for path in files(home)]
        assert await lb.stop() == 0
    assert files(home) == []


async def test_ffmpeg_begins_where_the_window_does(tmp_path):
    """It is told so by an option: FFmpeg loses its way when it seeks in HLS of fragmented MP4, from whomsoever."""
    frames = 300
    async with balancer(tmp_path, dvr_config(tmp_path / "home")) as lb, viewer(lb) as show, publishing(lb) as publisher:
        await publisher.send(20)
        await show.until(lambda found: len(found.segments) >= 38)
        command = [program("ffmpeg"), "-v", "error", "-live_start_index", "0", "-i", f"{show.base}/v0.m3u8"]
        options = ["-frames:v", str(frames), "-c", "copy", "-f", "framemd5", "-"]
        done = await trio.run_process([*command, *options], capture_stdout=True, capture_stderr=True)
    assert done.stderr == b""
    got = [line.rpartition(b",")[2].strip().decode() for line in done.stdout.splitlines() if line[:1] != b"#"]
    sent = sorted(publisher.of("video")[:frames], key=lambda frame: frame.dts)
    assert got == [hashlib.md5(frame.data, usedforsecurity=False).hexdigest() for frame in sent]


async def test_what_a_killed_process_has_left_is_removed_and_the_next_begins_anew(tmp_path):
    home = tmp_path / "home"
    async with balancer(tmp_path, dvr_config(home)) as lb, viewer(lb) as show:
        async with publishing(lb) as publisher:
            await publisher.send(3)
            before = newest(await show.until(lambda found: len(found.segments) >= 5))
            await publisher.leave()
        await lb.event("stream.unpublished")
        await first_file(home)
        os.kill(await media_process(lb), signal.SIGKILL)
        await lb.event("media.process_restarted", process="live")
        await all_gone(home)
        async with publishing(lb) as publisher, trio.open_nursery() as nursery:
            nursery.start_soon(publisher.follow)
            found = await show.until(lambda found: newest(found) > before + 2)
            nursery.cancel_scope.cancel()
        assert oldest(found) > before


async def test_a_full_disk_is_one_event_and_the_stream_goes_on_from_memory(tmp_path):
    with small_disk(tmp_path / "disk", 64 << 10) as disk:
        config = dvr_config(disk, 'dvr = "1m"\nwindow = 3\nkeep = 20')
        async with balancer(tmp_path, config) as lb, viewer(lb) as show, publishing(lb) as publisher:
            await publisher.send(40)
            failed = await lb.event("stream.record_failed", stream="live/show")
            assert failed["error"] == "dvr: No space left on device"
            await publisher.send(2)
            first = (await lb.event("stream.published"))["run"]
            found = await show.until(lambda found: newest(found) == first + 82)  # the 84th is not complete
            assert len(found.segments) == 20
            for each in found.segments:
                assert (await show.get(each.uri)).status_code == 200
            assert len(lb.of("stream.record_failed")) == 1
            await lb.reload(dvr_config(disk, 'dvr = "55s"\nwindow = 3\nkeep = 20'))
            await publisher.send(4)
            await show.until(lambda found: len(found.segments) > 3)


async def test_a_reload_switches_the_window_on_disk_on_and_off(tmp_path):
    home = tmp_path / "home"
    without = live_config("window = 3\nkeep = 3")
    async with balancer(tmp_path, without) as lb, viewer(lb) as show, publishing(lb) as publisher:
        await publisher.send(4)
        await show.until(lambda found: len(found.segments) == 3)
        await lb.reload(dvr_config(home))
        await publisher.send(4)
        await show.until(lambda found: len(found.segments) >= 8)
        await lb.reload(without)
        await publisher.send(1)
        await show.until(lambda found: len(found.segments) == 3)
        await all_gone(home)
        assert not lb.of("stream.unpublished")
