"""The viewer of ``lb demo live``: what it reads in playlists, and when its player stalls."""

from __future__ import annotations

import pytest

from lb.tools.demo.broadcast_playlist import (
    SECONDS_BEHIND,
    ListedSegment,
    Playback,
    last_seconds,
    listed_segments,
    media_playlists,
)
from tests.support.live_publisher import Publisher, get, live_stream, text

BEGAN = 1_764_000_000.0


def segments(count, seconds=2.0):
    return [ListedSegment(number, f"{number}.m4s", seconds, BEGAN + number * seconds) for number in range(count)]


def test_it_reads_what_a_live_stream_lists():
    stream = live_stream()
    publisher = Publisher(stream).connect().send(9)
    assert media_playlists(text(get(stream, "master.m3u8", publisher.now))) == ["v0.m3u8", "a0.m3u8"]
    found = listed_segments(text(get(stream, "v0.m3u8", publisher.now)))
    assert [segment.seconds for segment in found] == [2.0] * 4
    first = found[0]
    assert [segment.number - first.number for segment in found] == [0, 1, 2, 3]
    assert [segment.begins for segment in found] == pytest.approx([first.begins + 2 * each for each in range(4)])
    assert first.uri.endswith(f"/v0/{first.number}.m4s")


def test_parts_are_none_of_its_segments():
    stream = live_stream(part=0.5)
    publisher = Publisher(stream).connect().send(5)
    playlist = text(get(stream, "v0.m3u8", publisher.now))
    assert "#EXT-X-PART:" in playlist
    assert [segment.seconds for segment in listed_segments(playlist)] == [2.0, 2.0]


def test_it_begins_with_the_segments_at_the_end_that_are_long_enough():
    assert [segment.number for segment in last_seconds(segments(10))] == [7, 8, 9]
    assert last_seconds(segments(2)) == segments(2)
    assert last_seconds([]) == []


def playing(count=3):
    playback = Playback()
    for segment in segments(count):
        playback.fetched(segment, 100.0)
    return playback


def test_it_begins_once_it_has_enough():
    assert not playing(2).began
    playback = playing(3)
    assert playback.began
    assert playback.buffered(101.5) == pytest.approx(SECONDS_BEHIND - 1.5)
    assert playback.latency(101.5, BEGAN + 9) == pytest.approx(7.5)


def test_it_goes_on_without_a_stall_as_long_as_there_is_something_to_play():
    playback = playing()
    for number, segment in enumerate(segments(10)[3:]):
        playback.fetched(segment, 105.9 + number * 2)
    assert playback.stalls == 0
    assert playback.buffered(118.0) == pytest.approx(2.0)


def test_a_gap_in_the_stream_is_no_stall_as_what_follows_is_played_at_once():
    playback = playing()
    playback.fetched(ListedSegment(9, "9.m4s", 2.0, BEGAN + 60), 105.0)
    playback.look(106.5)
    assert playback.stalls == 0
    assert playback.latency(106.5, BEGAN + 62) == pytest.approx(1.5)


def test_an_empty_buffer_is_one_stall_until_the_next_segment():
    playback = playing()
    playback.look(106.1)
    playback.look(108.0)
    assert playback.stalls == 1
    assert playback.latency(108.0, BEGAN) is None
    playback.fetched(segments(4)[3], 109.0)
    assert (playback.stalls, playback.buffered(110.0)) == (1, pytest.approx(1.0))
    playback.look(112.0)
    assert playback.stalls == 2


def test_another_player_begins_anew_and_stalls_are_kept():
    playback = playing()
    playback.look(107.0)
    playback.restart()
    assert (playback.began, playback.stalls) == (False, 1)
    for segment in segments(3):
        playback.fetched(segment, 110.0)
    assert playback.began
    playback.look(115.9)
    assert playback.stalls == 1
