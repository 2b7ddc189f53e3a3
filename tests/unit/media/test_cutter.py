"""Cuts: each frame is in exactly one segment, and segments begin where players can begin."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.cutter import CutSettings, Cutter
from lb.media.open_segment import NoKeyFrameError, OpenSegment, PlacedFrame
from lb.media.timeline import SegmentNumbers

START = 1_764_000_000
"""Seconds since 1970, on a segment's border."""
FIRST = START // 2
RATE = 48_000
BOTH = {"video": 90_000, "audio": RATE}


def cutter(tracks=BOTH, last=-1, segment=2_000, **settings):
    return Cutter.of(tracks, CutSettings(segment, **settings), SegmentNumbers(segment), last)


def picture(seconds, key=False, reorder=0.08, data=b"v"):
    """Return a frame of video that is shown ``seconds`` after START."""
    pts = round((START + seconds) * 90_000)
    return PlacedFrame(pts - (round(reorder * 90_000) if key else 0), pts, key, data)


def video(seconds, gop=2.0, fps=25, begin=0.0):
    """Return frames in order, with a key frame every ``gop`` seconds."""
    count, every = round(seconds * fps), round(gop * fps)
    return [
        PlacedFrame(ticks, ticks + 7_200, each % every == 0, b"v%d" % each)
        for each in range(count)
        for ticks in [round((START + begin) * 90_000) + each * 90_000 // fps]
    ]


def sound(seconds, begin=0.0):
    first = round((START + begin) * RATE)
    return [
        PlacedFrame(first + 1_024 * each, first + 1_024 * each, True, b"a%d" % each)
        for each in range(round(seconds * RATE / 1_024))
    ]


def interleaved(pictures, sounds):
    """Return tracks and frames in order of decoding, as publishers send them."""
    tagged = [("video", each) for each in pictures] + [("audio", each) for each in sounds]
    return sorted(tagged, key=lambda pair: pair[1].dts / BOTH[pair[0]])


def cut(cuts, frames):
    return [piece for track, frame in frames for piece in cuts.add(track, frame)] + cuts.finish()


def by_segment(pieces, track):
    """Return number -> pieces."""
    found = defaultdict(list)
    for piece in pieces:
        if piece.track == track:
            found[piece.number].append(piece)
    return found


def data_of(pieces, track):
    return [sample.data for piece in pieces if piece.track == track for sample in piece.samples]


def seconds_of(pieces, track):
    ends = [piece for piece in pieces if piece.track == track and piece.end is not None]
    return [(piece.end - piece.start) / BOTH[track] for piece in ends]


class TestVideo:
    def test_a_segment_begins_at_the_first_key_frame_at_or_after_the_target(self):
        pieces = cut(cutter({"video": 90_000}), [("video", each) for each in video(10, gop=0.8)])
        assert [round(each, 3) for each in seconds_of(pieces, "video")] == [2.4, 2.4, 2.4, 2.4, 0.4]
        assert all(piece.samples[0].key for piece in pieces)

    def test_rounded_timestamps_do_not_make_segments_twice_as_long(self):
        frames = [("video", picture(each * 1.98, key=True)) for each in range(5)]
        pieces = cut(cutter({"video": 90_000}), frames)
        assert [round(each, 2) for each in seconds_of(pieces, "video")] == [1.98, 1.98, 1.98, 1.98, 1.98]

    def test_a_frame_alone_lasts_as_long_as_one_before_it(self):
        pieces = cut(cutter({"video": 90_000}), [("video", each) for each in video(2.04)])
        assert [round(each, 2) for each in seconds_of(pieces, "video")] == [2.0, 0.04]

    def test_the_time_at_which_key_frames_are_shown_decides(self):
        late = {2: 0.0, 4: 0.5}  # how long before it is shown a key frame is decoded
        frames = [("video", picture(each, key=each % 2 == 0, reorder=late.get(each, 0.2))) for each in range(10)]
        pieces = cut(cutter({"video": 90_000}), frames)
        assert [round(each, 3) for each in seconds_of(pieces, "video")][:4] == [2, 2, 2, 2]

    def test_frames_before_the_first_key_frame_are_in_no_segment(self):
        frames = video(4)[10:]
        pieces = cut(cutter({"video": 90_000}), [("video", each) for each in frames])
        assert data_of(pieces, "video") == [each.data for each in frames[40:]]

    def test_no_key_frame_for_too_long_ends_the_run(self):
        cuts = cutter({"video": 90_000}, max_gop=5_000)
        with pytest.raises(NoKeyFrameError, match=r"no key frame for 5\.0 s"):
            cut(cuts, [("video", each) for each in video(20, gop=100)])
        assert len(data_of(cuts.finish(), "video")) == 126

    def test_key_frames_every_fifteen_seconds_will_do(self):
        pieces = cut(cutter({"video": 90_000}), [("video", each) for each in video(60, gop=15)])
        assert seconds_of(pieces, "video") == [15, 15, 15, 15]

    def test_never_a_key_frame_ends_the_run(self):
        with pytest.raises(NoKeyFrameError):
            cut(cutter({"video": 90_000}), [("video", each) for each in video(30, gop=100)[1:]])

    def test_a_segment_has_a_largest_size(self):
        frames = [("video", picture(each / 10, key=each == 0, reorder=0, data=bytes(8 << 20))) for each in range(12)]
        with pytest.raises(NoKeyFrameError, match="64 MiB"):
            cut(cutter({"video": 90_000}), frames)

    def test_frames_of_nothing_need_memory_too(self):
        segment = OpenSegment("video", 90_000, 0)
        segment.begin(1, PlacedFrame(0, 0, True, b""))
        frames = (PlacedFrame(at, at, False, b"") for at in range(400_000))
        with pytest.raises(NoKeyFrameError):
            deque(map(segment.add, frames), maxlen=0)

    def test_sound_that_waits_for_video_has_a_largest_size(self):
        cuts = cutter()
        for frame in video(1):
            cuts.add("video", frame)
        late, data = (START + 2) * RATE, bytes(8 << 20)
        frames = [("audio", PlacedFrame(at, at, True, data)) for at in range(late, late + 9)]
        with pytest.raises(NoKeyFrameError, match="no video beside it"):
            cut(cuts, frames)

    def test_pictures_that_stop_beside_sound_end_the_run(self):
        frames = interleaved(video(3), sound(30))
        with pytest.raises(NoKeyFrameError):
            cut(cutter(), frames)


class TestSoundBesideVideo:
    def test_sound_is_cut_at_the_first_frame_at_or_after_the_videos_cut(self):
        pieces = cut(cutter(), interleaved(video(10), sound(10)))
        cuts = [each[0].start / 90_000 for number, each in by_segment(pieces, "video").items()][1:]
        starts = [each[0].start / RATE for number, each in by_segment(pieces, "audio").items()][1:]
        assert len(cuts) == len(starts) == 4
        assert all(0 <= start - at < 1_024 / RATE for start, at in zip(starts, cuts, strict=True))

    def test_both_tracks_have_the_same_numbers(self):
        pieces = cut(cutter(), interleaved(video(10), sound(10)))
        assert list(by_segment(pieces, "video")) == list(by_segment(pieces, "audio")) == list(range(FIRST, FIRST + 5))

    def test_sound_before_the_first_picture_is_kept(self):
        sounds = sound(6)
        pieces = cut(cutter(), interleaved(video(6), sounds))
        assert data_of(pieces, "audio") == [each.data for each in sounds]

    def test_sound_long_before_the_first_key_frame_is_not(self):
        pieces = cut(cutter(), interleaved(video(6, begin=3), sound(9)))
        first = next(piece for piece in pieces if piece.track == "audio")
        assert 2.5 <= first.start / RATE - START < 2.7

    def test_a_picture_every_few_seconds_and_sound_far_ahead_or_behind_lose_nothing(self):
        pictures, sounds = video(8), sound(8)
        for shift in (-1.5, 1.5):
            frames = [("video", each) for each in pictures] + [("audio", each) for each in sounds]
            frames.sort(key=lambda pair: pair[1].dts / BOTH[pair[0]] + (shift if pair[0] == "audio" else 0))
            pieces = cut(cutter(), frames)
            assert data_of(pieces, "audio") == [each.data for each in sounds]
            assert list(by_segment(pieces, "audio")) == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]

    def test_sound_that_stops_does_not_keep_its_last_segment_open(self):
        cuts = cutter()
        frames = interleaved(video(9), sound(3))
        pieces = [piece for track, frame in frames for piece in cuts.add(track, frame)]
        assert [piece.number for piece in pieces if piece.track == "audio"] == [FIRST, FIRST + 1]

    def test_sound_that_comes_back_takes_the_number_of_the_video_beside_it(self):
        frames = interleaved(video(12), sound(3) + sound(3.9, begin=8.1))
        assert list(by_segment(cut(cutter(), frames), "audio")) == [FIRST, FIRST + 1, FIRST + 4, FIRST + 5]


