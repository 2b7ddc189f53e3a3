"""Playlists, as a strict parser reads them."""

from __future__ import annotations

import attrs
import m3u8
import pytest

from lb.media.hls import HlsAudio, HlsPart, HlsPlaylist, HlsReport, HlsSegment, HlsVariant, master_playlist

DATE = 1_764_000_000.25


def segments(count, **changes):
    return [HlsSegment(f"c/v0/{each}.m4s", 2.0, "c/v0/init.mp4", DATE + 2 * each, **changes) for each in range(count)]


def parsed(playlist):
    return m3u8.M3U8(playlist.text() if isinstance(playlist, HlsPlaylist) else playlist, strict=True)


def test_segments_are_listed_with_their_length_date_and_map():
    found = parsed(HlsPlaylist(segments(3), target=2, first=882_000_000))
    assert (found.target_duration, found.media_sequence, found.version) == (2, 882_000_000, 7)
    assert [each.uri for each in found.segments] == ["c/v0/0.m4s", "c/v0/1.m4s", "c/v0/2.m4s"]
    assert [each.duration for each in found.segments] == [2.0, 2.0, 2.0]
    assert {each.init_section.uri for each in found.segments} == {"c/v0/init.mp4"}
    assert found.segments[1].program_date_time.timestamp() == DATE + 2
    assert found.is_independent_segments
    assert not found.is_endlist


def test_lengths_have_five_digits():
    assert "#EXTINF:2.09067," in HlsPlaylist([HlsSegment("a", 100_352 / 48_000, "i")], target=2).text()


def test_a_film_has_no_dates():
    assert "DATE" not in HlsPlaylist([HlsSegment("a", 2, "i")], target=2).text()


def test_a_list_that_has_ended_says_so_at_its_end():
    text = HlsPlaylist(segments(1), target=2, ended=True).text()
    assert parsed(text).is_endlist
    assert text.endswith("\n#EXT-X-ENDLIST\n")


def test_a_new_map_is_named_before_its_segment():
    first, second = segments(2)
    found = parsed(HlsPlaylist([first, attrs.evolve(second, map_uri="d/v0/init.mp4", breaks=1)], target=2))
    assert [each.init_section.uri for each in found.segments] == ["c/v0/init.mp4", "d/v0/init.mp4"]
    assert [each.discontinuity for each in found.segments] == [False, True]


def test_each_discontinuity_has_its_line():
    first, second = segments(2)
    text = HlsPlaylist([first, attrs.evolve(second, breaks=2)], target=2, breaks_before=7, breaks_after=1).text()
    assert parsed(text).discontinuity_sequence == 7
    lines = text.splitlines()
    assert lines.count("#EXT-X-DISCONTINUITY") == 3
    assert lines[-1] == "#EXT-X-DISCONTINUITY"


def test_parts_are_listed_before_their_segment_and_the_next_one_is_hinted_at():
    parts = [HlsPart("c/v0/1.0.m4s", 0.48, True), HlsPart("c/v0/1.1.m4s", 0.52, False)]
    first, second = segments(2)
    found = parsed(
        HlsPlaylist(
            [first, attrs.evolve(second, parts=parts, complete=False)],
            target=2,
            part_target=0.52,
            hint="c/v0/1.2.m4s",
            reports=[HlsReport("a0.m3u8", 1, 4)],
        )
    )
    assert found.version == 9
    assert found.part_inf.part_target == 0.52
    assert found.server_control.can_block_reload == "YES"
    assert found.server_control.part_hold_back == pytest.approx(3 * 0.52)
    growing = found.segments[-1]
    assert [(each.uri, each.duration, each.independent) for each in growing.parts] == [
        ("c/v0/1.0.m4s", 0.48, "YES"),
        ("c/v0/1.1.m4s", 0.52, None),
    ]
    assert growing.uri is None
    assert (found.preload_hint.hint_type, found.preload_hint.uri) == ("PART", "c/v0/1.2.m4s")
    assert [(each.uri, each.last_msn, each.last_part) for each in found.rendition_reports] == [("a0.m3u8", 1, 4)]


def test_a_master_lists_renditions_with_their_sound():
    variants = [
        HlsVariant("v0.m3u8", 3_100_000, 3_000_000, ["avc1.64001f", "mp4a.40.2"], 1280, 720, 25.0),
        HlsVariant("v1.m3u8", 900_000, 800_000, ["avc1.42c01e", "mp4a.40.2"], 640, 360, 29.97),
    ]
    found = parsed(master_playlist(variants, HlsAudio("a0.m3u8", 2)))
    assert [each.uri for each in found.playlists] == ["v0.m3u8", "v1.m3u8"]
    best = found.playlists[0].stream_info
    assert (best.bandwidth, best.average_bandwidth, best.resolution) == (3_100_000, 3_000_000, (1280, 720))
    assert (best.codecs, best.frame_rate, best.audio) == ("avc1.64001f,mp4a.40.2", 25.0, "audio")
    (sound,) = found.media
    assert (sound.type, sound.group_id, sound.uri, sound.channels, sound.default) == (
        "AUDIO", "audio", "a0.m3u8", "2", "YES",
    )  # fmt: skip


def test_a_master_of_sound_alone_has_no_group():
    found = parsed(master_playlist([HlsVariant("a0.m3u8", 130_000, 128_000, ["mp4a.40.2"])], None))
    assert found.media == []
    assert found.playlists[0].stream_info.resolution is None
    assert found.playlists[0].stream_info.audio is None
