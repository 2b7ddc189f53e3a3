"""The files of a directory: what threads do with them. All calls here block and raise OSError.

Objects are ``ab/<digest in hex>``, by the first byte of the digest; files under way, and those that are being removed,
are ``tmp/<column of the process>-<number>``. A file gets its name by a link that never replaces another one, and loses
it by a rename: so of several processes exactly one knows what it removed, and how large that was.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from lb.cache.object_file import (
    BLOCK,
    FIRST_READ,
    ObjectInfo,
    ObjectLayout,
    charge,
    is_ours,
    read_info,
    slot_write,
)
from lb.cache.shared_cells import SHARED_NAME, read_name
from lb.net.beneath import open_cached
from lb.net.used_file import can_tell

__all__ = ["DIRECTORIES", "DIRECTORY", "FULL", "Damage", "DamagedError", "DiskFiles", "Freed", "shard_of"]

DIRECTORY = BLOCK
"""Bytes charged for a directory; the entries are charged with the files."""
DIRECTORIES = 3 * BLOCK
"""Bytes charged for the directory itself, the one of temporary files, and the file that names the shared memory."""
TEMPORARY = "tmp"
SHORT_BODY = 64 * 1024
"""Bytes of a body that is read with its head."""
MODE = 0o700
TRIES = 8
"""Tries to place a file while others place the same object."""
_NAME = re.compile(r"[0-9a-f]{64}")
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
"""To open a pipe would wait for a writer."""
_IN_THE_WAY = frozenset((errno.ELOOP, errno.EISDIR, errno.ENXIO))
"""What a link, a directory and a pipe or socket answer to an open."""

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Errors of a full disk."""
Damage: TypeAlias = Literal["corrupt", "foreign"]


class DamagedError(OSError):
    """A file that must not be served: one of ours that is damaged or cut short, or none of ours."""

    def __init__(self, damage: Damage, path: str) -> None:
        super().__init__(errno.EUCLEAN, f"is {damage}", path)
        self.damage = damage


@attrs.frozen
class Freed:
    """What was removed: files, and the bytes charged for them."""

    files: int = 0
    size: int = 0

    def __add__(self, other: Freed) -> Freed:
        return Freed(self.files + other.files, self.size + other.size)


def shard_of(digest: bytes) -> int:
    """Return the number of the directory that an object is in."""
    return digest[0]


