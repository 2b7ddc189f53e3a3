"""Playlists read by m3u8, strictly; MPDs by the rules of ISO/IEC 23009-1."""

from __future__ import annotations

import itertools
import os
import re
from fractions import Fraction
from xml.etree import ElementTree as ET

import m3u8
import pytest

from lb.media.title import TitleFile, open_title
from lb.media.vod_playlists import title_master, title_mpd, title_playlist
from tests.support.titles import film

MPD = {"": "urn:mpeg:dash:schema:mpd:2011"}


@pytest.fixture
def open_film(tmp_path):
    """Open a title of films."""
    descriptors = []

    def opened(*films, segment=2.0):
        files = []
        for number, data in enumerate(films):
            path = tmp_path / f"{number}.mp4"
            path.write_bytes(data)
            descriptors.append(os.open(path, os.O_RDONLY))
            files.append(TitleFile(path.name, descriptors[-1]))
        return open_title(files, segment)

    yield opened
    for fd in descriptors:
        os.close(fd)


def ladder():
    return [film("avc1", "mp4a", bitrate=bitrate) for bitrate in (50_000, 150_000, 400_000)]


def parse(text):
    """Return what m3u8 makes of a playlist; it raises for what it does not know."""
    return m3u8.loads(text, custom_tags_parser=None)


def test_the_master_lists_the_renditions_and_the_sound(open_film):
    title = open_film(*ladder())
    master = parse(title_master(title))
    assert master.is_variant
    assert master.is_independent_segments
    assert [each.uri for each in master.playlists] == ["v0.m3u8", "v1.m3u8", "v2.m3u8"]
    (sound,) = master.media
    assert (sound.type, sound.uri, sound.group_id, sound.default, sound.channels) == (
        "AUDIO", "a0.m3u8", "audio", "YES", "1"
    )  # fmt: skip
    for each, track in zip(master.playlists, title.video, strict=True):
        info = each.stream_info
        assert info.bandwidth == track.peak_bitrate + title.audio.peak_bitrate
        assert info.average_bandwidth == track.bitrate + title.audio.bitrate
        assert info.resolution == (192, 128)
        assert info.frame_rate == 25
        assert info.audio == "audio"
        assert re.fullmatch(r"avc1\.[0-9a-f]{6},mp4a\.40\.2", info.codecs)


def test_no_segment_has_more_bits_than_its_rendition_says(open_film):
    title = open_film(*ladder())
    for variant, track in zip(parse(title_master(title)).playlists, title.video, strict=True):
        lengths = track.seconds
        sizes = [len(track.segment(at)) for at in range(track.count)]
        sound = [len(title.audio.segment(at)) for at in range(title.audio.count)]
        rates = [8 * (size + other) / length for size, other, length in zip(sizes, sound, lengths, strict=True)]
        assert max(rates) <= variant.stream_info.bandwidth


def test_a_master_of_sound_alone(open_film):
    (variant,) = parse(title_master(open_film(film("mp4a")))).playlists
    assert (variant.uri, variant.stream_info.codecs, variant.stream_info.audio) == ("a0.m3u8", "mp4a.40.2", None)


def test_a_master_of_picture_alone(open_film):
    master = parse(title_master(open_film(film("hvc1"))))
    assert not master.media
    assert master.playlists[0].stream_info.codecs.startswith("hvc1.")


@pytest.mark.parametrize("name", ["v0", "a0"])
def test_a_media_playlist_lists_all_segments_with_their_lengths(open_film, name):
    title = open_film(film("avc1", "mp4a"))
    track = title.tracks[name]
    playlist = parse(title_playlist(track, f"tag/{name}/"))
    assert (playlist.version, playlist.media_sequence, playlist.playlist_type) == (7, 0, "vod")
    assert playlist.is_endlist
    assert playlist.is_independent_segments
    assert [each.uri for each in playlist.segments] == [f"tag/{name}/{at}.m4s" for at in range(3)]
    assert {each.init_section.uri for each in playlist.segments} == {f"tag/{name}/init.mp4"}
    assert [each.duration for each in playlist.segments] == pytest.approx(track.seconds, abs=1e-5)
    assert playlist.target_duration == max(round(each) for each in track.seconds)


def representations(mpd):
    return mpd.findall("Period/AdaptationSet/Representation", MPD)


def timeline(representation):
    """Return begin and length of each segment, in seconds."""
    template = representation.find("SegmentTemplate", MPD)
    scale, at = int(template.get("timescale")), None
    for each in template.findall("SegmentTimeline/S", MPD):
        at = int(each.get("t", at))
        for _ in range(int(each.get("r", 0)) + 1):
            yield Fraction(at, scale), Fraction(int(each.get("d")), scale)
            at += int(each.get("d"))


def test_the_mpd_has_the_same_segments_as_the_playlists(open_film):
    title = open_film(*ladder())
    mpd = ET.fromstring(title_mpd(title, "tag"))
    assert [each.get("id") for each in representations(mpd)] == ["v0", "v1", "v2", "a0"]
    for each in representations(mpd):
        track = title.tracks[each.get("id")]
        found = list(timeline(each))
        scale = track.format.timescale
        expected = [(Fraction(a, scale), Fraction(b - a, scale)) for a, b in itertools.pairwise(track.times)]
        assert found == expected


def test_the_mpd_keeps_the_rules_of_a_static_presentation(open_film):
    mpd = ET.fromstring(title_mpd(open_film(*ladder()), "tag"))
    assert mpd.tag == "{urn:mpeg:dash:schema:mpd:2011}MPD"
    assert (mpd.get("type"), mpd.get("profiles")) == ("static", "urn:mpeg:dash:profile:isoff-live:2011")
    end = float(re.fullmatch(r"PT([0-9.]+)S", mpd.get("mediaPresentationDuration"))[1])
    assert end == pytest.approx(6, abs=0.1)
    assert mpd.get("minBufferTime") == "PT2S"
    longest = float(re.fullmatch(r"PT([0-9.]+)S", mpd.get("maxSegmentDuration"))[1])
    for each in representations(mpd):
        assert max(length for _, length in timeline(each)) <= longest + 0.001
        template = each.find("SegmentTemplate", MPD)
        assert template.get("startNumber") == "0"
        assert template.get("media") == f"tag/{each.get('id')}/$Number$.m4s"
        assert template.get("initialization") == f"tag/{each.get('id')}/init.mp4"
        assert int(each.get("bandwidth")) > 0


def test_the_mpd_tells_sizes_rates_and_channels(open_film):
    mpd = ET.fromstring(title_mpd(open_film(film("avc1", "mp4a")), "tag"))
    video, audio = representations(mpd)
    assert (video.get("width"), video.get("height"), video.get("frameRate")) == ("192", "128", "25")
    assert (audio.get("audioSamplingRate"), audio.get("codecs")) == ("48000", "mp4a.40.2")
    assert audio.find("AudioChannelConfiguration", MPD).get("value") == "1"
    kinds = [(each.get("contentType"), each.get("mimeType")) for each in mpd.findall("Period/AdaptationSet", MPD)]
    assert kinds == [("video", "video/mp4"), ("audio", "audio/mp4")]


def test_bandwidth_is_enough_to_play_after_the_buffer_that_is_asked_for(open_film):
    title = open_film(*ladder())
    for track in title.video:
        bits, seconds = 0, 0.0
        for size, length in zip(track.sizes, track.seconds, strict=True):
            bits, seconds = bits + 8 * size, seconds + length
            assert bits <= track.peak_bitrate * (seconds + 2)