class TestSoundAlone:
    def test_it_is_cut_by_time_and_never_short(self):
        pieces = cut(cutter({"audio": RATE}), [("audio", each) for each in sound(10)])
        assert [round(each, 2) for each in seconds_of(pieces, "audio")][:4] == [2.01, 2.01, 2.01, 2.01]

    def test_video_without_a_track_is_left_out(self):
        frames = interleaved(video(4), sound(4))
        assert data_of(cut(cutter({"audio": RATE}), frames), "video") == []
        assert data_of(cut(cutter({"video": 90_000}), frames), "audio") == []


class TestParts:
    def test_parts_are_cut_at_any_frame(self):
        pieces = cut(cutter(part=500), interleaved(video(4), sound(4)))
        assert [piece.duration / 90_000 for piece in by_segment(pieces, "video")[FIRST]] == [
            0.48,
            0.48,
            0.48,
            0.48,
            0.08,
        ]
        parts = [piece.duration / RATE for piece in by_segment(pieces, "audio")[FIRST + 1]]
        assert all(0.48 <= each < 0.48 + 1_024 / RATE for each in parts[:-1])

    def test_only_the_last_part_ends_the_segment(self):
        pieces = by_segment(cut(cutter(part=500), interleaved(video(4), sound(4))), "video")[FIRST]
        assert [piece.end is None for piece in pieces] == [True, True, True, True, False]

    def test_a_part_is_out_when_the_next_one_begins(self):
        cuts = cutter({"video": 90_000}, part=500)
        frames = video(4)
        out = [len(cuts.add("video", frame)) for frame in frames[:26]]
        assert [index for index, count in enumerate(out) if count] == [12, 24]


