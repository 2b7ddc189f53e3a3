"""What the processes that share a directory know together: how full it is, and when each object was used last.

It is shared memory, in columns: a process writes its own column only, so no cell has two writers, and a sum over the
columns needs no lock. Room is added to the own column first; if the sum is too large then, it is withdrawn. A lock for
each column tells whether its process lives: the system releases it with the process. After a kill, what a column had
reserved is given back by whoever gets its lock. All orders of writes here let a kill count too much, never too little.

The memory lies in ``/dev/shm``, not in the directory: a mapped file kills the process (SIGBUS) when its disk fails. The
directory has the name of it, in ``trio-lb.shared``. The last process that leaves removes it. After a kill of all it
stays for the next start; what nobody came back for is removed by whoever makes a new one.

Times of use are those of a clock that never jumps and is the same for all processes until the next boot, which
clears the memory too.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import secrets
import struct
from itertools import islice
from pathlib import Path

__all__ = ["CELLS_PER_SHARD", "EPOCH", "SHARDS", "SHARED_NAME", "TICKS", "SharedCells", "read_name"]

SHARED_NAME = "trio-lb.shared"
MEMORY = Path("/dev/shm")  # noqa: S108 - the system's place for shared memory; names in it are not to be guessed
NAME = re.compile(r"trio-lb-[0-9a-f]{32}")
SHARDS = 256
"""Directories that objects are spread over."""
CELLS_PER_SHARD = 4096
COLUMNS = 128
"""Maximum processes. A guess: twice as many CPUs as any host of ours, for upgrades."""
CELL_SIZE = struct.calcsize("q")
MAGIC, USED, COUNTED, BASE_BYTES, BASE_OBJECTS, GLOBALS = 0, 1, 2, 3, 4, 8
"""Cells of nobody's column. All but the magic number are written under a lock: USED under that of the directory, the
others under that of the upkeep."""
CHARGED, RESERVED, OBJECTS, ALIVE, REMOVALS, ROWS = range(6)
"""Rows. Charged are all bytes, those of files under way too, which are reserved. Alive: not cleared by a kill."""
MAX_DEAD = COLUMNS // 8
"""Columns that are freed at once: a process that joins meanwhile finds another one."""
UPKEEP = COLUMNS
"""The byte that the process locks which does the upkeep for all."""
VERSION = 0x7472696F2D6C6202
"""The magic number. It changes with the layout."""
TABLE_AT = -(-(GLOBALS + ROWS * COLUMNS) * CELL_SIZE // mmap.PAGESIZE) * mmap.PAGESIZE
SIZE = TABLE_AT + SHARDS * CELLS_PER_SHARD * 4
TICKS = 32
"""A second, in times of use: 4 bytes are four years."""
EPOCH = 1 << 29
"""Added to times of use, so that objects may be older than the clock: half a year."""
LATEST = (1 << 32) - 1
LOCK = struct.Struct("hhqqi4x")
"""``struct flock``."""


class SharedCells:
    """The shared memory, with a column of this process."""

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self.column = -1
        self._fd = fd
        memory = memoryview(mmap.mmap(fd, SIZE))
        self._cells = memory[:TABLE_AT].cast("q")
        self.table = memory[TABLE_AT:].cast("I")
        """When the object of a cell was used last; 0 = there surely is none."""

    @classmethod
    def attach(cls, directory: str) -> SharedCells:
        """Join the processes that use a directory. Blocks; raises OSError, BlockingIOError if another one joins now."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(f"{directory}/{SHARED_NAME}", flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            cells = cls._of(os.pread(lock, 64, 0).decode(errors="replace"))
            if cells is None:
                cells = cls._new()
                os.pwrite(lock, cells.name.encode(), 0)
            cells._join()  # noqa: SLF001 - own class
            return cells
        finally:
            os.close(lock)

    @classmethod
    def _of(cls, name: str) -> SharedCells | None:
        """Return the memory with this name; None if there is none, or of another version that nobody uses."""
        if not NAME.fullmatch(name):
            return None
        path = MEMORY / name
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        status = os.fstat(fd)
        if status.st_uid == os.geteuid() and status.st_size == SIZE:
            cells = cls(fd, name)
            if cells._cells[MAGIC] == VERSION:
                return cells
        in_use = _is_locked(fd)
        os.close(fd)
        if in_use:
            raise OSError(errno.EBUSY, "is in use by another version", str(path))
        path.unlink()
        return None

    @classmethod
    def _new(cls) -> SharedCells:
        _remove_unused()
        name = f"trio-lb-{secrets.token_hex(16)}"
        fd = os.open(MEMORY / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, SIZE)
        except OSError:
            os.close(fd)
            (MEMORY / name).unlink()
            raise
        cells = cls(fd, name)
        cells._cells[MAGIC] = VERSION
        return cells

    def _join(self) -> None:
        """Take a column; as the first process, with all counts at 0, and what all others left to be cleared.

        Raises BlockingIOError if the memory was removed before it was in use.
        """
        if not _is_locked(self._fd):
            for cell in range(USED, len(self._cells)):
                self._cells[cell] = 0
            for column in range(COLUMNS):
                self._cells[self._at(ALIVE, column)] = 1
        self.column = next((column for column in range(COLUMNS) if self._lock(column)), -1)
        if self.column < 0:
            os.close(self._fd)
            raise OSError(errno.EUSERS, f"is in use by {COLUMNS} processes")
        if not os.fstat(self._fd).st_nlink:
            os.close(self._fd)
            raise BlockingIOError(errno.EAGAIN, "was removed", self.name)
        self.reclaim(self.column)
        self._cells[self._at(ALIVE)] = 1
        self._cells[USED] = max(self._cells[USED], self.column + 1)

    def detach(self) -> None:
        """Leave. What is still reserved is given back by another process. From now on, calls here change nothing.

        Of one that joins at this very moment, the memory may be gone; then others make a new one, and it joins again.
        """
        if not self._cells[self._at(RESERVED)]:
            self._cells[self._at(ALIVE)] = 0
        self._cells = memoryview(bytearray(TABLE_AT)).cast("q")
        self._cells[BASE_BYTES] = 1 << 62  # no room
        _set_lock(self._fd, fcntl.F_UNLCK, 0, COLUMNS + 1)
        if not _is_locked(self._fd):
            (MEMORY / self.name).unlink(missing_ok=True)
        os.close(self._fd)

    # Locks

    def _lock(self, byte: int) -> bool:
        return _set_lock(self._fd, fcntl.F_WRLCK, byte, 1)

    def leads(self) -> bool:
        """Return whether this process does the upkeep. If nobody does, it begins to."""
        return self._lock(UPKEEP)

    def dead(self) -> list[int]:
        """Return the columns of some processes that were killed. They belong to the caller until it frees them."""
        alive = [each for each in range(COLUMNS) if self._cells[self._at(ALIVE, each)] and each != self.column]
        return list(islice((each for each in alive if self._lock(each)), MAX_DEAD))

    def free(self, column: int) -> None:
        """Give a dead process's column back, without what it had reserved."""
        self.reclaim(column)
        self._cells[self._at(ALIVE, column)] = 0
        _set_lock(self._fd, fcntl.F_UNLCK, column, 1)

    def reclaim(self, column: int) -> None:
        """Give back what a column has reserved. The caller has its lock."""
        reserved = self._cells[self._at(RESERVED, column)]
        self._cells[self._at(RESERVED, column)] = 0
        self._cells[self._at(CHARGED, column)] -= reserved

    # Counts

    def _at(self, row: int, column: int | None = None) -> int:
        return GLOBALS + row * COLUMNS + (self.column if column is None else column)

    def _sum(self, row: int) -> int:
        first = GLOBALS + row * COLUMNS
        return sum(self._cells[first : first + self._cells[USED]])

    @property
    def size(self) -> int:
        """The bytes that all files take, those under way as if they were written."""
        return self._cells[BASE_BYTES] + self._sum(CHARGED)

    @property
    def objects(self) -> int:
        return self._cells[BASE_OBJECTS] + self._sum(OBJECTS)

    @property
    def removals(self) -> int:
        """How many files were removed before all were counted."""
        return self._sum(REMOVALS)

    @property
    def counted(self) -> bool:
        """Whether all that is in the directory was counted since the first process came. Nothing is stored before."""
        return bool(self._cells[COUNTED])

    def set_counted(self, size: int, objects: int) -> None:
        """Set what was found. For the process that does the upkeep."""
        self._cells[BASE_BYTES], self._cells[BASE_OBJECTS] = size, objects
        self._cells[COUNTED] = 1

    def reserve(self, size: int, limit: int) -> bool:
        """Reserve bytes for a file under way, unless all together would be more than ``limit``."""
        charged = self._at(CHARGED)
        self._cells[charged] += size
        if self.size > limit:
            self._cells[charged] -= size
            return False
        self._cells[self._at(RESERVED)] += size
        return True

    def hold(self, size: int) -> None:
        """Count bytes that are taken, whatever the limit, until they are given back."""
        self._cells[self._at(CHARGED)] += size
        self._cells[self._at(RESERVED)] += size

    def give_back(self, size: int) -> None:
        """Give back reserved bytes; what was written of them is gone."""
        self._cells[self._at(RESERVED)] -= size
        self._cells[self._at(CHARGED)] -= size

    def keep(self, size: int) -> None:
        """Reserved bytes become those of an object. Call it before the file gets its name."""
        self._cells[self._at(RESERVED)] -= size

    def placed(self) -> None:
        """An object has got its name."""
        self._cells[self._at(OBJECTS)] += 1

    def removing(self) -> bool:
        """Return whether bytes of files that are removed now are to be subtracted: not before all were counted."""
        if not self.counted:
            self._cells[self._at(REMOVALS)] += 1
            return False
        return True

    def removed(self, size: int, objects: int) -> None:
        """Subtract what was removed."""
        self._cells[self._at(CHARGED)] -= size
        self._cells[self._at(OBJECTS)] -= objects

    # Times of use

    @staticmethod
    def ticks(now: float) -> int:
        """Return a time of use."""
        return min(EPOCH + int(now * TICKS), LATEST)

    @staticmethod
    def cell(digest: bytes) -> int:
        """Return the number of a digest's cell. The first byte, and the first half of this number, is the shard."""
        return int.from_bytes(digest[:3]) >> 4

    def touch(self, digest: bytes, now: float) -> None:
        """Note a use."""
        self.table[self.cell(digest)] = self.ticks(now)


def read_name(directory: str) -> str:
    """Return the name of the memory that a directory's processes share; empty if there is none. Raises OSError."""
    try:
        fd = os.open(f"{directory}/{SHARED_NAME}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        return os.read(fd, 64).decode(errors="replace")
    finally:
        os.close(fd)


def _remove_unused() -> None:
    """Remove memory of this user that no process uses."""
    for each in MEMORY.iterdir():
        if NAME.fullmatch(each.name):
            try:
                fd = os.open(each, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:  # another user's, or gone
                continue
            if os.fstat(fd).st_uid == os.geteuid() and not _is_locked(fd):
                each.unlink(missing_ok=True)
            os.close(fd)


def _set_lock(fd: int, kind: int, first: int, count: int) -> bool:
    """Lock bytes of an open file, until it is closed everywhere. Return False if another one has them."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, LOCK.pack(kind, os.SEEK_SET, first, count, 0))
    except BlockingIOError:
        return False
    return True


def _is_locked(fd: int) -> bool:
    """Return whether any other open file has a lock."""
    asked = LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, COLUMNS + 1, 0)
    kind: int = LOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0]
    return kind != fcntl.F_UNLCK
