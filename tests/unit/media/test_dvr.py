"""How far back viewers may go: what lists have, what is in memory, and what is on disk."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import attrs
import m3u8
import pytest
import trio

from lb.events import StreamRecordFailed
from lb.media.disk import Disk
from lb.media.dvr import StreamDvr
from lb.media.dvr_home import DvrHome
from lb.media.live_tracks import SegmentMemory
from lb.media.responses import MediaFile
from tests.support.live_publisher import Publisher, get, live_stream, text
from tests.support.mpd import read

PATIENCE = 30


class FakeArchive:
    """Stores at once, unless it is told to wait or to fail."""

    def __init__(self):
        self.waits = False
        self.fails = False
        self.files = {}
        self.waiting = []
        self.closed = False

    def store(self, track, segment):
        if self.fails:
            return
        segment.is_being_stored = True
        self.waiting.append((track, segment))
        if not self.waits:
            self.write()

    def write(self):
        for track, segment in self.waiting:
            segment.is_being_stored = False
            segment.file = MediaFile("/home", f"{segment.cfg}/{track}/{segment.number}.m4s", segment.size, 1)
            self.files[track, segment.number] = b"".join(part.data for part in segment.parts)
        self.waiting = []

    def remove(self, track, segments):
        for segment in segments:
            self.files.pop((track, segment.number), None)

    def resume(self):
        self.fails = False

    def close(self):
        self.closed = True
        self.files.clear()


def dvr_stream(dvr=60.0, **settings):
    stream = live_stream(dvr=dvr, **settings)
    stream.keep_in(FakeArchive())
    return Publisher(stream).connect()


def playlist(publisher, name="v0.m3u8"):
    return m3u8.M3U8(text(get(publisher.stream, name, publisher.now)), strict=True)


def in_memory(stream):
    return {track.name: sum(bool(each.parts) for each in track.segments) for track in stream.tracks.values()}


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_lists_go_back_so_far_and_memory_has_the_newest_segments_alone(part):
    publisher = dvr_stream(part=part).send(200)
    for name in ("v0.m3u8", "a0.m3u8"):
        found = playlist(publisher, name)
        complete = [each for each in found.segments if each.duration]
        assert sum(each.duration for each in complete) == pytest.approx(60, abs=2.1)
    assert in_memory(publisher.stream) == {"v0": 12, "a0": 12}
    assert publisher.stream._memory.used == sum(
        each.size for track in publisher.stream.tracks.values() for each in track.segments if each.parts
    )
    (representations,) = read(text(get(publisher.stream, "manifest.mpd", publisher.now))).periods.values()
    assert 29 <= len(representations["v0"].segments) <= 31
    depth = re.search(
        r'timeShiftBufferDepth="PT([0-9.]+)S"', text(get(publisher.stream, "manifest.mpd", publisher.now))
    )
    assert float(depth[1]) == pytest.approx(60, abs=2.1)


def test_each_listed_segment_can_be_had_from_memory_or_from_its_file():
    publisher = dvr_stream().send(100)
    archive = publisher.stream.archive
    bodies = []
    for each in playlist(publisher).segments:
        response = get(publisher.stream, each.uri, publisher.now)
        assert (response.status, response.cache_control) == (200, "max-age=31536000, immutable")
        number = int(each.uri.rpartition("/")[2].removesuffix(".m4s"))
        if response.file is not None:
            assert response.file.path == each.uri
            assert response.file.size == len(archive.files["v0", number])
        bodies.append(archive.files["v0", number])
        assert response.file is not None or b"".join(response.body) == bodies[-1]
    frames = [line.split(b" ", 1)[1] for line in b"".join(bodies).splitlines()]
    sent = publisher.sent["video"]
    first = sent.index(frames[0])
    assert frames == sent[first : first + len(frames)]


def test_what_is_older_leaves_the_disk_and_all_does_when_the_stream_is_forgotten():
    publisher = dvr_stream().send(300)
    archive = publisher.stream.archive
    assert 2 * 30 <= len(archive.files) <= 2 * 38
    publisher.disconnect()
    publisher.stream.close()
    assert archive.closed
    assert publisher.stream._memory.used == 0


def test_lists_are_the_same_text_however_they_are_made():
    publisher = dvr_stream()
    publisher.stream.settings = attrs.evolve(publisher.stream.settings, linger=600.0)
    publisher.send(21).disconnect().wait(5).connect().send(10)
    publisher.stream.configure(attrs.evolve(publisher.audio, record=b"\x12\x10"), publisher.now)
    publisher.send(11)
    for path in ("v0.m3u8", "a0.m3u8"):
        again = text(get(publisher.stream, path, publisher.now))
        for track in publisher.stream.tracks.values():
            for segment in track.segments:
                segment.line = None
        assert text(get(publisher.stream, path, publisher.now)) == again
        assert again.count("#EXT-X-DISCONTINUITY\n") == again.count("#EXT-X-MAP") == 2 or path == "v0.m3u8"


def test_a_publisher_that_comes_back_within_the_window_goes_on_with_the_list():
    publisher = dvr_stream(linger=30.0).send(20)
    first = playlist(publisher)
    publisher.disconnect().wait(25).connect().send(5)
    found = playlist(publisher)
    assert found.media_sequence == first.media_sequence
    assert [each.discontinuity for each in found.segments].count(True) == 1


def test_after_linger_the_window_stays_with_its_end():
    publisher = dvr_stream(linger=30.0).send(50)
    publisher.disconnect().wait(1_000)
    found = playlist(publisher)
    assert found.is_endlist
    assert sum(each.duration for each in found.segments) == pytest.approx(50, abs=2)


def test_a_segment_that_could_not_be_stored_ends_what_is_before_it_when_it_leaves_memory():
    publisher = dvr_stream().send(40)
    archive = publisher.stream.archive
    archive.fails = True
    publisher.send(10)
    assert sum(each.duration for each in playlist(publisher).segments) > 40
    publisher.send(40)
    found = playlist(publisher)
    assert len(found.segments) == 12
    assert archive.files == {}
    archive.resume()
    publisher.send(60)
    assert sum(each.duration for each in playlist(publisher).segments) == pytest.approx(60, abs=2.1)
    for each in playlist(publisher).segments:
        assert get(publisher.stream, each.uri, publisher.now).status == 200


def test_segments_wait_in_memory_for_a_slow_disk():
    publisher = dvr_stream().send(10)
    publisher.stream.archive.waits = True
    publisher.send(40)
    assert in_memory(publisher.stream)["v0"] == 20  # all but the four that were stored before
    publisher.stream.archive.write()
    publisher.send(2)
    assert in_memory(publisher.stream) == {"v0": 12, "a0": 12}
    assert len(playlist(publisher).segments) == 25


def test_little_memory_costs_nothing_that_is_on_disk():
    memory = SegmentMemory(3_000)
    publisher = dvr_stream(memory=memory).send(100)
    assert memory.used <= 3_000
    found = playlist(publisher)
    assert sum(each.duration for each in found.segments) == pytest.approx(60, abs=2.1)
    for each in found.segments:
        assert get(publisher.stream, each.uri, publisher.now).status == 200


def test_without_an_archive_again_memory_alone_is_listed():
    publisher = dvr_stream().send(60)
    archive = publisher.stream.archive
    publisher.stream.keep_in(None)
    publisher.stream.settings = attrs.evolve(publisher.stream.settings, dvr=0.0)
    assert len(playlist(publisher).segments) == 6
    assert archive.closed
    publisher.send(10)
    assert in_memory(publisher.stream) == {"v0": 12, "a0": 12}
    publisher.stream.keep_in(FakeArchive())
    publisher.stream.settings = attrs.evolve(publisher.stream.settings, dvr=60.0)
    publisher.send(80)
    assert len(playlist(publisher).segments) == 30


class Kept:
    """A stream whose older segments are on a real disk."""

    def __init__(self, directory, disk):
        self.events = []
        self.home = DvrHome(str(directory))
        self.publisher = dvr_stream()
        self.publisher.stream.keep_in(StreamDvr("live/show", self.events.append, disk, self.home))


def files(directory):
    return [path for path in Path(directory).rglob("*") if path.is_file()]


def state(path):
    status = path.stat()
    return status.st_size, status.st_mtime_ns, path.read_bytes()


async def written(disk):
    with trio.fail_after(PATIENCE):
        await disk.idle()


@pytest.fixture
async def disk():
    found = Disk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run)
        yield found
        nursery.cancel_scope.cancel()


async def send(publisher, disk, seconds):
    for _ in range(seconds):
        publisher.send(1)
        await written(disk)


async def test_files_have_what_players_get_and_go_with_the_stream(disk, tmp_path):
    kept = Kept(tmp_path, disk)
    await send(kept.publisher, disk, 100)
    stream = kept.publisher.stream
    assert in_memory(stream) == {"v0": 12, "a0": 12}
    for track in stream.tracks.values():
        for segment in track.segments:
            size, modified, content = state(Path(kept.home.path, segment.file.path))
            assert (segment.size, segment.file.size, segment.file.modified_ns) == (size, size, modified)
            if segment.parts:
                assert content == b"".join(part.data for part in segment.parts)
    assert len(files(tmp_path)) == sum(len(track.segments) for track in stream.tracks.values())
    kept.publisher.disconnect()
    stream.close()
    await written(disk)
    assert files(tmp_path) == []
    assert kept.events == []


async def test_what_is_removed_late_takes_nothing_of_what_came_after_it(disk, tmp_path):
    home = DvrHome(str(tmp_path))
    before, after = (StreamDvr("live/show", [].append, disk, home) for _ in range(2))
    publisher = Publisher(live_stream(dvr=60.0)).connect()
    publisher.stream.keep_in(before)
    await send(publisher, disk, 5)
    publisher.stream.keep_in(after)
    await send(publisher, disk, 5)
    kept = files(tmp_path)
    before.close()  # again, as late as can be
    await written(disk)
    assert kept
    assert files(tmp_path) == kept


async def test_a_full_disk_is_one_event_and_the_next_publisher_is_kept_again(disk, tmp_path, monkeypatch):
    kept = Kept(tmp_path, disk)
    await send(kept.publisher, disk, 20)

    def full(fd, data):
        os.write(fd, data[0][:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lb.media.dvr_home.write_all", full)
    before = set(files(tmp_path))
    await send(kept.publisher, disk, 10)
    assert kept.events == [StreamRecordFailed("live/show", "dvr: No space left on device")]
    assert set(files(tmp_path)) == before
    monkeypatch.undo()
    await send(kept.publisher, disk, 4)
    assert set(files(tmp_path)) == before
    kept.publisher.disconnect().connect()
    await send(kept.publisher, disk, 5)
    assert len(files(tmp_path)) > len(before)
    assert len(kept.events) == 1


LEAVE = """
import sys
from lb.media.dvr_home import DvrHome
home = DvrHome(sys.argv[1])
home.write("live/show/cfg/v0/1.m4s", [b"data"])
print(home.path, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_has_left_is_removed_and_nothing_of_one_that_runs(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        path = Path(process.stdout.readline().decode().strip())
        own = DvrHome(str(tmp_path))
        own.write("live/show/cfg/v0/2.m4s", [b"data"])
        own.remove_left()
        assert path.is_dir()
        process.kill()
    own.remove_left()
    assert not path.exists()
    assert len(files(tmp_path)) == 1
    own.close()
    assert files(tmp_path) == []
    own.remove_left()


def test_what_else_is_there_stays_and_keeps_nothing_from_being_removed(tmp_path):
    """Recordings, for one: ``record = "dvr/{app}/{name}.mp4"``."""
    for name in ("live", "lost+found", "123-0123abcd"):
        (tmp_path / "dvr" / name).mkdir(parents=True)
        (tmp_path / "dvr" / name / "file").write_bytes(b"")
    (tmp_path / "dvr/note").write_bytes(b"")
    DvrHome(str(tmp_path)).remove_left()
    assert sorted(each.name for each in (tmp_path / "dvr").iterdir()) == ["live", "lost+found", "note"]


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    home = DvrHome(str(tmp_path / "new"))
    home.remove_left()
    home.remove_tree("live/show")
    home.close()
    assert not (tmp_path / "new").exists()
