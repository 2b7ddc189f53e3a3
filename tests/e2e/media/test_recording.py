"""Recordings of live streams through the real command: read by ffprobe and by libav, and served as films."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer
from tests.support.directories import all_within
from tests.support.processes import media_process
from tests.support.publishing import live_config, publish_command, publishing, publishing_by, stream_url
from tests.support.viewing import packets, viewer

pytestmark = pytest.mark.slow
RECORD = 'record = "rec/{name}-{start}.mp4"'


def recording(directory, app=RECORD, **more):
    return live_config(app, media=f'directory = "{directory}"', **more)


def files(directory):
    return sorted(path for path, status in all_within(directory).items() if stat.S_ISREG(status.st_mode))


async def first_file(directory, size=0):
    """Wait for a file of at least so many bytes. Return its path."""
    with trio.fail_after(PATIENCE):
        while not (found := files(directory)) or found[0].stat().st_size < size:  # noqa: ASYNC110 - not told otherwise
            await trio.sleep(0.05)
    return found[0]


def content(path):
    return Path(path).read_bytes()


def probed(path):
    """Return what ffprobe reads of a file: its streams, the number of their packets, its duration."""
    shown = "format=duration,start_time:stream=codec_type,nb_read_packets"
    command = [program("ffprobe"), "-v", "error", "-count_packets", "-show_entries", shown, "-of", "json", path]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""
    found = json.loads(done.stdout)
    counts = {each["codec_type"]: int(each["nb_read_packets"]) for each in found["streams"]}
    return counts, float(found["format"]["start_time"]), float(found["format"]["duration"])


@pytest.mark.parametrize("part", ["0", "250ms"])
async def test_a_recording_has_every_packet_of_both_tracks_from_its_beginning(tmp_path, part):
    async with balancer(tmp_path, recording(tmp_path / "home", f'{RECORD}\npart = "{part}"')) as lb:
        async with publishing(lb) as publisher:
            await publisher.send(6)
            await publisher.leave()
        done = await lb.event("stream.recorded", stream="live/show")
    (path,) = files(tmp_path / "home")
    assert str(path) == done["file"]
    assert path.parent.name == "rec"
    counts, start, duration = probed(path)
    assert counts == {track: len(publisher.of(track)) for track in ("video", "audio")}
    assert start < 0.2
    assert duration == pytest.approx(6, abs=0.2)
    assert done["seconds"] == pytest.approx(6, abs=0.2)
    assert done["bytes"] == path.stat().st_size
    assert not lb.of("stream.record_failed")


async def test_a_recording_is_served_as_a_film(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    config = recording(home) + (
        f'[media.vod.films]\nroot = "{home}"\n'
        '[[listeners.web.routes]]\nname = "films"\npath = "/films/"\nmedia = "films"\n'
    )
    async with balancer(tmp_path, config) as lb:
        async with publishing(lb) as publisher:
            await publisher.send(6)
            await publisher.leave()
        done = await lb.event("stream.recorded")
        async with viewer(lb, str(Path(done["file"]).relative_to(home)), route="films") as film:
            for track, name in (("video", "v0"), ("audio", "a0")):
                sent = [frame.data for frame in publisher.of(track)]
                assert [data for _, _, data in packets(await film.film(name))] == sent
            whole = await film.client.get(film.base)
            assert whole.content == content(done["file"])


async def test_each_publisher_gets_a_file_and_none_is_overwritten(tmp_path):
    home = tmp_path / "home"
    async with balancer(tmp_path, recording(home, 'record = "{app}/{name}.mp4"')) as lb:
        for turn in (1, 2, 3):
            async with publishing(lb) as publisher:
                await publisher.send(2)
                await publisher.leave()
            await lb.event("stream.recorded", count=turn)
    assert [path.name for path in files(home / "live")] == ["show-2.mp4", "show-3.mp4", "show.mp4"]
    for path in files(home):
        assert probed(path)[0]["video"] == 40


async def test_a_recording_of_a_killed_process_ends_with_its_last_whole_fragment(tmp_path):
    home = tmp_path / "home"
    async with balancer(tmp_path, recording(home)) as lb:
        async with publishing_by(publish_command(program("ffmpeg"), stream_url(lb))):
            path = await first_file(home, 8_000)
            os.kill(await media_process(lb), signal.SIGKILL)
            await lb.event("media.process_restarted", process="live")
        whole = path.read_bytes()
        counts, _, _ = probed(path)
        assert counts["video"] >= 10
        assert counts["audio"] >= 1
        torn = tmp_path / "torn.mp4"
        torn.write_bytes(whole[:-100])
        assert 0 < len(packets(torn.read_bytes())) < sum(counts.values()) + 1
        async with publishing(lb) as publisher:
            await publisher.send(2)
            await publisher.leave()
        await lb.event("stream.recorded")
    assert len(files(home)) == 2
    assert path.read_bytes() == whole


async def test_a_reload_begins_and_ends_the_recording_of_a_publisher_who_stays(tmp_path):
    home = tmp_path / "home"
    async with balancer(tmp_path, live_config()) as lb, viewer(lb) as show:
        async with publishing(lb) as publisher, trio.open_nursery() as nursery:
            nursery.start_soon(publisher.follow)
            await show.until(lambda found: len(found.segments) >= 2)
            assert not files(home)
            assert (await lb.reload(recording(home)))["event"] == "config.applied"
            await first_file(home, 6_000)
            assert (await lb.reload(live_config()))["event"] == "config.applied"
            done = await lb.event("stream.recorded")
            size = len(content(done["file"]))
            await show.until(lambda found: len(found.segments) >= 5)
            nursery.cancel_scope.cancel()
        assert not lb.of("stream.unpublished", reason="removed")
    (path,) = files(home)
    assert path.stat().st_size == size == done["bytes"]
    counts, start, _ = probed(path)
    assert min(counts.values()) >= 5
    assert start < 0.2


@contextmanager
def small_disk(path, size):
    """Mount a file system of so many bytes."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("to mount a small disk needs root")
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.decode()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


