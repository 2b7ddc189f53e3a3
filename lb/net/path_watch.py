"""Notice that what stands at a path may have changed: the file, a link, or a directory on the way to it.

The kernel, Linux, tells of changes in a directory, and of changes of a file by whatever name. So all directories are
watched in which a name of the path is looked up, those of links too, and the file itself: an editor may write it, or
put another in its place; Kubernetes replaces a link two steps before it; a container may have the file alone mounted.
What has happened is for others to see: they read the file again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

import trio
from inotify_simple import INotify, flags, parse_events

__all__ = ["PathWatch"]

IN_DIRECTORY = (
    *(flags.CREATE, flags.DELETE, flags.MOVED_FROM, flags.MOVED_TO, flags.CLOSE_WRITE, flags.ATTRIB),
    *(flags.DELETE_SELF, flags.MOVE_SELF, flags.ONLYDIR),
)
OF_FILE = (flags.MODIFY, flags.CLOSE_WRITE, flags.ATTRIB, flags.DELETE_SELF)
MOST_LINKS = 40
"""As many as Linux follows in one path."""
EVENTS_SIZE = 4096
"""Bytes of events that are taken at once: at most 256 events, 0.3 ms."""


class PathWatch:
    """Watches some paths. Make it, and call :meth:`follow`, in a thread: they may wait for a disk."""

    is_complete = False
    """Everything is watched. Else this process lacks the right to see some directory, or the kernel has no room."""

    def __init__(self) -> None:
        self._inotify = _new_inotify()
        self._names: dict[int, set[str]] = {}
        """The names that matter, by the watch of their directory. The watch of a file has the name ``""``."""
        self._open: set[int] = set()

    def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()

    def follow(self, paths: Collection[str]) -> None:
        """Watch these paths from now on, and no others. Read the files after it: what changes later is noticed."""
        if self._inotify is None:
            return
        names: dict[int, set[str]] = {}
        complete = True
        for path in paths:
            for place, name in _places(path):
                mask = sum(IN_DIRECTORY if name else OF_FILE)
                try:
                    names.setdefault(self._inotify.add_watch(place, mask), set()).add(name)
                except OSError as error:  # a directory that is not there comes with an event of the one above it
                    complete &= error.errno in {errno.ENOENT, errno.ENOTDIR} or not name
        for watch in self._names.keys() - names.keys():
            with suppress(OSError):  # the kernel has removed it with its directory
                self._inotify.rm_watch(watch)
        self._names, self.is_complete = names, complete

    @property
    def is_being_written(self) -> bool:
        """Return whether somebody has written to one of the files, and may go on: it is still open."""
        return bool(self._open & self._names.keys())

    async def changed(self) -> None:
        """Wait until something has happened at one of the paths."""
        if self._inotify is None:
            await trio.sleep_forever()
        while True:
            await trio.lowlevel.wait_readable(self._inotify.fd)
            happened = False
            for watch, mask, _, name in parse_events(os.read(self._inotify.fd, EVENTS_SIZE)):
                happened |= self._matters(watch, mask, name)
            if happened:
                return

    def _matters(self, watch: int, mask: int, name: str) -> bool:
        if mask & flags.MODIFY:
            self._open.add(watch)
        elif mask & (flags.CLOSE_WRITE | flags.IGNORED):
            self._open.discard(watch)
        if mask & flags.Q_OVERFLOW:
            self._open.clear()
            return True
        return watch in self._names and (not name or name in self._names[watch])


def _new_inotify() -> INotify | None:
    """Return None if the kernel has no room for another, or is not Linux."""
    try:
        return INotify(nonblocking=True)
    except (OSError, AttributeError):
        return None


def _places(path: str) -> Iterator[tuple[Path, str]]:
    """Yield each directory in which a name of this path is looked up, with the name; at last the file, with ``""``.

    A name is looked at when the next one is asked for: watch its directory first.
    """
    try:
        full = Path(path).absolute()
    except FileNotFoundError:  # the working directory has been removed: nothing can come at a relative path again
        return
    left = [*reversed(full.parts[1:])]
    directory, links = Path("/"), 0
    while left and links <= MOST_LINKS:
        name = left.pop()
        if name == "..":  # of a directory without links in its path
            directory = directory.parent
            continue
        yield directory, name
        try:
            target = (directory / name).readlink()
        except OSError:  # it is no link, or is not there
            directory /= name
        else:
            links += 1
            directory = Path("/") if target.is_absolute() else directory
            left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    yield full, ""