@st.composite
def publishing(draw):
    """Frames of both tracks, each in its order, otherwise as disorderly as they like."""
    gop, fps = draw(st.sampled_from([0.4, 1.0, 2.0, 3.0])), draw(st.sampled_from([5, 25]))
    seconds = draw(st.integers(1, 9))
    pictures = video(seconds, gop, fps)
    sounds = sound(seconds, begin=draw(st.floats(-0.4, 0.4)))
    if draw(st.booleans()):
        gap = draw(st.floats(0, 8))
        sounds = [each for each in sounds if not gap < each.pts / RATE - START < gap + 3]
    lead = draw(st.floats(-1.0, 1.0))
    tagged = [("video", each) for each in pictures] + [("audio", each) for each in sounds]
    return sorted(tagged, key=lambda pair: pair[1].dts / BOTH[pair[0]] + (lead if pair[0] == "audio" else 0))


@given(publishing(), st.sampled_from([0, 500]))
def test_every_frame_is_in_exactly_one_segment_in_its_order(frames, part):
    pieces = cut(cutter(part=part), frames)
    for track in ("video", "audio"):
        assert data_of(pieces, track) == [frame.data for name, frame in frames if name == track]


@given(publishing(), st.sampled_from([0, 500]))
def test_times_are_those_of_the_frames_and_samples_follow_one_another(frames, part):
    pieces = cut(cutter(part=part), frames)
    for track in ("video", "audio"):
        samples = [sample for piece in pieces if piece.track == track for sample in piece.samples]
        came = [(frame.dts, frame.pts) for name, frame in frames if name == track]
        assert [(sample.dts, sample.pts) for sample in samples] == came
        assert all(one.duration > 0 for one in samples)
        assert all(one.dts + one.duration <= two.dts for one, two in itertools.pairwise(samples))


@given(publishing(), st.sampled_from([0, 500]))
def test_a_segment_is_as_long_as_its_samples_within_a_frame(frames, part):
    pieces = cut(cutter(part=part), frames)
    for track, frame in (("video", 0.2), ("audio", 1_024 / RATE)):
        for number, parts in by_segment(pieces, track).items():
            length = (parts[-1].end - parts[0].start) / BOTH[track]
            held = sum(piece.duration for piece in parts) / BOTH[track]
            assert abs(length - held) <= frame + 1e-6, number


@given(publishing())
def test_numbers_of_a_run_grow_by_one_and_sound_has_none_that_video_has_not(frames):
    pieces = cut(cutter(), frames)
    numbers = list(by_segment(pieces, "video"))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    sounds = list(by_segment(pieces, "audio"))
    assert sounds == sorted(set(sounds) & set(numbers))


@given(publishing())
def test_segments_are_not_shorter_than_the_target(frames):
    pieces = cut(cutter(), frames)
    assert all(each >= 1.98 for each in seconds_of(pieces, "video")[:-1])