async def test_a_full_disk_ends_the_recording_with_one_event_and_the_stream_goes_on(tmp_path):
    with small_disk(tmp_path / "disk", 32 << 10) as disk:
        await full_disk(tmp_path, disk)


async def full_disk(tmp_path, disk):
    async with (
        balancer(tmp_path, recording(disk)) as lb,
        viewer(lb) as show,
        publishing(lb) as publisher,
        trio.open_nursery() as nursery,
    ):
        await publisher.send(12)
        failed = await lb.event("stream.record_failed", stream="live/show")
        assert "No space left on device" in failed["error"]
        newest = (await show.playlist()).segments[-1].uri
        nursery.start_soon(publisher.follow)
        await show.until(lambda found: newest not in [each.uri for each in found.segments])
        nursery.cancel_scope.cancel()
        assert len(lb.of("stream.record_failed")) == 1
        (path,) = files(disk)
        assert str(path) in failed["error"]
        assert probed(path)[0]["video"] >= 10
        path.unlink()
        await lb.reload(recording(disk, f'{RECORD}\nlinger = "61s"'))
        await publisher.send(1.5)
        await first_file(disk)


async def test_ffmpeg_is_recorded_until_the_balancer_stops(tmp_path):
    home = tmp_path / "home"
    async with (
        balancer(tmp_path, recording(home)) as lb,
        publishing_by(publish_command(program("ffmpeg"), stream_url(lb))),
    ):
        path = await first_file(home, 6_000)
        assert await lb.stop() == 0
    (recorded,), (ended,) = lb.of("stream.recorded"), lb.of("stream.unpublished")
    assert (recorded["file"], ended["reason"]) == (str(path), "stopped")
    header = content(path)
    duration = header.index(b"mvhd") + 20
    assert int.from_bytes(header[duration : duration + 4]) == pytest.approx(probed(path)[2] * 1_000, abs=100)
