"""A live stream over its publishers' comings and goings, as viewers see it."""

from __future__ import annotations

import itertools
from collections import deque
from itertools import repeat

import m3u8
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.media import live_resources
from lb.media.frames import CodecConfig, MediaError
from lb.media.live_resources import HeldRequest, clock_response
from lb.media.live_tracks import SegmentMemory
from lb.media.open_segment import NoKeyFrameError
from tests.support.live_publisher import AAC, AVC, NOW, FakeWriter, Publisher, get, live_stream, text
from tests.support.mpd import read

FIRST = int(NOW) // 2
OTHER = CodecConfig("avc1", bytes.fromhex("0142c01effe1"))


def playlist(stream, now, name="v0.m3u8", **query):
    response = get(stream, name, now, **query)
    assert response.status == 200
    return m3u8.M3U8(text(response), strict=True)


def numbers(found):
    return [int(each.uri.rpartition("/")[2].split(".")[0]) for each in found.segments if each.uri]


def manifest(stream, now):
    return read(text(get(stream, "manifest.mpd", now)))


def published(seconds, stream=None, **publisher):
    return Publisher(stream or live_stream(), **publisher).connect().send(seconds)


class TestStart:
    def test_nothing_is_known_before_the_first_segment(self):
        publisher = published(1.9)
        for path in ("master.m3u8", "v0.m3u8", "a0.m3u8", "manifest.mpd"):
            response = get(publisher.stream, path, publisher.now)
            assert (response.status, response.cache_control) == (503, "no-store")

    def test_the_first_list_is_there_after_one_segment(self):
        publisher = published(2.2)
        for path in ("master.m3u8", "v0.m3u8", "a0.m3u8", "manifest.mpd"):
            assert get(publisher.stream, path, publisher.now).status == 200
        assert numbers(playlist(publisher.stream, publisher.now)) == [FIRST]

    def test_the_run_is_named_by_its_first_number(self):
        assert published(2.2).stream.run_number == FIRST

    def test_a_stream_of_one_track_waits_a_second_for_another(self):
        publisher = published(2.2, tracks=("video",))
        assert numbers(playlist(publisher.stream, publisher.now)) == [FIRST]
        master = m3u8.M3U8(text(get(publisher.stream, "master.m3u8", publisher.now)), strict=True)
        assert (master.media, master.playlists[0].uri) == ([], "v0.m3u8")

    def test_sound_alone_is_a_stream(self):
        publisher = published(4.2, tracks=("audio",))
        master = m3u8.M3U8(text(get(publisher.stream, "master.m3u8", publisher.now)), strict=True)
        assert master.playlists[0].uri == "a0.m3u8"
        assert numbers(playlist(publisher.stream, publisher.now, "a0.m3u8")) == [FIRST, FIRST + 1]
        assert list(manifest(publisher.stream, publisher.now).periods.popitem()[1]) == ["a0"]

    def test_sound_that_was_announced_and_never_comes_is_not_waited_for(self):
        publisher = Publisher(live_stream(), tracks=("video",)).connect()
        publisher.stream.configure(AAC, publisher.now)
        publisher.send(4.2)
        assert get(publisher.stream, "master.m3u8", publisher.now).status == 200

    def test_sound_that_begins_late_begins_another_configuration(self):
        publisher = published(4.2, tracks=("video",))
        publisher.stream.configure(AAC, publisher.now)
        publisher.tracks = ("video", "audio")
        publisher._sounds = round(publisher.timestamp * 48_000 / 1_024)
        publisher.send(6)
        found = playlist(publisher.stream, publisher.now)
        assert [each.discontinuity for each in found.segments].count(True) == 1
        assert len({each.init_section.uri for each in found.segments}) == 2
        assert get(publisher.stream, "a0.m3u8", publisher.now).status == 200

    def test_a_configuration_that_comes_again_changes_nothing(self):
        publisher = published(3)
        publisher.stream.configure(AVC, publisher.now)
        publisher.send(3)
        assert numbers(playlist(publisher.stream, publisher.now)) == [FIRST, FIRST + 1]

    def test_frames_before_their_configuration_are_left_out(self):
        stream = live_stream()
        stream.published(NOW)
        assert stream.frame("video", 0, 0, NOW, key=True, data=b"v") == ()
        assert get(stream, "v0.m3u8", NOW).status == 503


