"""Counters of media processes go on over the ends of processes, and never back."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from lb.model.media_figures import (
    MOST_LEFT,
    PACKAGE_BOUNDS,
    SEGMENT_BOUNDS,
    MediaFigures,
    MediaHistogram,
    MediaTotals,
    StreamFigures,
)

NAMES = st.sampled_from(["live/a", "live/b", "live/c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("segment"), NAMES, st.floats(0.1, 70)),
        st.tuples(st.just("bytes"), NAMES, st.integers(0, 9_999)),
        st.tuples(st.just("refused"), st.sampled_from(["key", "busy"])),
        st.tuples(st.just("packaged"), st.floats(0, 40)),
        st.tuples(st.just("look")),
        st.tuples(st.just("end")),
    ),
    max_size=40,
)


def act(figures, step):
    what, *about = step
    if what == "segment":
        figures.segment_done(about[0], "v0", about[1])
    elif what == "bytes":
        figures.streams.setdefault(about[0], StreamFigures()).bytes_in += about[1]
    elif what == "refused":
        figures.refused[about[0]] = figures.refused.get(about[0], 0) + 1
    elif what == "packaged":
        figures.packaging.note(about[0])


def flat(figures):
    """All counters of figures, by name."""
    found = {("refused", reason): count for reason, count in figures.refused.items()}
    for name in ("segment_lengths", "packaging"):
        found |= {(name, number): count for number, count in enumerate(getattr(figures, name).buckets)}
        found[name, "sum"] = getattr(figures, name).sum
    for name, stream in figures.streams.items():
        found |= {
            (name, "bytes"): stream.bytes_in,
            **{(name, track): count for track, count in stream.segments.items()},
        }
    return found


@given(STEPS)
def test_no_counter_goes_back_when_processes_end(steps):
    totals, figures, seen = MediaTotals(), MediaFigures(), {}
    for step in steps:
        act(figures, step)
        if step[0] in ("look", "end"):
            totals.look(copy.deepcopy(figures))
        if step[0] == "end":
            totals.process_ended()
            figures = MediaFigures()
        now = flat(totals.total)
        assert all(now[key] >= before for key, before in seen.items())
        seen = now


def test_what_processes_have_counted_is_added_up():
    totals = MediaTotals()
    for bytes_in in (100, 20):
        figures = MediaFigures({"live/a": StreamFigures(bytes_in)}, jumps=1, refused={"key": 2})
        figures.segment_done("live/a", "v0", 2.0)
        totals.look(figures)
        totals.process_ended()
    total = totals.total
    assert total.streams == {"live/a": StreamFigures(120, {"v0": 2})}
    assert (total.jumps, total.refused, total.segment_lengths.sum) == (2, {"key": 4}, 4.0)


def test_a_stream_that_its_process_has_forgotten_is_gone_with_what_was_before_it():
    totals = MediaTotals()
    totals.look(MediaFigures({"live/a": StreamFigures(100)}))
    totals.process_ended()
    totals.look(MediaFigures({"live/a": StreamFigures(1), "live/b": StreamFigures(2)}))
    totals.look(MediaFigures({"live/b": StreamFigures(2)}))
    assert totals.total.streams == {"live/b": StreamFigures(2)}


def test_streams_of_processes_that_are_gone_are_kept_up_to_a_limit():
    totals = MediaTotals()
    for number in range(MOST_LEFT + 3):
        totals.look(MediaFigures({f"live/{number}": StreamFigures(1)}))
        totals.process_ended()
    assert len(totals.total.streams) == MOST_LEFT
    assert f"live/{MOST_LEFT + 2}" in totals.total.streams
    assert "live/0" not in totals.total.streams


def test_a_value_is_in_the_bucket_of_the_next_bound():
    histogram = MediaHistogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        histogram.note(value)
    assert (histogram.buckets, histogram.sum) == ([2, 1, 1], 6.0)
    assert list(SEGMENT_BOUNDS) == sorted(SEGMENT_BOUNDS)
    assert list(PACKAGE_BOUNDS) == sorted(PACKAGE_BOUNDS)
