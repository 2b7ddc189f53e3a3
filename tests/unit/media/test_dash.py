"""Manifests, held to the rules."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.dash import DashManifest, DashPeriod, DashRepresentation, DashSegment
from tests.support.mpd import read

VIDEO = DashRepresentation(
    "v0", "video", "avc1.64001f", 3_000_000, 90_000, "c/v0/", [DashSegment(7, 180_000, 180_000)],
    width=1280, height=720, frame_rate=25.0,
)  # fmt: skip
SOUND = DashRepresentation(
    "a0", "audio", "mp4a.40.2", 130_000, 48_000, "c/a0/", [DashSegment(7, 96_000, 96_256)], channels=2
)


def manifest(*representations, start=0.0, **changes):
    period = DashPeriod("c", start, representations or (VIDEO, SOUND))
    values = {
        "target": 2.0,
        "longest": 2.1,
        "end": 20.0,
        "published": 1_764_000_000.0,
        "window": 12.0,
        "clock": "../time",
    }
    return DashManifest([period], **{**values, **changes})


def timeline(segments):
    text = manifest(attrs.evolve(VIDEO, segments=segments), longest=1e6).text()
    return [line for line in text.splitlines() if line.startswith("<S ")], read(text).periods["c"]["v0"].segments


def test_a_live_manifest_counts_from_1970_and_names_the_clock():
    found = read(manifest().text())
    assert found.attributes["availabilityStartTime"] == "1970-01-01T00:00:00Z"
    assert found.attributes["publishTime"] == "2025-11-24T16:00:00.000Z"
    assert found.clock == "../time"


def test_a_complete_one_has_a_duration_and_is_never_asked_for_again():
    found = read(manifest(published=None, clock="").text())
    assert (found.attributes["type"], found.attributes["mediaPresentationDuration"]) == ("static", "PT20S")
    assert found.clock is None


def test_tracks_are_described():
    found = read(manifest().text()).periods["c"]
    assert found["v0"].attributes == {
        "id": "v0", "codecs": "avc1.64001f", "bandwidth": "3000000",
        "width": "1280", "height": "720", "frameRate": "25",
    }  # fmt: skip
    assert found["a0"].attributes["audioSamplingRate"] == "48000"
    assert (found["v0"].init, found["a0"].init) == ("c/v0/init.mp4", "c/a0/init.mp4")


def test_segments_of_one_length_share_an_element():
    lines, found = timeline([DashSegment(7 + each, 1_000 * each, 1_000) for each in range(5)])
    assert lines == ['<S t="0" d="1000" r="4"/>']
    assert [each.uri for each in found] == [f"c/v0/{number}.m4s" for number in range(7, 12)]


def test_a_gap_in_time_is_a_gap_in_the_list():
    lines, _ = timeline([DashSegment(1, 0, 1_000), DashSegment(2, 1_000, 1_000), DashSegment(3, 5_000, 900)])
    assert lines == ['<S t="0" d="1000" r="1"/>', '<S t="5000" d="900"/>']


def test_segments_are_named_by_time_where_numbers_are_left_out():
    _, found = timeline([DashSegment(1, 0, 1_000), DashSegment(9, 5_000, 900)])
    assert [each.uri for each in found] == ["c/v0/t0.m4s", "c/v0/t5000.m4s"]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(1, 3)), min_size=1))
def test_a_timeline_lists_what_is_there(steps):
    segments, number, time = [], 1, 0
    for duration, gap, step in steps:
        segments.append(DashSegment(number, time + gap, duration))
        number, time = number + step, time + gap + duration
    _, found = timeline(segments)
    assert [(round(each.time * 90_000), round(each.duration * 90_000)) for each in found] == [
        (each.time, each.duration) for each in segments
    ]


def test_times_in_a_later_period_are_those_of_the_presentation():
    video = attrs.evolve(VIDEO, segments=[DashSegment(7, 90_000 * 1_000 + 45_000, 180_000)])
    found = read(manifest(video, start=1_000.25).text())
    assert found.starts == {"c": 1_000.25}
    assert found.periods["c"]["v0"].segments[0].time == pytest.approx(1_000.5)


@pytest.mark.parametrize(
    ("rate", "written"),
    [
        (25.0, "25"),
        (25.004, "25"),
        (29.97, "30000/1001"),
        (59.94, "60000/1001"),
        (23.976, "24000/1001"),
        (12.5, "12500/1000"),
        (0.2, "200/1000"),
    ],
)
def test_a_frame_rate_is_a_fraction(rate, written):
    found = read(manifest(attrs.evolve(VIDEO, frame_rate=rate)).text())
    assert found.periods["c"]["v0"].attributes["frameRate"] == written