class TestCaching:
    @pytest.mark.parametrize(
        ("path", "media_type", "cache_control"),
        [
            ("master.m3u8", "application/vnd.apple.mpegurl", "max-age=2, stale-if-error=30"),
            ("v0.m3u8", "application/vnd.apple.mpegurl", "max-age=1, stale-if-error=30"),
            ("manifest.mpd", "application/dash+xml", "max-age=1, stale-if-error=30"),
            ("{cfg}/v0/init.mp4", "video/mp4", "max-age=31536000, immutable"),
            ("{cfg}/a0/{number}.m4s", "video/iso.segment", "max-age=31536000, immutable"),
        ],
    )
    def test_each_resource_has_its_type_and_lifetime(self, path, media_type, cache_control):
        publisher = published(4.2)
        response = get(publisher.stream, path.format(cfg=publisher.stream.cfg, number=FIRST), publisher.now)
        fields = dict(response.headers())
        assert response.status == 200
        assert (fields["Content-Type"], fields["Cache-Control"]) == (media_type, cache_control)
        assert fields["Access-Control-Allow-Origin"] == "*"
        assert any(response.body)

    @pytest.mark.parametrize("path", ["master.m3u8", "v0.m3u8", "manifest.mpd"])
    def test_the_etag_changes_with_the_text_alone(self, path):
        publisher = published(4.2)
        first = get(publisher.stream, path, publisher.now)
        again = get(publisher.stream, path, publisher.now + 0.5)
        later = get(publisher.stream, path, publisher.send(4).now)
        assert first.etag == again.etag
        assert (first.etag == later.etag) == (first.body == later.body)

    def test_the_clock_is_never_stored(self):
        response = clock_response(NOW + 0.25)
        assert (text(response), response.cache_control) == ("2025-11-24T16:00:00.250Z", "no-store")

    @pytest.mark.parametrize(
        ("path", "status", "cache_control"),
        [
            ("x", 404, "max-age=1"),
            ("../v0.m3u8", 404, "max-age=1"),
            ("{cfg}/v0/1.m4s", 404, "max-age=1"),
            ("00000000/v0/init.mp4", 404, "max-age=1"),
            ("00000000/v0/{number}.m4s", 404, "max-age=1"),
            ("{cfg}/v0/t5.m4s", 404, "max-age=1"),
            ("{cfg}/v0/{next}.m4s", 404, "no-store"),
            ("{cfg}/v0/{number}.9.m4s", 404, "no-store"),
            ("{cfg}/v0/{far}.m4s", 400, "no-store"),
        ],
    )
    def test_what_is_not_there_is_said_so(self, path, status, cache_control):
        publisher = published(4.2)
        values = {"cfg": publisher.stream.cfg, "number": FIRST, "next": FIRST + 2, "far": FIRST + 9}
        response = get(publisher.stream, path.format(**values), publisher.now)
        assert (response.status, response.cache_control) == (status, cache_control)


