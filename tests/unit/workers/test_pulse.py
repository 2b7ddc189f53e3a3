"""When a worker counts as hanging: looks once a second at heartbeats and CPU time."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from lb.workers.pulse import Pulse


def looks(seen):
    """Look once a second at (new heartbeat, seconds of CPU since the last look). Return the first reason, and when."""
    pulse, beats, cpu = Pulse(0, 0.0, patience=30.0, timeout=5.0), 0, 0.0
    for second, (beat, used) in enumerate(seen, 1):
        beats += beat
        cpu += used
        pulse.look(beats, second, cpu)
        if reason := pulse.hangs(second):
            return reason, second
    return "", None


STARTED = [(True, 0.5)]


def test_who_is_stopped_or_blocked_uses_no_cpu_and_hangs_after_5_s():
    assert looks(STARTED + [(False, 0.0)] * 20) == ("did not answer for 5 s", 6)


def test_who_loops_without_end_hangs_after_5_s_of_cpu_time():
    assert looks(STARTED + [(False, 1.0)] * 20) == ("did not answer for 5 s of CPU time", 6)
    assert looks(STARTED + [(False, 0.25)] * 40) == ("did not answer for 5 s of CPU time", 21)


def test_whose_loop_does_not_turn_hangs_after_a_minute_whatever_it_uses():
    assert looks(STARTED + [(False, 0.002)] * 100) == ("did not answer for 60 s", 61)


def test_a_start_may_take_longer():
    assert looks([(False, 0.0)] * 29 + [(True, 0.1)]) == ("", None)
    assert looks([(False, 0.9)] * 29 + [(True, 0.1)]) == ("", None)
    assert looks([(False, 0.0)] * 40) == ("did not answer for 30 s", 30)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.002, 0.16)), max_size=200))
def test_who_is_busy_is_not_dead(seen):
    """On a machine with so much to do that it gets a sixth of a CPU or less, its turns may take half a minute."""
    every_30th = [(beat or not number % 30, used) for number, (beat, used) in enumerate(seen)]
    assert looks(STARTED + every_30th) == ("", None)


def test_a_pause_of_the_one_who_looks_does_not_count():
    pulse = Pulse(0, 0.0, patience=30.0, timeout=5.0)
    pulse.look(1, 1.0, 0.1)
    pulse.look(1, 101.0, 0.1)
    pulse.skip(100.0)
    assert not pulse.hangs(101.0)
    pulse.look(1, 106.0, 0.1)
    assert pulse.hangs(106.0)
