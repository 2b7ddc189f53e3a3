"""The file of a recording, written by a thread. Torn by a crash, it ends with its last whole fragment."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lb.net.beneath import open_beneath, open_directory

__all__ = ["RecordingFile", "make_directories", "write_all"]

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_MODE = 0o666
_MOST_TRIES = 1_000
"""Names that are tried, while there are files that have them."""


class RecordingFile:
    """A file below the directory ``root``. ``size`` counts what was written as a whole."""

    def __init__(self, root: str, path: str) -> None:
        """Make the file, and directories on the way to it. A name that exists gets a number: ``show-2.mp4``.

        Raises OSError, also for a path that leads out of ``root``.
        """
        directory, _, name = path.rpartition("/")
        folder = make_directories(root, directory)
        try:
            self._fd, found = _new_file(folder, name)
        finally:
            os.close(folder)
        self.path = str(Path(root, directory, found))
        self.size = 0
        self.is_closed = False

    def append(self, data: Sequence[bytes | memoryview]) -> None:
        """Write all of it, or nothing. Raises OSError: then the file is closed. A closed file is written no more."""
        if self.is_closed:
            return
        try:
            write_all(self._fd, data)
        except OSError:
            try:
                os.ftruncate(self._fd, self.size)
            finally:
                self.close()
            raise
        self.size += sum(map(len, data))

    def overwrite(self, position: int, data: bytes) -> None:
        """Write what was left open before. Raises OSError: then the file is closed."""
        try:
            os.pwrite(self._fd, data, position)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            os.close(self._fd)


def write_all(fd: int, data: Sequence[bytes | memoryview]) -> None:
    """Write all buffers. Raises OSError, when some of it may have been written."""
    left = [memoryview(each) for each in data]
    while left:
        written = os.writev(fd, left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left:
            left[0] = left[0][written:]


def make_directories(root: str, path: str) -> int:
    """Make a directory below ``root``, and those on the way to it, if need be. Return a descriptor. Raises OSError."""
    Path(root).mkdir(parents=True, exist_ok=True)
    at = open_directory(root)
    for name in filter(None, path.split("/")):
        above, at = at, -1
        try:
            at = _directory(above, os.fsencode(name))
        finally:
            os.close(above)
    return at


def _directory(above: int, name: bytes) -> int:
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return open_beneath(above, name, flags)
    except FileNotFoundError:
        with suppress(FileExistsError):  # somebody else has made it meanwhile
            os.mkdir(name, dir_fd=above)
        return open_beneath(above, name, flags)


def _new_file(folder: int, name: str) -> tuple[int, str]:
    stem, dot, end = name.rpartition(".")
    for number in range(1, _MOST_TRIES):
        found = name if number == 1 else f"{stem}-{number}{dot}{end}"
        try:
            return open_beneath(folder, os.fsencode(found), _FLAGS, mode=_MODE), found
        except FileExistsError:
            continue
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), name)