class TestWindow:
    def test_as_many_segments_are_listed_and_more_are_kept(self):
        publisher = published(40.2)
        stream, now = publisher.stream, publisher.now
        assert numbers(playlist(stream, now)) == list(range(FIRST + 14, FIRST + 20))
        statuses = {n: get(stream, f"{stream.cfg}/v0/{n}.m4s", now).status for n in range(FIRST, FIRST + 20)}
        assert [number for number, status in statuses.items() if status == 200] == list(range(FIRST + 8, FIRST + 20))

    def test_initialization_is_kept_as_long_as_a_segment_of_it(self):
        publisher = published(4.2)
        stream, old = publisher.stream, publisher.stream.cfg
        publisher.disconnect()
        publisher.video = OTHER
        publisher.connect().send(10)
        assert get(stream, f"{old}/v0/init.mp4", publisher.now).status == 200
        publisher.send(30)
        assert get(stream, f"{old}/v0/init.mp4", publisher.now).status == 404

    def test_memory_that_is_full_shrinks_the_windows_of_all_streams_oldest_first(self):
        memory = SegmentMemory(20_000)
        publishers = [
            published(10.2, live_stream(name, memory=memory), now=NOW + at) for name, at in (("a", 0), ("b", 20))
        ]
        assert memory.used <= 20_000
        kept = [len(publisher.stream.tracks["video"].segments) for publisher in publishers]
        assert (kept[0], kept[1]) == (1, 5)
        assert get(publishers[1].stream, "v0.m3u8", publishers[1].now).status == 200

    def test_a_stream_that_is_closed_gives_its_memory_back(self):
        memory = SegmentMemory(1 << 20)
        publisher = published(10.2, live_stream(memory=memory)).disconnect()
        assert memory.used > 0
        publisher.stream.close()
        assert memory.used == 0

    @given(st.integers(1_000, 20_000), st.lists(st.integers(1, 9), min_size=1, max_size=4))
    @settings(max_examples=15, deadline=None)
    def test_memory_is_never_above_its_bound_by_more_than_the_newest_segment(self, limit, lengths):
        memory = SegmentMemory(limit)
        streams = [published(length, live_stream(str(n), memory=memory)).stream for n, length in enumerate(lengths)]
        segments = [each for stream in streams for track in stream.tracks.values() for each in track.segments]
        assert memory.used == sum(each.size for each in segments)
        assert memory.used <= max(limit, max((each.size for each in segments), default=0))


class TestAway:
    def test_a_discontinuity_is_announced_as_soon_as_the_publisher_leaves(self):
        publisher = published(5).disconnect()
        response = get(publisher.stream, "v0.m3u8", publisher.now)
        assert text(response).endswith("\n#EXT-X-DISCONTINUITY\n")
        assert numbers(playlist(publisher.stream, publisher.now)) == [FIRST, FIRST + 1, FIRST + 2]

    def test_what_was_sent_last_is_a_short_segment(self):
        publisher = published(5).disconnect()
        assert playlist(publisher.stream, publisher.now).segments[-1].duration == pytest.approx(1.0, abs=0.05)

    def test_the_stream_ends_after_linger(self):
        publisher = published(5).disconnect()
        stream, left = publisher.stream, publisher.now
        assert not playlist(stream, left + 59).is_endlist
        assert playlist(stream, left + 60).is_endlist
        assert manifest(stream, left + 59).attributes["type"] == "dynamic"
        assert manifest(stream, left + 60).attributes["type"] == "static"

    def test_a_publisher_that_comes_back_goes_on_after_the_discontinuity(self):
        publisher = published(5).disconnect().wait(3)
        publisher.connect().send(5)
        found = playlist(publisher.stream, publisher.now)
        assert numbers(found) == [FIRST, FIRST + 1, FIRST + 2, FIRST + 4, FIRST + 5]
        assert [each.discontinuity for each in found.segments] == [False, False, False, True, False]
        assert found.media_sequence == FIRST
        assert len({each.init_section.uri for each in found.segments}) == 1

    def test_the_same_configuration_stays_in_its_period_with_a_gap(self):
        publisher = published(5).disconnect().wait(3)
        publisher.connect().send(3)
        found = manifest(publisher.stream, publisher.now)
        assert list(found.periods) == [publisher.stream.cfg]
        segments = found.periods[publisher.stream.cfg]["v0"].segments
        assert len(segments) == 4
        assert segments[3].time - segments[2].time - segments[2].duration == pytest.approx(3.0, abs=0.1)

    def test_what_is_before_a_gap_leaves_the_manifest_when_players_have_come_to_it(self):
        publisher = published(5).disconnect().wait(3)
        publisher.connect().send(5)
        for segments in manifest(publisher.stream, publisher.now).periods[publisher.stream.cfg].values():
            assert [each.time >= NOW + 7.9 for each in segments.segments] == [True, True]

    def test_every_address_in_a_list_or_manifest_leads_to_its_segment(self):
        publisher = published(5).disconnect().wait(3)
        publisher.connect().send(3)
        stream, now = publisher.stream, publisher.now
        by_list = [text(get(stream, each.uri, now)) for each in playlist(stream, now).segments]
        by_manifest = [
            text(get(stream, each.uri, now)) for each in manifest(stream, now).periods[stream.cfg]["v0"].segments
        ]
        assert by_list == by_manifest
        assert len(set(by_list)) == 4

    def test_another_configuration_is_another_period(self):
        publisher = published(5).disconnect().wait(3)
        old = publisher.stream.cfg
        publisher.video = OTHER
        publisher.connect().send(5)
        found = manifest(publisher.stream, publisher.now)
        assert list(found.periods) == [old, publisher.stream.cfg]
        assert found.starts[old] == 0
        assert found.starts[publisher.stream.cfg] == pytest.approx(NOW + 8, abs=0.6)

    def test_a_period_keeps_its_start_and_name_when_the_one_before_it_is_gone(self):
        publisher = published(5).disconnect().wait(3)
        publisher.video = OTHER
        publisher.connect().send(5)
        before = manifest(publisher.stream, publisher.now).starts
        publisher.send(20)
        after = manifest(publisher.stream, publisher.now).starts
        assert after == {publisher.stream.cfg: before[publisher.stream.cfg]}

    def test_a_configuration_that_comes_back_is_a_period_of_its_own(self):
        publisher = published(3)
        for config in (OTHER, AVC):
            publisher.disconnect().wait(1)
            publisher.video = config
            publisher.connect().send(3)
        assert len(manifest(publisher.stream, publisher.now).periods) == 3

    def test_after_a_long_absence_sequence_numbers_catch_up_with_those_of_time(self):
        publisher = published(5).disconnect().wait(30)
        publisher.connect().send(5)
        found = playlist(publisher.stream, publisher.now)
        assert found.media_sequence == numbers(found)[0] == FIRST + 17
        assert found.discontinuity_sequence == 1
        assert len(found.segments) == 2

    def test_a_stream_that_was_over_begins_another_list(self):
        publisher = published(5).disconnect().wait(100)
        publisher.connect()
        assert get(publisher.stream, "v0.m3u8", publisher.now).status == 503
        found = playlist(publisher.send(3).stream, publisher.now)
        assert (numbers(found), found.is_endlist) == ([FIRST + 52], False)

    def test_the_sequence_of_discontinuities_counts_those_that_left_the_list(self):
        publisher = published(3)
        sequences = []
        for _ in range(4):
            publisher.disconnect().wait(1).connect().send(5)
            found = playlist(publisher.stream, publisher.now)
            sequences.append((found.discontinuity_sequence or 0) + sum(each.discontinuity for each in found.segments))
        assert sequences == [1, 2, 3, 4]

    def test_a_publisher_that_never_sent_a_frame_leaves_no_trace(self):
        publisher = published(5).disconnect()
        before = text(get(publisher.stream, "v0.m3u8", publisher.now))
        publisher.connect().disconnect()
        assert text(get(publisher.stream, "v0.m3u8", publisher.now)) == before


