"""Frames of sound are placed by their samples, however the publisher rounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.audio_samples import FrameTicks, samples_in
from lb.media.frames import CodecConfig, TrackFormat

AAC = TrackFormat(CodecConfig("mp4a", b"\x11\x90"), 48_000, channels=2)
VIDEO = TrackFormat(CodecConfig("avc1", b"\x01\x64\x00\x1f"), 90_000, width=1, height=1)


def sound(codec, rate, record=b""):
    return TrackFormat(CodecConfig(codec, record), rate, channels=2)


@pytest.mark.parametrize(
    ("track", "data", "samples"),
    [
        (AAC, b"x", 1_024),
        (sound("mp4a", 44_100, b"\x12\x10"), b"x", 1_024),
        (sound("mp4a", 48_000, b"\x13\x10"), b"x", 2_048),  # HE-AAC: a core of 24 kHz, played at 48
        (sound("mp4a", 48_000, b"\x17\x80\x2e\xe0\x10"), b"x", 1_024),  # a rate in full
        (sound("mp3", 44_100), b"x", 1_152),
        (sound("mp3", 24_000), b"x", 576),
        (sound("opus", 48_000), b"\x08", 960),  # SILK, 20 ms
        (sound("opus", 48_000), b"\x18", 2_880),  # SILK, 60 ms
        (sound("opus", 48_000), b"\x60", 480),  # hybrid, 10 ms
        (sound("opus", 48_000), b"\xf8", 960),  # CELT, 20 ms
        (sound("opus", 48_000), b"\xe0", 120),  # CELT, 2.5 ms
        (sound("opus", 48_000), b"\xf9", 1_920),  # two frames of 20 ms
        (sound("opus", 48_000), b"\xfb\x03", 2_880),  # three
        (sound("opus", 48_000), b"\xfb", 960),  # cut off
        (sound("opus", 48_000), b"\xfb\x3f", 5_760),  # more than there may be
    ],
)
def test_samples_of_a_frame(track, data, samples):
    assert samples_in(track, data) == samples


def test_timestamps_in_whole_milliseconds_make_no_gaps():
    ticks = FrameTicks(AAC, 0)
    placed = [ticks.place(int(frame * 1_024 / 48), b"x") for frame in range(5_000)]
    assert placed == [1_024 * frame for frame in range(5_000)]


def test_a_gap_of_more_than_sixty_milliseconds_is_kept():
    ticks = FrameTicks(AAC, 0)
    assert [ticks.place(at, b"x") for at in (0, 21, 42, 200)] == [0, 1_024, 2_048, 9_600]
    assert ticks.place(221, b"x") == 10_624


def test_sound_that_runs_ahead_of_the_timestamps_is_held_up_but_not_lost():
    ticks = FrameTicks(AAC, 0)
    placed = [ticks.place(frame * 10, b"x") for frame in range(100)]
    assert placed == sorted(set(placed))
    assert abs(placed[-1] / 48 - 990) < 70


def test_video_is_where_its_timestamp_says():
    ticks = FrameTicks(VIDEO, 0)
    assert [ticks.place(at, b"x") for at in (0, 40, 1_000)] == [0, 3_600, 90_000]


def test_nothing_is_placed_before_the_last_run():
    assert FrameTicks(VIDEO, 1_000).place(0, b"x") == 90_000


@given(st.lists(st.integers(0, 10_000)), st.sampled_from([AAC, VIDEO]))
def test_ticks_always_grow(times, track):
    ticks = FrameTicks(track, 5_000)
    placed = [ticks.place(at, b"x") for at in times]
    assert placed == sorted(set(placed))