class DiskFiles:
    """The files below ``path``, for a process with a column and the shared memory ``name``."""

    def __init__(self, path: str, name: str, column: int) -> None:
        self.path = path
        self._name = name
        self._column = column
        self._numbers = count()
        self.can_tell = False
        """Whether the file system can tell that a call would have to wait for the disk."""

    def path_of(self, digest: bytes) -> str:
        return f"{self.path}/{digest[:1].hex()}/{digest.hex()}"

    def _temporary(self) -> str:
        return f"{self.path}/{TEMPORARY}/{self._column}-{next(self._numbers)}"

    # The directory

    @staticmethod
    def prepare(path: str) -> None:
        """Make the directory, unless it exists. Raises NotADirectoryError and other errors if it is of no use."""
        Path(path).mkdir(mode=MODE, parents=True, exist_ok=True)
        Path(path, TEMPORARY).mkdir(mode=MODE, exist_ok=True)

    def check(self) -> None:
        """Raise FileNotFoundError if the directory was removed, or is another one now."""
        if read_name(self.path) != self._name:
            raise FileNotFoundError(errno.ENOENT, "was removed", f"{self.path}/{SHARED_NAME}")

    def try_to_write(self) -> None:
        """Raise what a file that is written would raise. A full disk can be written, once something is removed."""
        temporary = self._temporary()
        try:
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in FULL:
                raise
        else:
            self.can_tell = can_tell(fd)
            os.close(fd)
            os.unlink(temporary)

    def clear_temporary(self, columns: Collection[int]) -> None:
        """Remove what dead processes have left."""
        names = {str(column) for column in columns}
        for each in Path(self.path, TEMPORARY).iterdir():
            if each.name.partition("-")[0] in names:
                each.unlink(missing_ok=True)

    def names(self, shard: int) -> list[str]:
        """Return the names of the objects in a directory."""
        try:
            return [each for each in os.listdir(f"{self.path}/{shard:02x}") if _NAME.fullmatch(each)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def shards(self) -> set[int]:
        """Return the directories that exist."""
        return {int(each, 16) for each in os.listdir(self.path) if re.fullmatch(r"[0-9a-f]{2}", each)}

    # Objects

    def open_with_body(self, digest: bytes, *, wait: bool = True) -> tuple[int, ObjectInfo, bytes | None] | None:
        """Open an object, as :meth:`open` does, and read its body if it is short."""
        opened = self.open(digest, wait=wait)
        if opened is None:
            return None
        fd, info = opened
        if info.length > SHORT_BODY:
            return fd, info, None
        try:
            return fd, info, _read_body(fd, info, wait=wait)
        except BaseException:
            os.close(fd)
            raise

    def open(self, digest: bytes, *, wait: bool = True) -> tuple[int, ObjectInfo] | None:
        """Open an object. Return None if there is none. Raises DamagedError.

        Unless ``wait``, BlockingIOError is raised where the kernel would have to read the disk.
        """
        path = self.path_of(digest)
        found = self._open(path, wait=wait)
        if found is None:
            return None
        fd, data, size = found
        try:
            info = read_info(data)
            if isinstance(info, int):
                info = read_info(_read(fd, info, wait=wait))
        except BaseException:
            os.close(fd)
            raise
        if isinstance(info, ObjectInfo) and info.digest == digest and info.body_at + info.length == size:
            return fd, info
        os.close(fd)
        raise DamagedError("corrupt" if is_ours(data) else "foreign", path)

    def _open(self, path: str, *, wait: bool = True) -> tuple[int, bytes, int] | None:
        """Open a regular file. Return its descriptor, first bytes and size; None if there is none."""
        try:
            fd = os.open(path, _OPEN) if wait else open_cached(path, _OPEN)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in _IN_THE_WAY:
                raise DamagedError("foreign", path) from error
            raise
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode):
                return fd, _read(fd, FIRST_READ, wait=wait), status.st_size
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        raise DamagedError("foreign", path)

    def create(self, layout: ObjectLayout) -> tuple[int, str]:
        """Create a file under way. Return its descriptor, at the place of the body, and its temporary path."""
        self.check()
        temporary = self._temporary()
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, layout.before_body())
        except BaseException:
            os.close(fd)
            os.unlink(temporary)
            raise
        return fd, temporary

    def finish(self, fd: int, temporary: str, layout: ObjectLayout, length: int) -> tuple[Freed, bool]:
        """Give a written file its length and its name. Return what it replaces, and whether a directory was made."""
        try:
            os.pwrite(fd, layout.prefix(length), 0)
            _check_size(fd, layout.body_at + length, temporary)
            self.check()
            return self._place(temporary, layout.digest)
        except BaseException:
            self.discard(temporary)
            raise

    def write(self, layout: ObjectLayout, body: bytes) -> tuple[Freed, bool]:
        """Write a whole object. Return as :meth:`finish`. The caller has just called :meth:`check`."""
        temporary = self._temporary()
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                _write(fd, layout.before_body(len(body)) + body)
            finally:
                os.close(fd)
            return self._place(temporary, layout.digest)
        except BaseException:
            self.discard(temporary)
            raise

    def discard(self, temporary: str) -> None:
        """Remove a file under way."""
        try:
            os.unlink(temporary)
        except (FileNotFoundError, NotADirectoryError):  # with all of the directory
            return

    def _place(self, temporary: str, digest: bytes) -> tuple[Freed, bool]:
        """Give a file its name. Return what it replaces, and whether a directory was made. Raises DamagedError."""
        path = self.path_of(digest)
        freed, made = Freed(), False
        for _ in range(TRIES):
            try:
                os.link(temporary, path, follow_symlinks=False)
            except FileExistsError:
                freed += self.remove(digest)
            except FileNotFoundError:
                if not _make(os.path.dirname(path)):  # then the temporary file is gone
                    raise
                made = True
            else:
                os.unlink(temporary)
                return freed, made
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)

    def remove(self, digest: bytes) -> Freed:
        """Remove an object. Return what this call removed. Raises DamagedError for a file that is none of ours."""
        path = self.path_of(digest)
        found = self._open(path)
        if found is None:
            return Freed()
        os.close(found[0])
        if not is_ours(found[1]):
            raise DamagedError("foreign", path)
        gone = self._temporary()
        try:
            os.rename(path, gone)
        except FileNotFoundError:  # another one was faster
            return Freed()
        size = os.stat(gone, follow_symlinks=False).st_size
        os.unlink(gone)
        return Freed(1, charge(size))

    def remove_oldest(self, digests: Sequence[bytes], size: int) -> tuple[Freed, int]:
        """Remove objects until ``size`` bytes are free. Return what was removed, and how many digests were tried."""
        freed = Freed()
        for tried, digest in enumerate(digests):
            if freed.size >= size:
                return freed, tried
            freed += self.remove_if_ours(digest)
        return freed, len(digests)

    def remove_all(self, digests: Sequence[bytes]) -> Freed:
        return sum(map(self.remove_if_ours, digests), Freed())

    def remove_if_ours(self, digest: bytes) -> Freed:
        try:
            return self.remove(digest)
        except DamagedError:
            return Freed()

    def write_head(self, digest: bytes, previous: bytes, head: bytes) -> bool:
        """Replace the head of an object. Return False if it has not the ``previous`` one, or no room for this one."""
        opened = self.open(digest)
        if opened is None:
            return False
        fd, info = opened
        where = slot_write(info, head) if info.head == previous else None
        try:
            return where is not None and self._write_into(fd, digest, *where)
        finally:
            os.close(fd)

    def _write_into(self, fd: int, digest: bytes, at: int, data: bytes) -> bool:
        """Write into the file that ``fd`` reads. Return False if its name is another one's now."""
        writing = os.open(self.path_of(digest), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(writing), os.fstat(fd)):
                return False
            os.pwrite(writing, data, at)
        finally:
            os.close(writing)
        return True

    def remove_matching(self, shard: int, matches: Callable[[bytes, tuple[bytes, ...]], bool]) -> Freed:
        """Remove the objects of a directory whose key and tags match."""
        return sum((self.remove_if_ours(digest) for digest in self._matching(shard, matches)), Freed())

    def _matching(self, shard: int, matches: Callable[[bytes, tuple[bytes, ...]], bool]) -> Iterator[bytes]:
        for name in self.names(shard):
            digest = bytes.fromhex(name)
            try:
                opened = self.open(digest)
            except DamagedError:
                continue
            if opened is not None:
                os.close(opened[0])
                if matches(opened[1].key, opened[1].tags):
                    yield digest