class TestFaults:
    @pytest.mark.parametrize("jump", [3_600, -9])
    def test_a_jump_of_the_publishers_clock_is_told_and_not_seen(self, jump):
        publisher = published(5)
        publisher.jump(jump)
        publisher.send(5)
        assert publisher.jumps == [pytest.approx(jump, abs=0.1)]
        found = playlist(publisher.stream, publisher.now)
        assert not any(each.discontinuity for each in found.segments)
        assert [each.duration for each in found.segments] == [pytest.approx(2.0, abs=0.05)] * 4

    def test_no_key_frame_ends_the_run_and_what_came_is_kept(self):
        publisher = Publisher(live_stream(max_gop=5.0), gop=100).connect()
        with pytest.raises(NoKeyFrameError):
            publisher.send(10)
        publisher.disconnect()
        assert playlist(publisher.stream, publisher.now).segments[0].duration == pytest.approx(5.0, abs=0.1)

    def test_never_a_key_frame_ends_the_run(self):
        stream = live_stream(max_gop=5.0)
        stream.published(NOW)
        stream.configure(AVC, NOW)
        for at in range(0, 5_001, 40):
            stream.frame("video", at, at, NOW, key=False, data=b"v")
        with pytest.raises(NoKeyFrameError, match="to begin with"):
            stream.frame("video", 5_040, 5_040, NOW, key=False, data=b"v")
        stream.unpublished(NOW)
        assert get(stream, "v0.m3u8", NOW).status == 503

    def test_frames_that_are_held_are_bounded_and_each_costs_the_same(self):
        stream = live_stream()
        stream.published(NOW)
        stream.configure(AVC, NOW)
        sending = (stream.frame("video", 0, 0, NOW, key=False, data=data) for data in repeat(bytes(1_000), 100_000))
        with pytest.raises(NoKeyFrameError):  # would take minutes if each looked at all before it
            deque(sending, maxlen=0)
        stream.unpublished(NOW)

    def test_a_frame_that_is_shown_in_hours_takes_the_clock_nowhere(self):
        stream = live_stream()
        stream.published(NOW)
        stream.configure(AVC, NOW)
        for at in range(0, 20_000, 40):
            late = 8_000_000 if at == 4_000 else 80
            stream.frame("video", at, at + late, NOW + at / 1_000, key=at % 2_000 == 0, data=b"v")
        found = playlist(stream, NOW + 20)
        assert found.target_duration <= 12
        assert found.segments[-1].program_date_time.timestamp() <= NOW + 20

    def test_a_stream_that_cannot_be_opened_ends_the_run(self):
        def refuse(config, frame):
            raise MediaError("no")

        publisher = Publisher(live_stream(open_track=refuse)).connect()
        with pytest.raises(MediaError, match="no"):
            publisher.send(2)
        publisher.disconnect()
        assert not publisher.stream.is_live

    def test_what_cannot_be_written_is_gone_and_the_next_run_is_whole(self):
        broken = []

        class Writer(FakeWriter):
            def fragment(self, samples, sequence):
                if broken:
                    raise MediaError("no")
                return super().fragment(samples, sequence)

        stream = live_stream(open_track=lambda config, frame: Writer(config), part=0.5)
        publisher = published(5, stream)
        broken.append(True)
        with pytest.raises(MediaError, match="no"):
            publisher.send(2)
        publisher.disconnect()
        broken.clear()
        found = playlist(publisher.wait(1).connect().send(5).stream, publisher.now)
        sequence = found.media_sequence + len(numbers(found))
        assert publisher.stream.tracks["video"].growing.sequence == sequence

    def test_a_configuration_that_is_cut_off_is_refused(self):
        stream = live_stream()
        stream.published(NOW)
        with pytest.raises(MediaError, match="avc1 is cut off"):
            stream.configure(CodecConfig("avc1", b"\x01"), NOW)


