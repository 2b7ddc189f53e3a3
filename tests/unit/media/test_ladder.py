"""A ladder: members that are shown as one, with one clock and one count."""

from __future__ import annotations

import attrs
import m3u8
import pytest

from lb.media.frames import CodecConfig, TrackFormat
from lb.media.ladder import Ladder
from lb.media.live_stream import new_timeline
from lb.model import LiveSpec
from tests.support.live_publisher import NOW, FakeWriter, Publisher, get, live_stream, text
from tests.support.mpd import read

FIRST = int(NOW) // 2
SIZES = {"show_360": (640, 360), "show_480": (854, 480), "show_720": (1280, 720)}
CONFIGS = {name: CodecConfig("avc1", bytes((1, 100, 0, 30, number))) for number, name in enumerate(SIZES)}


@attrs.frozen
class SizedWriter(FakeWriter):
    size: tuple = (0, 0)

    @property
    def format(self):
        found = super().format
        return attrs.evolve(found, width=self.size[0], height=self.size[1]) if found.width else found


def opener(name):
    return lambda config, frame: SizedWriter(config, SIZES[name])


class Show:
    """An encoder with a publisher for each member."""

    def __init__(self, delays=(0.0, 0.1, 0.2), **settings):
        self.timeline = new_timeline(LiveSpec("live", **settings))
        self.streams = {name: live_stream(name, self.timeline, open_track=opener(name), **settings) for name in SIZES}
        self.publishers = {
            name: Publisher(self.streams[name], now=NOW + delay, video=CONFIGS[name], mark=name)
            for name, delay in zip(SIZES, delays, strict=True)
        }
        self.ladder = Ladder("show", list(SIZES), self.streams.get)

    @property
    def now(self):
        return max(publisher.now for publisher in self.publishers.values())

    def connect(self, *names):
        for name in names or SIZES:
            self.publishers[name].connect()
        return self

    def send(self, seconds, *names):
        for _ in range(round(seconds / 0.1)):
            for name in names or SIZES:
                self.publishers[name].send(0.1)
        return self

    def disconnect(self, *names):
        for name in names or SIZES:
            self.publishers[name].disconnect()
        return self

    def master(self):
        return m3u8.M3U8(text(self.ladder.resource("master.m3u8", self.now)), strict=True)

    def manifest(self):
        return read(text(self.ladder.resource("manifest.mpd", self.now)))

    def starts(self, name, track="video"):
        """Return number -> start in seconds after NOW."""
        found = self.streams[name].tracks[track].segments
        return {each.number: round(each.start_seconds - NOW, 3) for each in found}

    def playlist(self, name, track="v0"):
        return m3u8.M3U8(text(get(self.streams[name], f"{track}.m3u8", self.now)), strict=True)


def test_members_that_connect_one_after_another_have_the_same_times_and_numbers():
    show = Show().connect().send(8.3)
    starts = [show.starts(name) for name in SIZES]
    assert starts[0] == starts[1] == starts[2]
    assert list(starts[0]) == list(range(FIRST, FIRST + 4))


def test_the_master_lists_members_with_the_sound_of_the_best():
    found = Show().connect().send(4.3).master()
    assert [each.uri for each in found.playlists] == [f"../{name}/v0.m3u8" for name in SIZES]
    assert [each.stream_info.resolution for each in found.playlists] == list(SIZES.values())
    assert [each.uri for each in found.media] == ["../show_720/a0.m3u8"]
    assert {each.stream_info.audio for each in found.playlists} == {"audio"}


def test_the_manifest_lists_members_in_one_period():
    show = Show().connect().send(4.3)
    found = show.manifest()
    ((name, members),) = found.periods.items()
    assert found.starts[name] == 0
    assert list(members) == ["v0", "v1", "v2", "a0"]
    assert [members[each].init.split("/")[1] for each in members] == [*SIZES, "show_720"]
    assert len({tuple(each.time for each in members[one].segments) for one in ("v0", "v1", "v2")}) == 1


