"""Reads a DASH manifest, and holds it to the rules of ISO/IEC 23009-1 and of DASH-IF's guidelines that apply here."""

from __future__ import annotations

import itertools
import re
from datetime import datetime
from xml.etree import ElementTree as ET

import attrs

NAMESPACE = "{urn:mpeg:dash:schema:mpd:2011}"
DURATION = re.compile(r"PT([0-9]+(?:\.[0-9]+)?)S")
ORDER = ["Period", "UTCTiming"]
"""Of what is in an MPD."""


@attrs.frozen
class Listed:
    """A segment: its address, and its time and duration in seconds of the presentation."""

    uri: str
    time: float
    duration: float


@attrs.frozen
class Representation:
    attributes: dict
    init: str
    segments: list


@attrs.frozen
class Manifest:
    attributes: dict
    periods: dict
    """id -> representations by their id."""
    starts: dict
    clock: str | None


def seconds(text):
    found = DURATION.fullmatch(text)
    assert found is not None, f"{text} is no duration of seconds"
    return float(found[1])


def read(text):
    """Return a manifest. Raises AssertionError if it breaks a rule."""
    root = ET.fromstring(text)
    assert root.tag == f"{NAMESPACE}MPD"
    check_attributes(root)
    kinds = [child.tag.removeprefix(NAMESPACE) for child in root]
    assert kinds == sorted(kinds, key=ORDER.index)
    periods = root.findall(f"{NAMESPACE}Period")
    assert periods, "an MPD has a Period"
    starts = {each.get("id"): seconds(each.get("start")) for each in periods}
    assert len(starts) == len(periods), "ids of Periods differ"
    assert list(starts.values()) == sorted(set(starts.values())), "Periods begin one after another"
    clock = root.find(f"{NAMESPACE}UTCTiming")
    found = {each.get("id"): period(each) for each in periods}
    check_durations(root, found)
    return Manifest(dict(root.attrib), found, starts, None if clock is None else clock.get("value"))


def check_attributes(root):
    assert "isoff-live" in root.get("profiles")
    assert seconds(root.get("minBufferTime")) > 0
    if root.get("type") == "static":
        assert seconds(root.get("mediaPresentationDuration")) > 0
        assert root.get("minimumUpdatePeriod") is None
        return
    assert root.get("type") == "dynamic"
    for name in ("availabilityStartTime", "publishTime"):
        assert datetime.fromisoformat(root.get(name)).tzinfo is not None
    for name in ("minimumUpdatePeriod", "timeShiftBufferDepth", "suggestedPresentationDelay"):
        assert seconds(root.get(name)) > 0
    assert root.find(f"{NAMESPACE}UTCTiming") is not None, "DASH-IF: live presentations give a clock"


def period(element):
    found = {}
    start = seconds(element.get("start"))
    sets = element.findall(f"{NAMESPACE}AdaptationSet")
    assert sets, "a Period has an AdaptationSet"
    assert len({each.get("id") for each in sets}) == len(sets)
    for each in sets:
        assert each.get("mimeType") == f"{each.get('contentType')}/mp4"
        assert each.get("segmentAlignment") == "true"
        for member in each.findall(f"{NAMESPACE}Representation"):
            assert member.get("id") not in found, "ids of Representations differ in a Period"
            assert int(member.get("bandwidth")) > 0
            assert member.get("codecs")
            found[member.get("id")] = representation(member, start, each.get("contentType"))
    return found


def representation(element, start, kind):
    if kind == "video":
        assert int(element.get("width")) > 0
        assert int(element.get("height")) > 0
        assert re.fullmatch("[0-9]+(/[1-9][0-9]*)?", element.get("frameRate"))
    else:
        assert int(element.get("audioSamplingRate")) > 0
        assert element.find(f"{NAMESPACE}AudioChannelConfiguration") is not None
    template = element.find(f"{NAMESPACE}SegmentTemplate")
    assert ("$Number$" in template.get("media")) != ("$Time$" in template.get("media"))
    segments = list(listed(template, start))
    assert segments, "a Representation has segments"
    assert all(one.time + one.duration <= two.time + 1e-6 for one, two in itertools.pairwise(segments))
    assert segments[0].time >= start - 1e-3, "no segment begins before its Period"
    return Representation(dict(element.attrib), template.get("initialization"), segments)


def listed(template, start):
    scale, offset = int(template.get("timescale")), int(template.get("presentationTimeOffset", 0))
    number, time = int(template.get("startNumber", 1)), 0
    for element in template.find(f"{NAMESPACE}SegmentTimeline"):
        time = int(element.get("t", time))
        duration = int(element.get("d"))
        assert duration > 0
        for _ in range(int(element.get("r", 0)) + 1):
            uri = template.get("media").replace("$Number$", str(number)).replace("$Time$", str(time))
            yield Listed(uri, start + (time - offset) / scale, duration / scale)
            number, time = number + 1, time + duration


def check_durations(root, periods):
    longest = seconds(root.get("maxSegmentDuration"))
    for members in periods.values():
        for member in members.values():
            assert all(each.duration <= longest for each in member.segments)