class TestBlockingReload:
    def live(self, seconds=4.3, **settings):
        publisher = published(seconds, live_stream(part=0.5, **settings))
        return publisher, publisher.stream

    def test_what_is_there_is_answered_at_once(self):
        publisher, stream = self.live()
        response = get(stream, "v0.m3u8", publisher.now, _HLS_msn=str(FIRST + 1))
        assert (response.status, response.cache_control) == (200, "max-age=12")

    def test_the_next_segment_is_waited_for(self):
        publisher, stream = self.live()
        asked = publisher.now
        held = get(stream, "v0.m3u8", asked, _HLS_msn=str(FIRST + 2))
        assert held == HeldRequest(asked + 6)
        publisher.send(1)
        assert isinstance(get(stream, "v0.m3u8", publisher.now, asked, _HLS_msn=str(FIRST + 2)), HeldRequest)
        publisher.send(1)
        response = get(stream, "v0.m3u8", publisher.now, asked, _HLS_msn=str(FIRST + 2))
        assert response.cache_control == "max-age=12"
        assert numbers(m3u8.M3U8(text(response), strict=True))[-1] == FIRST + 2

    def test_the_next_part_is_waited_for(self):
        publisher, stream = self.live(4.8)
        query = {"_HLS_msn": str(FIRST + 2), "_HLS_part": "1"}
        assert isinstance(get(stream, "v0.m3u8", publisher.now, **query), HeldRequest)
        publisher.send(0.5)
        assert get(stream, "v0.m3u8", publisher.now, **query).status == 200

    def test_a_part_after_the_last_of_its_segment_is_the_first_of_the_next(self):
        publisher, stream = self.live(4.3)
        query = {"_HLS_msn": str(FIRST + 1), "_HLS_part": "5"}
        assert isinstance(get(stream, "v0.m3u8", publisher.now, **query), HeldRequest)
        publisher.send(0.4)
        assert get(stream, "v0.m3u8", publisher.now, **query).status == 200

    def test_those_who_wait_are_told_of_each_part(self):
        publisher, stream = self.live()
        told = []
        stream.changed = lambda: told.append(len(stream.tracks["video"].growing.parts))
        publisher.send(1.4)
        assert set(told) == {1, 2, 3}

    def test_no_list_is_made_for_those_who_wait(self, monkeypatch):
        publisher, stream = self.live()
        monkeypatch.setattr(live_resources, "live_playlist", None)
        query = {"_HLS_msn": str(FIRST + 2), "_HLS_part": "10"}
        assert isinstance(get(stream, "v0.m3u8", publisher.now, **query), HeldRequest)

    def test_after_three_targets_there_is_what_there_is(self):
        publisher, stream = self.live()
        asked = publisher.now
        response = get(stream, "v0.m3u8", asked + 6, asked, _HLS_msn=str(FIRST + 2))
        assert (response.status, response.cache_control) == (200, "no-store")

    def test_while_the_publisher_is_away_after_one(self):
        publisher, stream = self.live()
        publisher.disconnect()
        asked = publisher.now
        query = {"_HLS_msn": str(FIRST + 4)}
        assert get(stream, "v0.m3u8", asked, **query) == HeldRequest(asked + 2)
        assert get(stream, "v0.m3u8", asked + 2, asked, **query).cache_control == "no-store"

    def test_a_stream_that_is_over_keeps_nobody_waiting(self):
        publisher, stream = self.live()
        publisher.disconnect()
        response = get(stream, "v0.m3u8", publisher.now + 60, _HLS_msn=str(FIRST + 4))
        assert (response.status, response.cache_control) == (200, "no-store")

    @pytest.mark.parametrize(
        "query",
        [
            {"_HLS_msn": str(FIRST + 4)},
            {"_HLS_msn": "x"},
            {"_HLS_msn": "-1"},
            {"_HLS_part": "1"},
            {"_HLS_msn": str(FIRST), "_HLS_part": "x"},
            {"_HLS_msn": "9" * 40},
            {"_HLS_msn": str(FIRST + 2), "_HLS_part": "11"},
        ],
    )
    def test_what_cannot_be_asked_for_is_refused(self, query):
        publisher, stream = self.live()
        response = get(stream, "v0.m3u8", publisher.now, **query)
        assert (response.status, response.cache_control) == (400, "no-store")

    def test_without_parts_whole_segments_are_waited_for(self):
        publisher = published(4.3)
        assert get(publisher.stream, "v0.m3u8", publisher.now, _HLS_msn=str(FIRST + 2)) == HeldRequest(
            publisher.now + 6
        )
        assert "CAN-BLOCK-RELOAD" not in text(get(publisher.stream, "v0.m3u8", publisher.now))


