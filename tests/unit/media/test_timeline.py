"""The clock of a stream, and numbers that are used once and never go back: whatever clocks and publishers do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.timeline import RunClock, SegmentNumbers, SharedTimeline, SteadyClock

NOW = 1_764_000_000_000
SEGMENT = 2_000


def shared(running=1):
    timeline = SharedTimeline(SegmentNumbers(SEGMENT))
    timeline.running = running
    return timeline


def run(timeline=None):
    return RunClock(timeline or shared())


def test_a_wall_clock_that_is_stepped_moves_nothing():
    clock = SteadyClock(wall=1_764_000_000.0, monotonic=50.0)
    assert clock.at(50.0) == 1_764_000_000.0
    assert clock.at(62.5) == 1_764_000_012.5


class TestRunClock:
    def test_a_run_begins_now(self):
        clock = run()
        assert clock.place("video", 7_000, NOW, 0) == (NOW, 0)
        assert clock.place("video", 7_040, NOW + 900, 0) == (NOW + 40, 0)
        assert clock.place("audio", 7_021, NOW + 901, 0) == (NOW + 21, 0)

    def test_a_run_begins_where_the_last_one_ended_if_that_was_later(self):
        assert run().place("video", 0, NOW, NOW + 300) == (NOW + 300, 0)

    @pytest.mark.parametrize("jump", [3_600_000, -9_000, 1_501, -541, 2**32])
    def test_time_goes_on_by_one_frame_when_the_source_jumps_and_the_other_track_follows(self, jump):
        clock = run()
        for timestamp in range(0, 400, 40):
            clock.place("video", timestamp, NOW, 0)
            clock.place("audio", timestamp + 5, NOW, 0)
        assert clock.place("video", 400 + jump, NOW, 0) == (NOW + 400, jump + 40)
        assert clock.place("audio", 405 + jump, NOW, 0) == (NOW + 405, 0)
        assert clock.place("video", 440 + jump, NOW, 0) == (NOW + 440, 0)

    @pytest.mark.parametrize("step", [1_500, -500, 0, 1])
    def test_small_steps_are_kept(self, step):
        clock = run()
        clock.place("video", 0, NOW, 0)
        clock.place("video", 1_000, NOW, 0)
        assert clock.place("video", 1_000 + step, NOW, 0) == (NOW + 1_000 + step, 0)

    def test_a_picture_every_five_seconds_beside_sound_is_no_jump(self):
        clock = run()
        clock.place("video", 0, NOW, 0)
        for timestamp in range(0, 5_000, 20):
            clock.place("audio", timestamp, NOW, 0)
        assert clock.place("video", 5_000, NOW, 0) == (NOW + 5_000, 0)

    def test_a_track_that_joins_with_another_clock_joins_at_the_others_time(self):
        clock = run()
        clock.place("video", 0, NOW, 0)
        clock.place("video", 40, NOW, 0)
        assert clock.place("audio", 86_400_000, NOW, 0) == (NOW + 40, 0)
        assert clock.place("audio", 86_400_021, NOW, 0) == (NOW + 61, 0)

    def test_members_of_a_ladder_have_one_clock_though_they_connect_one_after_another(self):
        timeline = shared(running=2)
        first, second = run(timeline), run(timeline)
        first.place("video", 1_000, NOW, 0)
        assert second.place("video", 1_000, NOW + 700, 0) == (NOW, 0)
        assert second.place("video", 1_040, NOW + 740, 0) == (NOW + 40, 0)

    def test_a_member_with_a_clock_of_its_own_keeps_it(self):
        timeline = shared(running=2)
        run(timeline).place("video", 1_000, NOW, 0)
        assert run(timeline).place("video", 99_000, NOW + 700, 0) == (NOW + 700, 0)

    def test_a_publisher_that_comes_back_begins_now_whatever_its_clock_says(self):
        timeline = shared(running=1)
        run(timeline).place("video", 1_000, NOW, 0)
        assert run(timeline).place("video", 1_000, NOW + 700, 0) == (NOW + 700, 0)

    def test_members_of_a_ladder_jump_together(self):
        timeline = shared(running=2)
        members = [run(timeline), run(timeline)]
        for timestamp in range(0, 400, 40):
            for member in members:
                member.place("video", timestamp, NOW, 0)
        places = [member.place("video", 50_000, NOW, 0) for member in members]
        assert places == [(NOW + 400, 49_640), (NOW + 400, 0)]

    @given(st.lists(st.tuples(st.sampled_from(["video", "audio"]), st.integers(-(2**33), 2**33)), min_size=1))
    def test_no_timestamp_moves_a_track_far_ahead_or_back(self, frames):
        clock = run()
        last = {}
        for track, timestamp in frames:
            at, _ = clock.place(track, timestamp, NOW, 0)
            if last:
                newest = max(last.values())
                assert at - last.get(track, newest) >= -500
                assert at - newest <= 1_500
            last[track] = max(at, last.get(track, at))


starts = st.lists(st.integers(0, 6_000), min_size=1, max_size=60)


class TestSegmentNumbers:
    def test_the_first_number_is_that_of_its_time(self):
        assert SegmentNumbers(SEGMENT).first(NOW + 1_999, -1) == NOW // SEGMENT

    def test_then_one_more_each(self):
        numbers = SegmentNumbers(SEGMENT)
        first = numbers.first(NOW, -1)
        assert [numbers.following(NOW + 8_000 * each, first + each - 1, 8_000) for each in (1, 2, 3)] == [
            first + 1, first + 2, first + 3,
        ]  # fmt: skip

    def test_a_later_run_finds_numbers_of_its_time(self):
        assert SegmentNumbers(SEGMENT).first(NOW + 60_000, NOW // SEGMENT + 3) == NOW // SEGMENT + 30

    def test_a_run_that_begins_at_once_does_not_use_the_last_number_again(self):
        assert SegmentNumbers(SEGMENT).first(NOW + 100, NOW // SEGMENT) == NOW // SEGMENT + 1

    def test_numbers_that_a_process_before_may_have_used_are_left_out(self):
        numbers = SegmentNumbers(SEGMENT, after=NOW // SEGMENT)
        assert numbers.first(NOW, -1) is None
        assert numbers.first(NOW + SEGMENT, -1) == NOW // SEGMENT + 1

    def test_numbers_of_a_process_before_with_shorter_segments_are_left_out_without_waiting(self):
        numbers = SegmentNumbers(SEGMENT, after=NOW // 500)
        first = numbers.first(NOW, -1)
        assert first > NOW // 500
        assert numbers.following(NOW + 2_000, first, 2_000) == first + 1
        assert numbers.first(NOW + 60_000, first + 1) == first + 30

    def test_with_another_target_numbers_go_on_one_by_one(self):
        numbers = SegmentNumbers(SEGMENT)
        first = numbers.first(NOW, -1)
        numbers.change(4_000, NOW + 1_000)
        assert numbers.following(NOW + 4_000, first, 4_000) == first + 1
        assert numbers.following(NOW + 7_990, first + 1, 3_990) == first + 2
        numbers.change(1_000, NOW + 8_000)
        assert numbers.following(NOW + 9_000, first + 2, 1_010) == first + 3
        assert numbers.first(NOW + 9_100, first + 3) == (NOW + 9_000) // 1_000

    @given(st.lists(st.integers(0, 10_000), max_size=50), st.integers(0, 1_999))
    def test_segments_a_little_short_never_take_numbers_far_ahead_of_time(self, more, phase):
        numbers = SegmentNumbers(SEGMENT)
        start = NOW + phase
        began, number = start, numbers.first(start, -1)
        for _ in range(300):
            start += 1_980 + (more.pop() if more else 0)
            found = numbers.following(start, number, start - began)
            if found is not None:
                assert found == number + 1
                began, number = start, found
            assert number * SEGMENT <= start + SEGMENT + 20
            assert start - began <= 2 * 12_000

    def test_members_whose_key_frames_are_near_use_one_number(self):
        numbers = SegmentNumbers(SEGMENT)
        first = numbers.first(NOW + 1_900, -1)
        assert numbers.first(NOW + 2_150, -1) == first
        assert numbers.following(NOW + 4_000, first, 2_100) == first + 1
        assert numbers.following(NOW + 4_250, first, 2_100) == first + 1

    def test_a_member_that_missed_a_key_frame_takes_the_others_number_again(self):
        numbers = SegmentNumbers(SEGMENT)
        first = numbers.first(NOW, -1)
        for each in (1, 2, 3):
            numbers.following(NOW + 2_000 * each, first + each - 1, 2_000)
        assert numbers.following(NOW + 6_000, first, 6_000) == first + 3

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 30_000)), max_size=60))
    def test_no_number_is_used_twice_or_goes_back_over_runs(self, steps):
        numbers = SegmentNumbers(SEGMENT)
        used, start, length = [numbers.first(NOW, -1)], NOW, 0
        for new_run, pause in steps:
            start += pause
            length += pause
            if new_run:
                number = numbers.first(start, used[-1])
            elif length < SEGMENT - 20:
                continue
            else:
                number = numbers.following(start, used[-1], length)
            if number is not None:
                used.append(number)
                length = 0
        assert used == sorted(set(used))


class TestBreaks:
    def test_nothing_is_broken_before_the_first_segment(self):
        timeline = shared()
        timeline.add_break()
        assert timeline.all_breaks() == 0

    def test_what_comes_after_the_last_number_comes_after_the_break(self):
        timeline = shared()
        number = timeline.numbers.first(NOW, -1)
        timeline.add_break()
        assert [timeline.breaks_before(each) for each in (number, number + 1, number + 50)] == [0, 1, 1]

    def test_runs_without_a_segment_add_no_breaks(self):
        timeline = shared()
        timeline.numbers.first(NOW, -1)
        timeline.add_break()
        timeline.add_break()
        assert timeline.all_breaks() == 1

    def test_old_breaks_are_counted_though_forgotten(self):
        timeline = shared()
        number = timeline.numbers.first(NOW, -1)
        for each in range(5_000):
            timeline.add_break()
            number = timeline.numbers.first(NOW + each * SEGMENT, number)
        timeline.add_break()
        assert timeline.all_breaks() == 5_001
        assert timeline.breaks_before(number) == 5_000