def test_addresses_lead_to_the_members_segments():
    show = Show().connect().send(4.3)
    for name, members in show.manifest().periods.items():
        assert name
        for member in members.values():
            for segment in member.segments:
                parent, stream, path = segment.uri.split("/", 2)
                assert parent == ".."
                assert get(show.streams[stream], path, show.now).status == 200


def test_key_frames_near_one_another_have_one_number_though_the_clocks_differ():
    show = Show(delays=(0.0, 0.1, 0.2))
    for offset, publisher in enumerate(show.publishers.values()):
        publisher.timestamp = 5_000.0 * offset
    show.connect().send(8.3)
    starts = [show.starts(name) for name in SIZES]
    assert list(starts[0]) == list(starts[1]) == list(starts[2])
    assert all(abs(starts[0][number] - starts[2][number]) <= 0.25 for number in starts[0])


def test_a_member_that_lacks_key_frames_takes_the_others_numbers():
    show = Show()
    show.publishers["show_480"].gop = 6.0
    show.connect().send(18.3)
    assert show.starts("show_480") == {
        number: start for number, start in show.starts("show_720").items() if number % 3 == FIRST % 3
    }


def test_a_member_that_leaves_is_no_longer_shown_and_comes_back_in_step():
    show = Show().connect().send(5)
    show.disconnect("show_720")
    assert [each.uri for each in show.master().playlists] == ["../show_360/v0.m3u8", "../show_480/v0.m3u8"]
    assert [each.uri for each in show.master().media] == ["../show_480/a0.m3u8"]
    show.send(3.3, "show_360", "show_480")
    publisher = show.publishers["show_720"]
    publisher.now, publisher.timestamp = show.now, show.publishers["show_360"].timestamp
    show.connect("show_720").send(6)
    assert len(show.master().playlists) == 3
    back = {number: start for number, start in show.starts("show_720").items() if number > FIRST + 3}
    assert back
    assert all(abs(show.starts("show_360").get(number, start) - start) < 2 for number, start in back.items())


def test_discontinuities_are_counted_alike_by_all_members():
    show = Show().connect().send(5)
    show.disconnect("show_720").send(3, "show_360", "show_480")
    publisher = show.publishers["show_720"]
    publisher.now, publisher.timestamp = show.now, show.publishers["show_360"].timestamp
    show.connect("show_720").send(5)
    counts = [
        (found.discontinuity_sequence or 0) + [each.discontinuity for each in found.segments].count(True)
        for found in (show.playlist(name, track) for name in SIZES for track in ("v0", "a0"))
    ]
    assert set(counts) == {1}


def test_when_all_leave_all_are_shown_until_they_are_forgotten():
    show = Show().connect().send(5).disconnect()
    assert len(show.master().playlists) == 3
    assert show.manifest().attributes["type"] == "dynamic"
    found = read(text(show.ladder.resource("manifest.mpd", show.now + 61)))
    assert found.attributes["type"] == "static"


def test_a_member_that_changes_its_configuration_begins_a_period():
    show = Show().connect().send(5)
    show.disconnect("show_720").send(1, "show_360", "show_480")
    publisher = show.publishers["show_720"]
    publisher.now, publisher.timestamp = show.now, show.publishers["show_360"].timestamp
    publisher.video = CodecConfig("avc1", b"\x01\x64\x00\x28\x09")
    show.connect("show_720").send(6)
    found = show.manifest()
    assert len(found.periods) == 2
    assert next(iter(found.starts.values())) == 0


@pytest.mark.parametrize("path", ["v0.m3u8", "x", ""])
def test_a_ladder_has_lists_of_renditions_only(path):
    assert Show().connect().send(3).ladder.resource(path, NOW).status == 404


def test_a_ladder_without_members_is_unknown_and_one_that_begins_is_not_ready():
    show = Show()
    assert Ladder("show", ["other"], show.streams.get).resource("master.m3u8", NOW).status == 404
    assert show.connect().send(1).ladder.resource("master.m3u8", show.now).status == 503


def test_sizes_are_told():
    assert opener("show_360")(CONFIGS["show_360"], b"").format == TrackFormat(
        CONFIGS["show_360"], 90_000, width=640, height=360
    )
