"""Where a process keeps the segments that viewers may go back to: a directory of its own below ``directory``/dvr.

Others may be beside it: that of a process that still ends, for one. Each process locks its own; what is not locked was
left by a process that was killed, and is removed.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lb.media.recording_file import make_directories, write_all
from lb.media.responses import MediaFile
from lb.net.beneath import open_beneath

__all__ = ["DvrHome"]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_MODE = 0o666
_HOME = re.compile(r"[0-9]+-[0-9a-f]{8}")
"""The name of a process's directory: its id, and chance."""


class DvrHome:
    """The directory of this process, made when it is first needed. Methods are called in threads, and raise OSError."""

    def __init__(self, directory: str) -> None:
        self._top = Path(directory, "dvr")
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.path = str(self._top / self._name)
        self._places = itertools.count(1)
        self._making = threading.Lock()
        self._lock = -1
        """A descriptor, as long as the directory is there and locked."""

    def new_place(self, stream: str) -> str:
        """Return a directory for a stream that nobody has used: one that is being removed takes seconds to go."""
        return f"{stream}~{next(self._places)}"

    def write(self, path: str, data: Sequence[bytes]) -> MediaFile:
        """Write a file, whole or not at all."""
        self._make()
        folder, _, name = path.rpartition("/")
        at = make_directories(self.path, folder)
        try:
            fd = open_beneath(at, os.fsencode(name), _NEW_FILE, mode=_MODE)
        finally:
            os.close(at)
        try:
            write_all(fd, data)
            status = os.fstat(fd)
        except OSError:
            self.remove((path,))
            raise
        finally:
            os.close(fd)
        return MediaFile(self.path, path, status.st_size, status.st_mtime_ns)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, as far as they are there."""
        for path in paths:
            Path(self.path, path).unlink(missing_ok=True)

    def remove_tree(self, path: str) -> None:
        """Remove a directory with all that is in it, if it is there."""
        with suppress(FileNotFoundError):
            shutil.rmtree(Path(self.path, path))

    def close(self) -> None:
        """Remove all that this process has written."""
        with self._making:
            lock, self._lock = self._lock, -1
            if lock >= 0:
                shutil.rmtree(self.path)
                os.close(lock)

    def remove_left(self) -> None:
        """Remove the directories of processes that have ended, and nothing else that is beside them."""
        left: list[tuple[Path, int]] = []
        try:
            with _locked(self._top):
                for each in filter(_is_of_process, self._top.iterdir()):
                    lock = _lock(each)
                    if lock is not None:
                        left.append((each, lock))
            for path, _ in left:
                shutil.rmtree(path)
        except FileNotFoundError:
            pass  # nothing was ever written here
        finally:
            for _, lock in left:
                os.close(lock)

    def _make(self) -> None:
        with self._making:
            if self._lock < 0:
                self._top.mkdir(parents=True, exist_ok=True)
                with _locked(self._top):
                    os.close(make_directories(str(self._top), self._name))
                    self._lock = _lock(Path(self.path)) or -1


def _is_of_process(path: Path) -> bool:
    return _HOME.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a directory: processes make and find directories in it one after the other."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _lock(path: Path) -> int | None:
    """Lock a directory. Return the descriptor that holds the lock; None: another process has it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
