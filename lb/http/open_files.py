"""Files of a directory, opened without waiting for the disk, and kept open for a second.

So a file that is asked for often costs no system call for each request, and a change of it shows within a second. Small
files are kept in memory instead. A file that is replaced arrives as it was when it was asked for; one changed in
place is a reset, unless the kernel has taken its last bytes already: sendfile copies nothing. A thread opens what the
kernel has not in memory, and all of a file system that cannot tell that, such as one of a network.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import attrs

from lb.http.file_flow import Body, FilePart
from lb.http.media_types import content_type
from lb.http1.conditions import Validators
from lb.http1.wire import WrittenFields
from lb.model.http_dates import http_date
from lb.model.request import HeaderFields
from lb.net.beneath import open_beneath, open_directory
from lb.net.deadlines import DeadlineQueue, Deadlines
from lb.net.descriptors import Descriptors
from lb.net.file_calls import FileCalls
from lb.net.threads import Threads
from lb.net.used_file import UsedFile, can_tell
from lb.relay.epoll_loop import EpollLoop

__all__ = ["ENCODED_ENDS", "Directories", "Directory", "FoundFile", "OpenFile", "Representation"]

OPEN_FOR = 1.0
"""Seconds that a file is kept open."""
SMALL_FILE = 16 * 1024
"""Bytes of a file up to which it is kept in memory: its response is sent with one call."""
MAX_KEPT = 1024
"""Maximum files that are kept in all: in memory, at most 16 MiB."""
SHARE = 8
"""Kept files may have one of so many of the process's descriptors."""
THREADS = 8
"""Threads of one directory. More calls at a time make a disk no faster."""
MAX_WAITING = 4096
"""Maximum requests that wait for a directory. A disk that hangs must not collect more."""
SMALL_READS = 3
"""Reads of a small file that is being written."""
INDEX_NAME = b"index.html"
ENCODED_ENDS: Mapping[bytes, bytes] = {b"zstd": b".zst", b"br": b".br", b"gzip": b".gz"}
"""Content coding -> the end of the name of a file beside another, which holds that one's bytes encoded."""
NANO = 1_000_000_000


class OpenFile(UsedFile):
    """A regular file, open. Implements FileSource."""

    __slots__ = ("modified_ns", "size")

    def __init__(self, calls: FileCalls, fd: int, size: int, modified_ns: int) -> None:
        super().__init__(calls, fd)
        self.size = size
        self.modified_ns = modified_ns
        """The time of its last modification."""

    def part(self, offset: int, length: int) -> FilePart:
        """Return a part of it; it stays open until that is released."""
        self.acquire()
        return FilePart(self, offset, length)

    def is_intact(self) -> bool:
        """A file that has grown is: the bytes before may be what they were."""
        now = os.fstat(self.fd)
        return now.st_size > self.size or (now.st_size == self.size and now.st_mtime_ns == self.modified_ns)


@attrs.frozen
class Representation:
    """One form of a file: as it is, or encoded by a file beside it."""

    file: OpenFile | None
    content: bytes
    """All bytes, if ``file`` is None."""
    size: int
    validators: Validators
    fields: HeaderFields
    """Fields of a response with all of it."""
    unmodified_fields: HeaderFields
    """Fields of a 304."""

    def body(self) -> Body:
        return self.content if self.file is None else (self.file.part(0, self.size),)

    def part(self, offset: int, length: int) -> bytes | FilePart:
        if self.file is None:
            return self.content[offset : offset + length]
        return self.file.part(offset, length)


@attrs.frozen(eq=False)
class FoundFile:
    """What a path leads to: a file with its representations, or, without any, a directory. Implements Wait."""

    path: bytes
    representations: Mapping[bytes, Representation]
    """By content coding, the file itself under ``b""``, the smallest encoded one first."""
    directory: Directory

    @property
    def descriptors(self) -> int:
        return sum(each.file is not None for each in self.representations.values())

    def expired(self, queue: DeadlineQueue) -> None:  # noqa: ARG002 - it is in one only
        self.directory.forget(self)

    def release(self) -> None:
        for each in self.representations.values():
            if each.file is not None:
                each.file.release()


Callback: TypeAlias = Callable[[FoundFile | OSError], None]


