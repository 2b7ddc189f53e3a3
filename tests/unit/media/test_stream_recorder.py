"""What is recorded of a stream, and where: with a publisher, a disk and files, and without encoding."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from lb.events import StreamRecorded, StreamRecordFailed
from lb.media.disk import Disk, DiskQueue
from lb.media.fragment import open_track
from lb.media.frames import AUDIO, VIDEO
from lb.media.recording_file import RecordingFile, write_all
from lb.media.stream_recorder import RecordTarget, StreamRecorder
from tests.support.live_publisher import Publisher, live_stream
from tests.support.media_source import encoded
from tests.unit.media.test_recorded_movie import packets

PATIENCE = 30
CONFIGS = {each.track: each for each in (encoded("avc1", 1).config, encoded("mp4a", 1).config)}
PATTERN = "{app}/{name}-{start}.mp4"
FIRST = "live/show-20251124T160000Z.mp4"


def opened(config, _frame):
    """Open a track by a real frame: those of the publisher are a few letters."""
    return open_track(config, encoded(config.codec, 1).samples[0].data)


class Recorded:
    """A stream, its publisher, its recorder and its events."""

    def __init__(self, directory, disk, pattern=PATTERN, **settings):
        self.events = []
        self.directory = directory
        self.disk = disk
        self.recorder = StreamRecorder("live/show", self.events.append, disk)
        self.recorder.configure(RecordTarget(str(directory), pattern))
        self.stream = live_stream(open_track=opened, **settings)
        self.stream.record = self.recorder.take
        self.publisher = Publisher(self.stream, video=CONFIGS[VIDEO], audio=CONFIGS[AUDIO])

    def leave(self):
        self.publisher.disconnect()
        self.recorder.end()

    def files(self):
        return sorted(str(each.relative_to(self.directory)) for each in self.directory.rglob("*") if each.is_file())

    def read(self, file):
        return packets((self.directory / file).read_bytes())


@asynccontextmanager
async def recorded(directory, disk=None, pattern=PATTERN, **settings):
    disk = disk or Disk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.run)
        yield Recorded(directory, disk, pattern, **settings)
        nursery.cancel_scope.cancel()


async def written(disk):
    with trio.fail_after(PATIENCE):
        await disk.idle()


async def test_a_publisher_is_recorded_from_its_first_segment_to_its_last_frame(tmp_path):
    async with recorded(tmp_path) as show:
        show.publisher.connect().send(5)
        show.leave()
        await written(show.disk)
        assert show.files() == [FIRST]
        read = show.read(FIRST)
        assert [data for _, _, data in read[VIDEO]] == show.publisher.sent[VIDEO]
        assert [data for _, _, data in read[AUDIO]] == show.publisher.sent[AUDIO]
        (event,) = show.events
        assert isinstance(event, StreamRecorded)
        assert (event.stream, event.file) == ("live/show", f"{tmp_path}/{FIRST}")
        assert event.seconds == pytest.approx(5, abs=0.1)
        assert event.bytes == (tmp_path / FIRST).stat().st_size


async def test_each_publisher_and_each_configuration_has_a_file(tmp_path):
    async with recorded(tmp_path) as show:
        show.publisher.connect().send(3)
        show.leave()
        show.publisher.wait(10).connect().send(3)
        show.publisher.audio = encoded("opus", 1).config
        show.publisher.stream.configure(show.publisher.audio, show.publisher.now)
        show.publisher.send(3)
        show.leave()
        await written(show.disk)
        assert len(show.files()) == len(show.events) == 3
        assert all(isinstance(each, StreamRecorded) for each in show.events)


async def test_a_name_that_exists_is_not_overwritten(tmp_path):
    (tmp_path / "show.mp4").write_bytes(b"precious")
    async with recorded(tmp_path, pattern="{name}.mp4") as show:
        show.publisher.connect().send(3)
        show.leave()
        await written(show.disk)
        assert show.files() == ["show-2.mp4", "show.mp4"]
        assert (tmp_path / "show.mp4").read_bytes() == b"precious"


@pytest.mark.parametrize("part", [0.0, 0.5])
async def test_a_recording_that_begins_later_begins_with_a_key_frame_and_both_tracks(tmp_path, part):
    async with recorded(tmp_path, part=part) as show:
        show.recorder.configure(None)
        show.publisher.connect().send(5.3)
        show.recorder.configure(RecordTarget(str(tmp_path), PATTERN))
        show.publisher.send(5)
        show.recorder.configure(None)
        show.publisher.send(5)
        show.leave()
        await written(show.disk)
        (file,) = show.files()
        read = show.read(file)
        assert int(read[VIDEO][0][2][1:]) % 50 == 0  # every 50th is a key frame
        assert min(at for at, _, _ in read[VIDEO] + read[AUDIO]) < 0.1
        assert read[VIDEO][0][0] == pytest.approx(read[AUDIO][0][0], abs=0.1)
        assert 90 <= len(read[VIDEO]) <= 150
        assert len(show.events) == 1


@pytest.mark.parametrize("tracks", [(VIDEO,), (AUDIO,)])
async def test_one_track_alone_is_recorded(tmp_path, tracks):
    async with recorded(tmp_path) as show:
        show.publisher.tracks = tracks
        show.publisher.connect().send(5)
        show.leave()
        await written(show.disk)
        assert [data for _, _, data in show.read(FIRST)[tracks[0]]] == show.publisher.sent[tracks[0]]


async def test_sound_that_ends_leaves_the_video_recorded(tmp_path):
    async with recorded(tmp_path) as show:
        show.publisher.connect().send(3)
        show.publisher.tracks = (VIDEO,)
        show.publisher.send(20)
        show.leave()
        await written(show.disk)
        read = [show.read(file) for file in show.files()]
        assert sum(len(each[VIDEO]) for each in read) == len(show.publisher.sent[VIDEO])


async def test_a_stream_that_is_never_recorded_leaves_no_file(tmp_path):
    async with recorded(tmp_path) as show:
        show.publisher.connect().send(0)
        show.leave()
        await written(show.disk)
        assert show.files() == []
        assert show.events == []


async def test_an_error_ends_the_recording_with_one_event_and_the_next_publisher_is_recorded(tmp_path, monkeypatch):
    async with recorded(tmp_path) as show:
        show.publisher.connect().send(5)
        await written(show.disk)
        monkeypatch.setattr("lb.media.recording_file.write_all", full_after(100))
        show.publisher.send(10)
        await written(show.disk)
        (event,) = show.events
        assert isinstance(event, StreamRecordFailed)
        assert event.error == f"{tmp_path}/{FIRST}: No space left on device"
        monkeypatch.undo()
        show.publisher.send(4)
        show.leave()
        await written(show.disk)
        assert len(show.events) == 1
        assert [data for _, _, data in show.read(FIRST)[VIDEO]] == show.publisher.sent[VIDEO][:100]
        show.publisher.wait(5).connect().send(3)
        show.leave()
        await written(show.disk)
        assert len(show.files()) == 2
        assert isinstance(show.events[-1], StreamRecorded)


async def test_a_directory_that_leads_out_is_an_error_and_nothing_is_written_there(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    (home / "live").symlink_to(outside)
    async with recorded(home) as show:
        show.publisher.connect().send(5)
        show.leave()
        await written(show.disk)
        (event,) = show.events
        assert isinstance(event, StreamRecordFailed)
        assert list(outside.iterdir()) == []


async def test_a_disk_that_hangs_holds_up_nothing_and_memory_is_bounded(tmp_path, monkeypatch):
    going_on = threading.Event()
    monkeypatch.setattr("lb.media.recording_file.write_all", lambda *args: (going_on.wait(PATIENCE), write_all(*args)))
    async with recorded(tmp_path, Disk(most_waiting=20_000)) as show:
        try:
            show.publisher.connect().send(60)
            (event,) = show.events
            assert isinstance(event, StreamRecordFailed)
            assert "the disk is too slow" in event.error
            assert show.disk.waiting <= 20_000
        finally:
            going_on.set()
        await written(show.disk)
        show.publisher.send(3)
        show.leave()
        await written(show.disk)
        assert show.disk.waiting == 0
        assert len(show.events) == 1
        assert 0 < len(show.read(FIRST)[VIDEO]) < 1_000


def full_after(size):
    """Return what writes so many bytes and then finds the disk full."""

    def write(fd, data):
        os.write(fd, b"".join(data)[:size])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return write


class TestFile:
    def test_directories_are_made_and_a_torn_write_is_taken_back(self, tmp_path, monkeypatch):
        file = RecordingFile(str(tmp_path / "new"), "a/b/c.mp4")
        file.append([b"one", memoryview(b"two")])
        monkeypatch.setattr("lb.media.recording_file.write_all", full_after(2))
        with pytest.raises(OSError, match="No space left"):
            file.append([b"three"])
        assert Path(file.path).read_bytes() == b"onetwo"
        file.append([b"later"])
        file.close()
        assert Path(file.path).read_bytes() == b"onetwo"

    def test_what_a_call_left_over_is_written_by_the_next(self, tmp_path, monkeypatch):
        path = tmp_path / "file"
        writev = os.writev
        monkeypatch.setattr(os, "writev", lambda fd, data: writev(fd, [b"".join(data)[:3]]))
        with path.open("wb") as file:
            write_all(file.fileno(), [b"ab", memoryview(b"cdef"), b"", b"g"])
        assert path.read_bytes() == b"abcdefg"

    @pytest.mark.parametrize("path", ["../out.mp4", "a/../../out.mp4"])
    def test_no_path_leads_out(self, tmp_path, path):
        (tmp_path / "home").mkdir()
        with pytest.raises(OSError):  # noqa: PT011 - which, differs between kernels
            RecordingFile(str(tmp_path / "home"), path)
        assert not (tmp_path / "out.mp4").exists()


class TestDisk:
    async def test_calls_of_a_queue_are_made_in_order_and_those_of_another_go_on_beside(self):
        disk, made, going_on = Disk(), [], threading.Event()
        slow, quick = DiskQueue(disk), DiskQueue(disk)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(disk.run)
            slow.put(lambda: going_on.wait(PATIENCE), made.append)
            slow.put(lambda: 2, made.append, 10)
            quick.put(lambda: 3, lambda result: (made.append(result), going_on.set()))
            assert disk.waiting == 10
            await written(disk)
            nursery.cancel_scope.cancel()
        assert made == [3, True, 2]
        assert disk.waiting == 0

    async def test_an_error_is_the_result(self):
        disk, results = Disk(), []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(disk.run)
            DiskQueue(disk).put(lambda: Path("/nowhere").stat(), results.append)
            await written(disk)
            nursery.cancel_scope.cancel()
        assert isinstance(results[0], FileNotFoundError)
