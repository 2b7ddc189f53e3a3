"""One recording on its way to the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lb.media.disk import Disk, DiskQueue
from lb.media.recording_file import RecordingFile

__all__ = ["Recording"]


class Recording:
    """A file below ``directory``, at ``path`` or a name near it that is free.

    ``done(file, seconds, bytes)`` is called when it is complete, or ``failed(recording, error)`` if it ends by an
    error: then what was written as a whole stays, and all that follows is left out.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        path: str,
        done: Callable[[str, float, int], None],
        failed: Callable[[Recording, str], None],
    ) -> None:
        self._queue = DiskQueue(disk)
        self._path = f"{directory}/{path}"
        self._done = done
        self._failed = failed
        self._has_failed = False
        self._file: RecordingFile | None = None
        """Used by calls of the queue alone, so by one thread at a time."""
        self._put(partial(self._create, directory, path))

    def write(self, data: Sequence[bytes | memoryview]) -> None:
        """Write all of it, or nothing."""
        self._put(partial(self._append, data), sum(map(len, data)))

    def finish(self, seconds: float, position: int, duration: bytes) -> None:
        """End it, with its duration at this position."""
        self._put(partial(self._finish, seconds, position, duration))

    def _put(self, function: Callable[[], Callable[[], None] | None], size: int = 0) -> None:
        if self._has_failed:
            return
        try:
            self._queue.put(function, self._called, size)
        except OSError as error:
            self._fail(error)
            self._queue.put(self._close, self._called)

    def _called(self, result: Callable[[], None] | OSError | None) -> None:
        if isinstance(result, OSError):
            self._fail(result)
        elif result is not None:
            result()

    def _fail(self, error: OSError) -> None:
        if not self._has_failed:
            self._has_failed = True
            path = self._path if self._file is None else self._file.path
            self._failed(self, f"{path}: {error.strerror or error}")

    # In a thread

    def _create(self, directory: str, path: str) -> None:
        self._file = RecordingFile(directory, path)

    def _append(self, data: Sequence[bytes | memoryview]) -> None:
        if self._file is not None:
            self._file.append(data)

    def _finish(self, seconds: float, position: int, duration: bytes) -> Callable[[], None] | None:
        file = self._file
        if file is None or file.is_closed:
            return None
        file.overwrite(position, duration)
        file.close()
        return partial(self._done, file.path, seconds, file.size)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