class TestParts:
    def live(self, seconds):
        publisher = published(seconds, live_stream(part=0.5))
        return publisher, publisher.stream

    def test_parts_of_a_segment_are_its_bytes(self):
        publisher, stream = self.live(4.3)
        whole = get(stream, f"{stream.cfg}/v0/{FIRST}.m4s", publisher.now)
        parts = [get(stream, f"{stream.cfg}/v0/{FIRST}.{part}.m4s", publisher.now) for part in range(5)]
        assert text(whole) == "".join(map(text, parts))
        assert {each.cache_control for each in parts} == {"max-age=31536000, immutable"}

    def test_the_part_hinted_at_is_waited_for(self):
        publisher, stream = self.live(4.8)
        for name in ("v0", "a0"):
            found = playlist(stream, publisher.now, f"{name}.m3u8")
            asked = publisher.now
            assert get(stream, found.preload_hint.uri, asked) == HeldRequest(asked + 6)
            assert get(stream, found.preload_hint.uri, asked + 6, asked).status == 404
        publisher.send(0.5)
        assert get(stream, found.preload_hint.uri, publisher.now, asked).status == 200

    def test_the_first_part_of_the_next_segment_is_hinted_at(self):
        publisher, stream = self.live(4.1)
        hint = playlist(stream, publisher.now).preload_hint.uri
        assert hint == f"{stream.cfg}/v0/{FIRST + 2}.0.m4s"
        assert isinstance(get(stream, hint, publisher.now), HeldRequest)

    def test_a_hint_that_does_not_come_true_is_answered_when_the_segment_ends(self):
        publisher, stream = self.live(5.95)
        hint = f"{stream.cfg}/v0/{FIRST + 2}.5.m4s"
        publisher.send(0.3)
        response = get(stream, hint, publisher.now)
        assert (response.status, response.cache_control) == (404, "no-store")

    def test_no_part_is_longer_than_the_target_and_none_but_the_last_much_shorter(self):
        publisher, stream = self.live(8.3)
        for name in ("v0.m3u8", "a0.m3u8"):
            found = playlist(stream, publisher.now, name)
            lengths = [[part.duration for part in each.parts] for each in found.segments if each.parts]
            assert all(part <= found.part_inf.part_target for each in lengths for part in each)
            assert all(part >= 0.85 * found.part_inf.part_target for each in lengths[:-1] for part in each[:-1])
            assert found.server_control.part_hold_back >= 3 * found.part_inf.part_target

    def test_parts_after_a_discontinuity_come_after_a_list_that_announced_it(self):
        publisher, stream = self.live(4.3)
        publisher.disconnect().wait(2).connect().send(0.3)
        assert text(get(stream, "v0.m3u8", publisher.now)).count("#EXT-X-DISCONTINUITY\n") == 1
        assert "PRELOAD-HINT" not in text(get(stream, "v0.m3u8", publisher.now))
        publisher.send(0.4)
        lines = text(get(stream, "v0.m3u8", publisher.now)).splitlines()
        assert lines.index("#EXT-X-DISCONTINUITY") < next(n for n, each in enumerate(lines) if f"{FIRST + 3}.0" in each)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.floats(0.1, 6)),
        st.tuples(st.just("leave"), st.floats(0, 20)),
        st.tuples(st.just("jump"), st.floats(-4_000, 4_000)),
        st.tuples(st.just("change"), st.just(0.0)),
    ),
    min_size=1,
    max_size=6,
)


