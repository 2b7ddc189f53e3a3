"""The tracks of an MP4 file as its box ``moov`` describes them."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from lb.media.frames import AUDIO, VIDEO, MediaError, Track
from lb.media.mp4_boxes import boxes, children, numbers, only_child, written_box
from lb.media.sample_table import SampleTable, read_sample_table

__all__ = ["MovieTrack", "read_tracks"]

_HANDLERS: dict[bytes, Track] = {b"vide": VIDEO, b"soun": AUDIO}
_CODECS = {
    b"avc1": "avc1",
    b"avc3": "avc1",
    b"hvc1": "hvc1",
    b"hev1": "hvc1",
    b"av01": "av01",
    b"mp4a": "mp4a",
    b"Opus": "opus",
    b".mp3": "mp3",
}
"""The codecs that are served, by the names of their entries in files. ``mp4a`` may hold MP3 as well."""
_ENCRYPTED = (b"encv", b"enca")
_FTYP = written_box(b"ftyp", b"isom\0\0\x02\0isomiso2mp41")
_EMPTY_TABLES = b"".join(
    written_box(kind, bytes(size)) for kind, size in ((b"stts", 8), (b"stsc", 8), (b"stsz", 12), (b"stco", 8))
)
_LONG_VERSION = 1


@attrs.define(eq=False)
class MovieTrack:
    """A track with its samples. A sample is shown at its time plus ``shift``, in ticks, as the edit list says."""

    number: int
    track: Track
    codec: str
    """As in :data:`lb.media.frames.CODECS`, but MP3 may call itself ``mp4a``."""
    timescale: int
    shift: int
    end: int | None
    """When the edit list lets it end, in ticks after it begins to be shown; None: with its last sample."""
    table: SampleTable
    header: bytes
    """A file of its own with this track, but no samples: it says how they are coded."""


@attrs.frozen
class _Edit:
    duration: int
    """In ticks of the movie; 0 = to the end."""
    time: int
    """The track's tick that it begins with; -1: nothing is shown."""


def read_tracks(moov: memoryview) -> tuple[MovieTrack, ...]:
    """Return the first track of each kind that can be served.

    Raises :class:`MediaError` if there is none, or the file is damaged.
    """
    scale = _timescale(only_child(moov, b"mvhd"))
    found: dict[Track, MovieTrack] = {}
    others: dict[Track, str] = {}
    for trak in children(moov, b"trak"):
        kind = _HANDLERS.get(bytes(only_child(trak, b"mdia", b"hdlr")[8:12]))
        if kind is None or kind in found:
            continue
        entry = _entry(trak)
        if entry in _CODECS:
            found[kind] = _read_track(trak, moov, kind, _CODECS[entry], scale)
        elif entry in _ENCRYPTED:
            raise MediaError(f"its {kind} is encrypted")
        else:
            others[kind] = entry.decode("latin-1").strip()
    for kind, name in others.items():
        if kind not in found:
            raise MediaError(f"its {kind} is {name}; players of HLS and DASH take H.264, HEVC, AV1, AAC, MP3, Opus")
    if not found:
        raise MediaError("there is neither video nor audio in it")
    return tuple(found.values())


def _entry(trak: memoryview) -> bytes:
    """Return what the only sample entry of a track is called."""
    entries = list(boxes(only_child(trak, b"mdia", b"minf", b"stbl", b"stsd")[8:]))
    if len(entries) != 1:
        raise MediaError("its codec's settings change within it")
    return entries[0].kind


def _read_track(trak: memoryview, moov: memoryview, kind: Track, codec: str, movie_scale: int) -> MovieTrack:
    timescale = _timescale(only_child(trak, b"mdia", b"mdhd"))
    shift, end = _shift(list(_edits(trak)), timescale, movie_scale)
    if next(children(moov, b"mvex"), None) is not None:
        end = None  # what a file in fragments says at its begin does not know its end
    table = read_sample_table(only_child(trak, b"mdia", b"minf", b"stbl"), video=kind == VIDEO)
    tkhd = only_child(trak, b"tkhd")
    (number,) = numbers(tkhd[20:24] if tkhd[0] == _LONG_VERSION else tkhd[12:16], "I")
    return MovieTrack(number, kind, codec, timescale, shift, end, table, _header(trak, moov, number))


def _timescale(header: memoryview) -> int:
    """Return the ticks a second that a box ``mvhd`` or ``mdhd`` tells."""
    at = 20 if header[0] == _LONG_VERSION else 12
    timescale = int.from_bytes(header[at : at + 4])
    if not timescale:
        raise MediaError("it is damaged: it has a timescale of 0")
    return timescale


def _edits(trak: memoryview) -> Iterator[_Edit]:
    for elst in children(trak, b"edts", b"elst"):
        width = 8 if elst[0] == _LONG_VERSION else 4
        for at in range(8, len(elst) - 2 * width - 3, 2 * width + 4):
            duration = int.from_bytes(elst[at : at + width])
            yield _Edit(duration, int.from_bytes(elst[at + width : at + 2 * width], signed=True))


def _shift(edits: list[_Edit], timescale: int, movie_scale: int) -> tuple[int, int | None]:
    """Return what is added to the times of samples, and when, from there on, the track ends."""
    shown = [edit for edit in edits if edit.time >= 0]
    if len(shown) > 1:
        raise MediaError("its edit list puts it together from several pieces")
    if not shown:
        return 0, None
    pause = sum(edit.duration for edit in edits[: edits.index(shown[0])]) * timescale // movie_scale
    end = pause - -shown[0].duration * timescale // movie_scale if shown[0].duration else None
    return pause - shown[0].time, end


def _header(trak: memoryview, moov: memoryview, number: int) -> bytes:
    """Return a file of one track without its samples."""
    kept = [written_box(box.kind, _without_samples(box.kind, box.body)) for box in boxes(trak) if box.kind != b"edts"]
    trex = written_box(b"trex", bytes(4), number.to_bytes(4), b"\0\0\0\1", bytes(12))
    mvhd = written_box(b"mvhd", only_child(moov, b"mvhd"))
    return _FTYP + written_box(b"moov", mvhd, written_box(b"trak", *kept), written_box(b"mvex", trex))


def _without_samples(kind: bytes, body: memoryview) -> bytes | memoryview:
    if kind == b"stbl":
        return written_box(b"stsd", only_child(body, b"stsd")) + _EMPTY_TABLES
    if kind in (b"mdia", b"minf"):
        return b"".join(written_box(box.kind, _without_samples(box.kind, box.body)) for box in boxes(body))
    return body
