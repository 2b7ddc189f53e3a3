"""Records a live stream: what players get of it goes into a file, one for each publisher and configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import attrs

from lb.events import Event, StreamRecorded, StreamRecordFailed
from lb.media.disk import Disk
from lb.media.live_run import LiveFragment
from lb.media.recorded_movie import RecordedMovie
from lb.media.recording import Recording

__all__ = ["RecordTarget", "StreamRecorder"]

_MOST_WAITING = 8
"""Fragments that wait for another track's first: then the file has no other track."""
_START = "%Y%m%dT%H%M%SZ"


@attrs.frozen
class RecordTarget:
    """Where recordings go: a directory, and the path below it with ``{app}``, ``{name}`` and ``{start}``."""

    directory: str
    pattern: str

    def path(self, stream: str, begin: float) -> str:
        """Return the path of a recording of ``app/name`` that begins at a time, in seconds since 1970."""
        app, _, name = stream.partition("/")
        return self.pattern.format(app=app, name=name, start=time.strftime(_START, time.gmtime(begin)))


class StreamRecorder:
    """The recordings of one stream, ``app/name``.

    A recording begins with a segment, and with both tracks if there are two. After an error nothing is recorded until
    the publisher has left, or :meth:`configure` is called.
    """

    def __init__(self, stream: str, emit: Callable[[Event], None], disk: Disk) -> None:
        self._stream = stream
        self._emit = emit
        self._disk = disk
        self._target: RecordTarget | None = None
        self._movie: RecordedMovie | None = None
        self._recording: Recording | None = None
        self._waiting: list[LiveFragment] = []
        """Of one configuration, until all its tracks are there."""
        self._failed = False

    def configure(self, target: RecordTarget | None) -> None:
        """Record to this place from now on; None: nowhere."""
        if target != self._target:
            self.end()
        self._target = target
        self._failed = False

    def take(self, fragment: LiveFragment) -> None:
        """Record a fragment."""
        if self._target is None or self._failed:
            return
        if not self._goes_on_with(fragment):
            self.end()
        if self._movie is not None:
            self._write(self._movie, fragment)
        else:
            self._wait(self._target, fragment)

    def end(self) -> None:
        """The publisher has left: what follows is another recording."""
        if self._waiting and self._target is not None:
            self._begin(self._target, _aligned(self._waiting))
        if self._recording is not None and self._movie is not None:
            self._recording.finish(self._movie.seconds, *self._movie.duration())
        self._recording = self._movie = None
        self._failed = False

    def _goes_on_with(self, fragment: LiveFragment) -> bool:
        """Return whether a fragment belongs to the recording, or to what waits to become one."""
        if self._movie is not None:
            return self._movie.cfg == fragment.cfg and fragment.piece.track in self._movie.tracks
        return not self._waiting or self._waiting[0].cfg == fragment.cfg

    def _wait(self, target: RecordTarget, fragment: LiveFragment) -> None:
        """Begin with this fragment if all tracks are there now."""
        track = fragment.piece.track
        if not _begins_segment(fragment) and all(each.piece.track != track for each in self._waiting):
            return
        self._waiting.append(fragment)
        aligned = _aligned(self._waiting)
        tracks = {each.piece.track for each in aligned}
        if len(tracks) == fragment.track_count or len(self._waiting) == _MOST_WAITING:
            self._begin(target, aligned)

    def _begin(self, target: RecordTarget, fragments: Sequence[LiveFragment]) -> None:
        self._waiting = []
        movie = self._movie = RecordedMovie(fragments)
        path = target.path(self._stream, movie.begin)
        self._recording = Recording(self._disk, target.directory, path, self._recorded, self._broken)
        self._recording.write((movie.header(),))
        for fragment in fragments:
            self._write(movie, fragment)

    def _write(self, movie: RecordedMovie, fragment: LiveFragment) -> None:
        if self._recording is not None:
            self._recording.write(movie.fragment(fragment))

    def _recorded(self, file: str, seconds: float, size: int) -> None:
        self._emit(StreamRecorded(self._stream, file, seconds, size))

    def _broken(self, recording: Recording, error: str) -> None:
        if recording is self._recording:
            self._recording = self._movie = None
            self._failed = True
        self._emit(StreamRecordFailed(self._stream, error))


def _begins_segment(fragment: LiveFragment) -> bool:
    return fragment.piece.samples[0].pts == fragment.piece.start


def _aligned(fragments: Sequence[LiveFragment]) -> list[LiveFragment]:
    """Return the fragments from the first segment that all tracks have."""
    firsts: dict[str, int] = {}
    for fragment in fragments:
        firsts.setdefault(fragment.piece.track, fragment.piece.number)
    return [fragment for fragment in fragments if fragment.piece.number >= max(firsts.values())]
