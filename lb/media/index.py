"""Open an MP4 file to serve it in segments: its tracks, and where their samples are.

libav's own index of a file is not used: it has no times of showing, which cuts go by, short of reading all key frames.
To open ten minutes took 14 ms with it, to take over its entries 40 ms, and to read the key frames 50 ms.
"""

from __future__ import annotations

import io
import os
import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import attrs
import av
from av.error import FFmpegError
from av.stream import Stream

from lb.media.fragment import Fragmenter, track_format
from lb.media.frames import VIDEO, CodecConfig, MediaError, TrackFormat
from lb.media.movie import MovieTrack, read_tracks
from lb.media.movie_fragments import add_fragment, read_sample_defaults
from lb.media.mp4_boxes import BOX_HEADER, box_header

__all__ = ["MAX_TITLE_SECONDS", "IndexedTrack", "open_movie"]

_MAX_TABLES = 1 << 28
"""Bytes of a box of tables; that of two hours has 5 million."""
_MAX_BOXES = 1 << 20
"""At the top of a file. A guess: a week in fragments of a second has more, a day has not."""
_SMALLEST_BOX = 8
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx", b"uuid")
_NO_MP4 = "it is not an MP4 file"
_CUT_OFF = "it is cut off, or still being written"
MAX_TITLE_SECONDS = 7 * 24 * 3600
"""Of a title. What says that it is longer is damaged."""


@attrs.frozen(eq=False)
class IndexedTrack:
    """A track of a file, and how it is written."""

    stored: MovieTrack
    format: TrackFormat

    @contextmanager
    def writer(self, delay: int) -> Iterator[Fragmenter]:
        """Yield what writes its fragments, with this delay in ticks.

        It is opened anew each time, which takes 0.2 ms: libav's memory for a track, 100 KB, is several times that of
        its tables, and is in circles of references, which would wait for a collection of garbage.
        """
        with _opened(self.stored) as stream:
            yield Fragmenter(stream, self.format, delay)


class _Place(NamedTuple):
    """A box in a file."""

    kind: bytes
    position: int
    header: int
    size: int


def open_movie(fd: int) -> tuple[IndexedTrack, ...]:
    """Return the tracks of a file that can be served. Raises OSError, and :class:`MediaError` with what is wrong.

    A fragmented file that is torn ends with its last whole fragment.
    """
    try:
        return _open(fd)
    except (ArithmeticError, LookupError, ValueError, struct.error) as error:
        raise MediaError(f"it is damaged: {error}") from error


def _open(fd: int) -> tuple[IndexedTrack, ...]:
    size = os.fstat(fd).st_size
    tracks = [track for track in _read_tracks(fd, size) if track.table.count]
    if not tracks:
        raise MediaError("no frame is in it")
    for track in tracks:
        _check(track, size)
    return tuple(map(_with_format, tracks))


def _check(track: MovieTrack, size: int) -> None:
    table = track.table
    if table.file_end() > size:
        raise MediaError(_CUT_OFF)
    if sum(table.sizes) > size:
        raise MediaError("it is damaged: its frames have more bytes than the file")
    if table.keys is not None and not table.keys:
        raise MediaError("its video has no key frame")
    table.finish()
    if table.end - table.dts(0) > MAX_TITLE_SECONDS * track.timescale:
        raise MediaError("it is damaged: it says that it lasts more than a week")


def _with_format(track: MovieTrack) -> IndexedTrack:
    """Let libav read how the samples are coded. Raises :class:`MediaError` if it cannot."""
    with _opened(track) as stream:
        context = stream.codec_context
        if context is None:
            raise MediaError(f"its {track.track} ({track.codec}) cannot be read")
        codec = "mp3" if context.name.startswith("mp3") else track.codec
        record = b"" if codec == "mp3" else bytes(context.extradata or b"")
        return IndexedTrack(track, track_format(stream, CodecConfig(codec, record)))


@contextmanager
def _opened(track: MovieTrack) -> Iterator[Stream]:
    try:
        container = av.open(io.BytesIO(track.header), format="mp4")
    except (FFmpegError, ValueError) as error:
        raise MediaError(f"its {track.track} ({track.codec}) cannot be read: {error}") from error
    with container:
        if not container.streams:
            raise MediaError(f"its {track.track} ({track.codec}) cannot be read")
        yield container.streams[0]


def _read_tracks(fd: int, size: int) -> tuple[MovieTrack, ...]:
    """Read the tables of all samples, up to the end of the last whole fragment."""
    places = list(_whole_boxes(fd, size))
    moov = next((_body(fd, place) for place in places if place.kind == b"moov"), None)
    if moov is None:
        raise MediaError(_CUT_OFF)
    tracks = read_tracks(moov)
    defaults = read_sample_defaults(moov)
    if defaults:
        for track in tracks:
            if track.track == VIDEO and track.table.keys is None:
                track.table.keys = array("I", range(track.table.count))
        tables = {track.number: track.table for track in tracks}
        for place in _whole_fragments(places):
            add_fragment(_body(fd, place), place.position, tables, defaults)
            if max(table.count for table in tables.values()) > size:
                raise MediaError("it is damaged: it says that it has more frames than bytes")
    return tracks


def _body(fd: int, place: _Place) -> memoryview:
    """Return what is in a box of tables."""
    if place.size > _MAX_TABLES:
        raise MediaError(f"it is damaged: a box {place.kind!r} is longer than {_MAX_TABLES >> 20} MiB")
    data = os.pread(fd, place.size, place.position)
    if len(data) < place.size:
        raise MediaError(_CUT_OFF)
    return memoryview(data)[place.header :]


def _whole_boxes(fd: int, size: int) -> Iterator[_Place]:
    """Yield the boxes of a file up to the first that is cut off. Raises :class:`MediaError` if it is none of MP4."""
    position = 0
    for _ in range(_MAX_BOXES):
        if size - position < _SMALLEST_BOX:
            break
        start = os.pread(fd, BOX_HEADER, position)
        if not position and start[4:8] not in _FIRST_BOXES:
            raise MediaError(_NO_MP4)
        kind, header, length = box_header(start, size - position)
        if length > size - position:
            return
        yield _Place(kind, position, header, length)
        position += length
    if not position:
        raise MediaError(_NO_MP4)


def _whole_fragments(places: list[_Place]) -> Iterator[_Place]:
    """Yield each box ``moof`` whose samples are there, in the ``mdat`` after it."""
    waiting: list[_Place] = []
    for place in places:
        if place.kind == b"moof":
            waiting.append(place)
        elif place.kind == b"mdat":
            yield from waiting
            waiting = []