class Directories:
    """The directories that files are served from, for the whole process: over reloads, and for several routes."""

    def __init__(self, loop: EpollLoop, descriptors: Descriptors, deadlines: Deadlines) -> None:
        self.loop = loop
        self.descriptors = descriptors
        self.queue = deadlines.queue("files", OPEN_FOR)
        self.kept = 0
        """Files that are kept."""
        self._directories: dict[str, Directory] = {}

    def of(self, path: str) -> Directory:
        """Return the directory with this absolute path. It need not exist."""
        if path not in self._directories:
            self._directories[path] = Directory(path, self)
        return self._directories[path]

    def has_room(self, count: int) -> bool:
        return self.kept + count <= min(MAX_KEPT, self.descriptors.limit // SHARE)


class Directory:
    """The files below a directory. A path is relative, without empty and dot segments."""

    def __init__(self, path: str, all_of_them: Directories) -> None:
        self.path = path
        self._all = all_of_them
        self.device: int | None = None
        """The device of the directory, if its file system can tell when it would have to wait."""
        self.calls = FileCalls(all_of_them.loop, all_of_them.descriptors, Threads(THREADS), "files")
        self._found: OrderedDict[bytes, FoundFile] = OrderedDict()
        self._waiting: dict[bytes, list[Callback]] = {}
        self._waiting_count = 0

    def find(self, path: bytes) -> FoundFile | None:
        """Return what was found at the path, less than a second ago."""
        return self._found.get(path)

    def open(self, path: bytes, found: Callback) -> None:
        """Pass what is at a path to ``found``, now or later, or an OSError. It is valid during that call."""
        if self.device is not None and path not in self._waiting:
            try:
                result: FoundFile | OSError = _find(self, path, wait=False)
            except BlockingIOError:
                pass
            except OSError as error:
                found(error)
                return
            else:
                self._pass_on(result, [found])
                return
        if self._waiting_count >= MAX_WAITING:
            found(OSError(errno.EBUSY, os.strerror(errno.EBUSY)))
            return
        self._waiting_count += 1
        if path in self._waiting:
            self._waiting[path].append(found)
        else:
            self._waiting[path] = [found]
            self.calls.call(partial(_find, self, path, wait=True), partial(self._opened, path))

    def _opened(self, path: bytes, result: FoundFile | OSError) -> None:
        waiting = self._waiting.pop(path)
        self._waiting_count -= len(waiting)
        self._pass_on(result, waiting)

    def _pass_on(self, result: FoundFile | OSError, waiting: list[Callback]) -> None:
        if isinstance(result, FoundFile):
            self._all.descriptors.take(result.descriptors)
            kept = self._keep(result)
        for found in waiting:
            found(result)
        if isinstance(result, FoundFile) and not kept:
            result.release()

    def _keep(self, found: FoundFile) -> bool:
        """Keep it for a second, in place of the oldest if need be."""
        count = len(found.representations)
        while self._found and not self._all.has_room(count):
            self.forget(next(iter(self._found.values())))
        if not self._all.has_room(count):
            return False
        self._all.kept += count
        self._found[found.path] = found
        self._all.queue.enter(found, self._all.loop.clock())
        return True

    def forget(self, found: FoundFile) -> None:
        """Do not keep it any more."""
        del self._found[found.path]
        self._all.queue.discard(found)
        self._all.kept -= len(found.representations)
        found.release()


# Without the loop: in a thread, or, with ``wait=False``, where nothing has to wait


def _find(directory: Directory, path: bytes, *, wait: bool) -> FoundFile:
    """Open a file and those beside it that hold it encoded. Raises OSError."""
    root = open_directory(directory.path, wait=wait)
    try:
        if not wait and os.fstat(root).st_dev != directory.device:
            raise BlockingIOError
        is_index = not path or path.endswith(b"/")
        name = path + INDEX_NAME if is_index else path
        file = _open(directory, root, name, wait=wait)
        if file is None and is_index:
            raise _not_found(name)
        files = {} if file is None else {b"": file} | _encoded(directory, root, name, wait=wait)
    finally:
        os.close(root)
    media_type = content_type(name)
    varies = len(files) > 1
    found = {coding: _represent(each, coding, media_type, varies=varies) for coding, each in files.items()}
    return FoundFile(path, found, directory)


def _encoded(directory: Directory, root: int, name: bytes, *, wait: bool) -> dict[bytes, _Opened]:
    found = {}
    for coding, end in ENCODED_ENDS.items():
        try:
            file = _open(directory, root, name + end, wait=wait)
        except BlockingIOError:
            raise
        except OSError:  # it is not there, or not for us: the file itself is
            continue
        if file is not None:
            found[coding] = file
    return dict(sorted(found.items(), key=lambda item: item[1].size))


@attrs.frozen
class _Opened:
    """A regular file: open, or, if it is small, read and closed."""

    file: OpenFile | None
    content: bytes
    size: int
    modified_ns: int


def _open(directory: Directory, root: int, name: bytes, *, wait: bool) -> _Opened | None:
    """Open a regular file. Return None for a directory. Raises OSError."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY  # to open a pipe would wait for a writer
    fd = open_beneath(root, name, flags, wait=wait)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            if stat.S_ISDIR(status.st_mode):
                return None
            raise _not_found(name)
        if wait and status.st_dev == os.fstat(root).st_dev:
            directory.device = status.st_dev if can_tell(fd) else None
        if status.st_size <= SMALL_FILE:
            return _read_small(fd, os.RWF_NOWAIT if not wait else 0)
        file = OpenFile(directory.calls, fd, status.st_size, status.st_mtime_ns)
        fd = -1
        return _Opened(file, b"", status.st_size, status.st_mtime_ns)
    finally:
        if fd >= 0:
            os.close(fd)


def _read_small(fd: int, flags: int) -> _Opened:
    """Read one state of a file. Raises OSError if it is written all the time."""
    for _ in range(SMALL_READS):
        before = os.fstat(fd)
        content = bytearray(before.st_size)
        count = os.preadv(fd, [content], 0, flags) if content else 0
        after = os.fstat(fd)
        unchanged = (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        if unchanged and count == before.st_size:
            return _Opened(None, bytes(content), before.st_size, before.st_mtime_ns)
    number = errno.EAGAIN if flags else errno.EBUSY
    raise OSError(number, os.strerror(number))


def _represent(opened: _Opened, coding: bytes, media_type: bytes, *, varies: bool) -> Representation:
    modified = min(opened.modified_ns // NANO, int(time.time()))
    etag = b'"%x-%x%s"' % (opened.modified_ns, opened.size, b"-" + coding if coding else b"")
    state = [(b"ETag", etag), (b"Last-Modified", http_date(modified))]
    if varies:
        state.append((b"Vary", b"Accept-Encoding"))
    fields = [(b"Content-Type", media_type), *state, (b"Accept-Ranges", b"bytes")]
    if coding:
        fields.append((b"Content-Encoding", coding))
    return Representation(
        opened.file,
        opened.content,
        opened.size,
        Validators(etag, modified),
        WrittenFields(fields),
        WrittenFields(state),
    )


def _not_found(name: bytes) -> OSError:
    return OSError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(name))
