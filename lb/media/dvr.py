"""The segments of a stream that viewers may go back to, on their way to the disk and from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lb.events import Event, StreamRecordFailed
from lb.media.disk import Disk, DiskQueue
from lb.media.dvr_home import DvrHome
from lb.media.live_tracks import LiveSegment
from lb.media.responses import MediaFile

__all__ = ["StreamDvr"]


class StreamDvr:
    """Implements :class:`lb.media.live_tracks.SegmentArchive` for one stream, ``app/name``: a file for each segment.

    After an error nothing is stored until :meth:`resume`.
    """

    def __init__(self, stream: str, emit: Callable[[Event], None], disk: Disk, home: DvrHome) -> None:
        self._stream = stream
        self._emit = emit
        self._queue = DiskQueue(disk)
        self.home = home
        self._directory = home.new_place(stream)
        self._waiting: set[LiveSegment] = set()
        self._failed = False
        self._closed = False

    def store(self, track: str, segment: LiveSegment) -> None:
        if self._failed:
            return
        data = [part.data for part in segment.parts]
        write = partial(self._write, self._path(track, segment), data)
        try:
            self._queue.put(write, partial(self._stored, segment), segment.size)
        except OSError as error:
            self._fail(error)
        else:
            segment.is_being_stored = True
            self._waiting.add(segment)

    def remove(self, track: str, segments: Sequence[LiveSegment]) -> None:
        paths = [self._path(track, each) for each in segments if each.file is not None or each in self._waiting]
        if paths:
            self._queue.put(partial(self.home.remove, paths), self._removed)

    def resume(self) -> None:
        self._failed = False

    def close(self) -> None:
        """Remove all files of the stream: nobody uses them any more."""
        self._closed = True
        self._queue.put(partial(self.home.remove_tree, self._directory), self._removed)

    def _path(self, track: str, segment: LiveSegment) -> str:
        return f"{self._directory}/{segment.cfg}/{track}/{segment.number}.m4s"

    def _write(self, path: str, data: Sequence[bytes]) -> MediaFile | None:
        """Write a file, in a thread; None if one before it could not be written."""
        return None if self._failed else self.home.write(path, data)

    def _stored(self, segment: LiveSegment, result: MediaFile | OSError | None) -> None:
        segment.is_being_stored = False
        self._waiting.discard(segment)
        if isinstance(result, OSError):
            self._fail(result)
        elif not self._closed:
            segment.file = result

    def _removed(self, result: OSError | None) -> None:
        if result is not None:
            self._fail(result)

    def _fail(self, error: OSError) -> None:
        for segment in self._waiting:
            segment.is_being_stored = False
        if not self._failed:
            self._failed = True
            self._emit(StreamRecordFailed(self._stream, f"dvr: {error.strerror or error}"))
