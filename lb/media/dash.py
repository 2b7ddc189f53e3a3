"""Manifests of DASH: ISO/IEC 23009-1, profile isoff-live, with a SegmentTimeline that lists what is there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import attrs

from lb.media.frames import VIDEO, Track
from lb.media.iso_times import iso_duration, iso_time

__all__ = ["DashManifest", "DashPeriod", "DashRepresentation", "DashSegment"]

_CHANNELS = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"
_UTC_TIMING = "urn:mpeg:dash:utc:http-iso:2014"
_SEGMENTS_BEHIND = 3
"""Segments that players stay behind the newest."""


class DashSegment(NamedTuple):
    """A segment: its number, and its time and duration in ticks."""

    number: int
    time: int
    duration: int


@attrs.frozen
class DashRepresentation:
    """One track, at one bitrate."""

    name: str
    track: Track
    codecs: str
    bandwidth: int
    """Bits a second of its heaviest segment."""
    timescale: int
    base: str
    """Where its initialization segment and segments are, relative to the manifest: ends with a slash."""
    segments: Sequence[DashSegment]
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    channels: int = 0

    def lines(self, start: float) -> Iterator[str]:
        """Yield its element, in a Period that begins at ``start`` seconds."""
        yield f"<Representation {_attributes(self._attributes())}>"
        if self.track != VIDEO:
            yield f'<AudioChannelConfiguration schemeIdUri="{_CHANNELS}" value="{self.channels}"/>'
        yield f"<SegmentTemplate {_attributes(self._template(start))}>"
        yield "\n".join(("<SegmentTimeline>", *_timeline(self.segments)))
        yield "</SegmentTimeline></SegmentTemplate></Representation>"

    def _attributes(self) -> dict[str, object]:
        common = {"id": self.name, "codecs": self.codecs, "bandwidth": self.bandwidth}
        if self.track == VIDEO:
            return {**common, "width": self.width, "height": self.height, "frameRate": _fraction(self.frame_rate)}
        return {**common, "audioSamplingRate": self.timescale}

    def _template(self, start: float) -> dict[str, object]:
        """Return the template's attributes. Numbers name the segments, unless some are left out: then times do."""
        template: dict[str, object] = {"timescale": self.timescale, "initialization": f"{self.base}init.mp4"}
        offset = round(start * self.timescale)
        if offset:
            template["presentationTimeOffset"] = offset
        first, last = self.segments[0].number, self.segments[-1].number
        if last - first + 1 == len(self.segments):
            return {**template, "media": f"{self.base}$Number$.m4s", "startNumber": first}
        return {**template, "media": f"{self.base}t$Time$.m4s"}


@attrs.frozen
class DashPeriod:
    """A stretch of one configuration."""

    name: str
    start: float
    """In seconds from the presentation's beginning; segments' times count from there too."""
    representations: Sequence[DashRepresentation]

    def lines(self) -> Iterator[str]:
        yield f"<Period id={quoteattr(self.name)} start={quoteattr(iso_duration(self.start))}>"
        for number, track in enumerate(("video", "audio")):
            members = [each for each in self.representations if each.track == track]
            if members:
                yield (
                    f'<AdaptationSet id="{number}" contentType="{track}" mimeType="{track}/mp4" '
                    'segmentAlignment="true" startWithSAP="1">'
                )
                for each in members:
                    yield from each.lines(self.start)
                yield "</AdaptationSet>"
        yield "</Period>"


@attrs.frozen
class DashManifest:
    """An MPD. Times are in seconds."""

    periods: Sequence[DashPeriod]
    target: float
    """How long segments usually are."""
    longest: float
    """How long the longest is."""
    end: float
    """When the last segment ends."""
    published: float | None = None
    """When the manifest last changed, since 1970; None: it is complete, and never changes again."""
    window: float = 0.0
    """How far back players may go."""
    clock: str = ""
    """Where the time is, relative to the manifest."""

    def text(self) -> str:
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<MPD {_attributes(self._attributes())}>"]
        for period in self.periods:
            lines += period.lines()
        if self.clock:
            lines.append(f'<UTCTiming schemeIdUri="{_UTC_TIMING}" value={quoteattr(self.clock)}/>')
        return "\n".join((*lines, "</MPD>", ""))

    def _attributes(self) -> dict[str, object]:
        common = {
            "xmlns": "urn:mpeg:dash:schema:mpd:2011",
            "profiles": "urn:mpeg:dash:profile:isoff-live:2011",
            "minBufferTime": iso_duration(self.target),
            "maxSegmentDuration": iso_duration(math.ceil(self.longest)),
        }
        if self.published is None:
            return {**common, "type": "static", "mediaPresentationDuration": iso_duration(self.end)}
        return {
            **common,
            "type": "dynamic",
            "availabilityStartTime": "1970-01-01T00:00:00Z",
            "publishTime": iso_time(self.published),
            "minimumUpdatePeriod": iso_duration(self.target),
            "timeShiftBufferDepth": iso_duration(self.window),
            "suggestedPresentationDelay": iso_duration(_SEGMENTS_BEHIND * int(self.longest + 0.5)),
        }


def _attributes(values: dict[str, object]) -> str:
    return " ".join(f"{name}={quoteattr(str(value))}" for name, value in values.items())


def _timeline(segments: Sequence[DashSegment]) -> Iterator[str]:
    """Yield S elements: one for all segments of one duration that follow one another."""
    time, length, count, end = "", 0, 0, -1
    for _, start, duration in segments:
        if duration == length and start == end:
            count += 1
        else:
            if count:
                yield _repeated(time, length, count)
            time, length, count = "" if start == end else f' t="{start}"', duration, 1
        end = start + duration
    yield _repeated(time, length, count)


def _repeated(time: str, duration: int, count: int) -> str:
    return f'<S{time} d="{duration}" r="{count - 1}"/>' if count > 1 else f'<S{time} d="{duration}"/>'


def _fraction(rate: float) -> str:
    """Return frames a second as MPDs write them: 25, or 30000/1001."""
    whole = round(rate)
    if abs(rate - whole) < 0.005:
        return str(max(whole, 1))
    if abs(rate - whole * 1_000 / 1_001) < 0.005:
        return f"{whole * 1_000}/1001"
    return f"{round(rate * 1_000)}/1000"