def _read(fd: int, size: int, *, wait: bool) -> bytes:
    """Read up to so many bytes from the begin. Raises BlockingIOError, see :meth:`DiskFiles.open`."""
    if wait:
        return os.pread(fd, size, 0)
    buffer = bytearray(size)
    count = os.preadv(fd, [buffer], 0, os.RWF_NOWAIT)
    if count < min(size, os.fstat(fd).st_size):
        raise BlockingIOError
    return bytes(memoryview(buffer)[:count])


def _read_body(fd: int, info: ObjectInfo, *, wait: bool) -> bytes:
    """Return a body, or what is left of it. Raises BlockingIOError if not all is in memory, unless ``wait``."""
    if not info.length:
        return b""
    body = bytearray(info.length)
    count = os.preadv(fd, [body], info.body_at, 0 if wait else os.RWF_NOWAIT)
    if count < info.length and not wait:
        raise BlockingIOError
    return bytes(body[:count])


def _write(fd: int, data: bytes) -> None:
    """Write all bytes at the descriptor's position."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _check_size(fd: int, size: int, path: str) -> None:
    if os.fstat(fd).st_size != size:
        raise DamagedError("corrupt", path)


def _make(path: str) -> bool:
    """Make a directory. Return False if it exists."""
    try:
        os.mkdir(path, MODE)
    except FileExistsError:
        return False
    return True
