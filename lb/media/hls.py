"""Playlists of HLS: RFC 8216, and its second edition (draft-pantos-hls-rfc8216bis) for parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from lb.media.iso_times import iso_time

__all__ = ["HlsAudio", "HlsPart", "HlsPlaylist", "HlsReport", "HlsSegment", "HlsVariant", "master_playlist"]

_VERSION = 7
"""EXT-X-MAP in playlists that are not of I-frames alone asks for 6, and Apple's fragmented MP4 for 7."""
_VERSION_WITH_PARTS = 9
_PARTS_HELD_BACK = 3
"""Parts that players stay behind the end."""


@attrs.frozen
class HlsPart:
    """A part of a segment."""

    uri: str
    seconds: float
    independent: bool
    """Players can begin with it."""


@attrs.frozen
class HlsSegment:
    """A line of a playlist."""

    uri: str
    seconds: float
    map_uri: str
    """Of its initialization segment."""
    date: float | None = None
    """When it begins, in seconds since 1970; None: the playlist is not of live media."""
    breaks: int = 0
    """Discontinuities between the segment before it and this one. Those before the first that is listed are not."""
    parts: Sequence[HlsPart] = ()
    complete: bool = True
    """False: only its parts are there."""
    text: str = attrs.field(init=False, eq=False, repr=False)
    """Its own lines."""

    @text.default
    def _own_lines(self) -> str:
        return "\n".join(_segment_lines(self))


@attrs.frozen
class HlsReport:
    """How far another playlist is, which a player may change to."""

    uri: str
    last_segment: int
    last_part: int


@attrs.frozen
class HlsPlaylist:
    """A media playlist."""

    segments: Sequence[HlsSegment]
    target: int
    """No segment is longer, rounded to seconds."""
    first: int = 0
    """The sequence number of the first segment."""
    breaks_before: int = 0
    """Discontinuities that came before the first segment's end, and are not listed."""
    breaks_after: int = 0
    """Discontinuities after the last segment: announced before what follows is there."""
    part_target: float = 0.0
    """Seconds that no part is longer than; 0: there are no parts."""
    hint: str = ""
    """The part that comes next."""
    reports: Sequence[HlsReport] = ()
    ended: bool = False
    fixed: bool = False
    """It has all there will ever be, and always had."""

    def text(self) -> str:
        lines = [*self._head()]
        map_uri = ""
        for segment in self.segments:
            if segment.breaks and map_uri:
                lines += ["#EXT-X-DISCONTINUITY"] * segment.breaks
            if segment.map_uri != map_uri:
                map_uri = segment.map_uri
                lines.append(f'#EXT-X-MAP:URI="{map_uri}"')
            lines.append(segment.text)
        lines += ["#EXT-X-DISCONTINUITY"] * self.breaks_after
        if self.hint:
            lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{self.hint}"')
        lines += [
            f'#EXT-X-RENDITION-REPORT:URI="{each.uri}",LAST-MSN={each.last_segment},LAST-PART={each.last_part}'
            for each in self.reports
        ]
        if self.ended:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join((*lines, ""))

    def _head(self) -> Iterator[str]:
        yield "#EXTM3U"
        yield f"#EXT-X-VERSION:{_VERSION_WITH_PARTS if self.part_target else _VERSION}"
        yield f"#EXT-X-TARGETDURATION:{self.target}"
        if self.part_target:
            behind = _PARTS_HELD_BACK * self.part_target
            yield f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={behind:.5f}"
            yield f"#EXT-X-PART-INF:PART-TARGET={self.part_target:.5f}"
        yield f"#EXT-X-MEDIA-SEQUENCE:{self.first}"
        if self.breaks_before:
            yield f"#EXT-X-DISCONTINUITY-SEQUENCE:{self.breaks_before}"
        if self.fixed:
            yield "#EXT-X-PLAYLIST-TYPE:VOD"
        yield "#EXT-X-INDEPENDENT-SEGMENTS"


def _segment_lines(segment: HlsSegment) -> Iterator[str]:
    if segment.date is not None:
        yield f"#EXT-X-PROGRAM-DATE-TIME:{iso_time(segment.date)}"
    for part in segment.parts:
        independent = ",INDEPENDENT=YES" if part.independent else ""
        yield f'#EXT-X-PART:DURATION={part.seconds:.5f},URI="{part.uri}"{independent}'
    if segment.complete:
        yield f"#EXTINF:{segment.seconds:.5f},"
        yield segment.uri


@attrs.frozen
class HlsVariant:
    """A rendition of a stream: video, with the sound of the group if there is one, or sound alone."""

    uri: str
    bandwidth: int
    """Bits a second of its heaviest segment, with its sound."""
    average: int
    codecs: Sequence[str]
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0


@attrs.frozen
class HlsAudio:
    """Sound that variants share."""

    uri: str
    channels: int


def master_playlist(variants: Sequence[HlsVariant], audio: HlsAudio | None) -> str:
    """Return a master playlist. ``audio`` is None if the variants have no sound, or are sound."""
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{_VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if audio is not None:
        lines.append(
            '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="audio",DEFAULT=YES,AUTOSELECT=YES,'
            f'CHANNELS="{audio.channels}",URI="{audio.uri}"'
        )
    for variant in variants:
        lines += [f"#EXT-X-STREAM-INF:{','.join(_attributes(variant, has_audio=audio is not None))}", variant.uri]
    return "\n".join((*lines, ""))


def _attributes(variant: HlsVariant, *, has_audio: bool) -> Iterator[str]:
    yield f"BANDWIDTH={variant.bandwidth}"
    yield f"AVERAGE-BANDWIDTH={variant.average}"
    yield f'CODECS="{",".join(variant.codecs)}"'
    if variant.width:
        yield f"RESOLUTION={variant.width}x{variant.height}"
        yield f"FRAME-RATE={variant.frame_rate:.3f}"
    if has_audio:
        yield 'AUDIO="audio"'