@given(actions, st.sampled_from([0.0, 0.5]), st.sampled_from([1.0, 2.0]))
@settings(max_examples=25, deadline=None)
def test_whatever_happens_lists_keep_their_promises(steps, part, gop):
    stream = live_stream(part=part, keep=1_000, window=1_000)
    publisher = Publisher(stream, gop=gop).connect()
    seen, ordered = {}, {"v0": [], "a0": []}
    for action, value in steps:
        if action == "send":
            publisher.send(value)
        elif action == "jump":
            publisher.jump(value)
        else:
            publisher.disconnect().wait(value)
            publisher.video = OTHER if action == "change" and publisher.video is AVC else AVC
            publisher.connect()
        look(stream, publisher.now, seen, ordered)
    publisher.disconnect()
    look(stream, publisher.now, seen, ordered)
    for track in ("video", "audio"):
        kept = [data.split()[1] for data in listed_data(stream, track)]
        assert kept == sorted(set(kept), key=lambda data: int(data[1:]))


def listed_data(stream, track):
    found = stream.tracks.get(track)
    return [] if found is None else [
        line for segment in found.segments for part in segment.parts for line in part.data.splitlines()
    ]  # fmt: skip


def look(stream, now, seen, ordered):
    """Read the lists: segments have the bytes they had, and numbers and times grow."""
    for name, before in ordered.items():
        if get(stream, f"{name}.m3u8", now).status == 503:
            continue
        found = playlist(stream, now, f"{name}.m3u8")
        for sequence, segment in enumerate((each for each in found.segments if each.uri), found.media_sequence):
            data = text(get(stream, segment.uri, now))
            assert seen.setdefault((name, "uri", segment.uri), data) == data
            assert seen.setdefault((name, "sequence", sequence), segment.uri) == segment.uri
            assert segment.duration < found.target_duration + 0.5
        listed = numbers(found)
        assert listed == sorted(set(listed))
        assert listed[-1] >= max(before, default=0)
        before.extend(listed)
        times = [(each.program_date_time.timestamp(), each.duration) for each in found.segments if each.uri]
        assert all(one + length <= two + 0.002 for (one, length), (two, _) in itertools.pairwise(times))
    if get(stream, "manifest.mpd", now).status == 200:
        manifest(stream, now)
