"""An open file with several users. It is closed when nobody uses it any more."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from lb.net.file_calls import FileCalls

__all__ = ["WARM_FOR", "UsedFile", "can_tell"]

WARM_FOR = 1.0
"""Seconds that bytes which were read count as in memory, where the file system cannot tell."""
WARM_READ = 128 * 1024
"""Bytes of one read that warms the page cache."""
READ_AHEAD = 2
"""The kernel begins to read so many times the bytes that are needed now."""
_PROBE = (bytearray(1),)


class UsedFile:
    """An open file with one user at first. Its descriptor is counted by who opens it."""

    __slots__ = ("_calls", "_uses", "_warm", "_warm_until", "fd")

    def __init__(self, calls: FileCalls, fd: int) -> None:
        self.fd = fd
        self._calls = calls
        self._uses = 1
        self._warm = (0, 0)
        """The bytes that were warmed last: from, to."""
        self._warm_until = 0.0

    def acquire(self) -> None:
        """Add a user."""
        self._uses += 1

    def release(self) -> None:
        """End one use."""
        self._uses -= 1
        if not self._uses:
            self._calls.close(self.fd)

    def warm(self, offset: int, length: int, done: Callable[[OSError | None], None]) -> None:
        """Read these bytes in a thread, so that they are in the page cache, and call ``done`` in the loop's thread."""
        self.acquire()
        self._calls.call(partial(_warm, self.fd, offset, length), partial(self._warmed, offset, length, done))

    def _warmed(self, offset: int, length: int, done: Callable[[OSError | None], None], result: OSError | None) -> None:
        if result is None:
            first, end = self._warm
            self._warm = (first if first <= offset <= end else offset, offset + length)
            self._warm_until = self._calls.now() + WARM_FOR
        self.release()
        done(result)

    def is_warmed(self, offset: int, length: int) -> bool:
        """Return True if these bytes were warmed a moment ago. For file systems that cannot tell what is in memory."""
        first, end = self._warm
        return first <= offset and offset + length <= end and self._calls.now() < self._warm_until


def _warm(fd: int, offset: int, length: int) -> None:
    """Read bytes into the page cache."""
    os.posix_fadvise(fd, offset, READ_AHEAD * length, os.POSIX_FADV_WILLNEED)
    while length > 0 and (count := len(os.pread(fd, min(length, WARM_READ), offset))):
        offset += count
        length -= count


def can_tell(fd: int) -> bool:
    """Return True if the file system of this file can tell that a read would have to wait for the disk."""
    try:
        os.preadv(fd, _PROBE, 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True
