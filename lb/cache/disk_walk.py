"""A walk over all objects of a directory, a shard at a time, in threads.

It finds the objects that were not used for longest, and corrects the table of uses: objects that this does not know are
added, and cells without an object are cleared. The first walk after the first process came also counts the bytes.
"""

from __future__ import annotations

import os
import stat
import time
from functools import partial
from heapq import nsmallest
from operator import itemgetter

import trio

from lb.cache.disk_files import DIRECTORIES, DIRECTORY, DiskFiles
from lb.cache.object_file import charge
from lb.cache.shared_cells import CELLS_PER_SHARD, EPOCH, SHARDS, TICKS, SharedCells
from lb.net.file_calls import FileCalls

__all__ = ["DiskWalk", "walk_all"]

CELL_SETTLED = 60
"""A cell that was set so many seconds before the walk belongs to an object which has its file since."""
WALK_PIECE = 0.005
"""Seconds of CPU time of a walk in one call, a shard at least."""
_EMPTY = bytes(4 * CELLS_PER_SHARD)
_by_time = itemgetter(0)


async def walk_all(calls: FileCalls, walk: DiskWalk, *, measure: bool = False, share: float = 1.0) -> None:
    """Walk to the end in pieces, with rests in between: the work is this share of the time. Raises OSError."""
    while not walk.ended:
        began = trio.current_time()
        await calls.run(partial(_piece, walk, measure))
        await trio.sleep((trio.current_time() - began) * (1 / share - 1))


def _piece(walk: DiskWalk, measure: bool) -> None:
    began = now = time.thread_time()
    while not walk.ended and now - began < WALK_PIECE:
        walk.step(measure=measure)
        now = time.thread_time()
    walk.seconds += now - began


class DiskWalk:
    """One walk. ``now`` is the time of its begin. It finds the ``most`` objects used least recently.

    One that finds none of them (``most`` = 0) has the time to clear cells without an object.
    """

    def __init__(self, files: DiskFiles, cells: SharedCells, now: float, inactive: float, most: int) -> None:
        self.objects = 0
        self.bytes = DIRECTORIES
        """Of files, if they are measured."""
        self.seconds = 0.0
        """CPU time."""
        self.inactive: list[bytes] = []
        """Objects that nobody used for too long, until the caller takes them."""
        self.shard = 0
        """The next one."""
        self._files = files
        self._cells = cells
        self._now = cells.ticks(now)
        self._inactive = inactive * TICKS
        self._most = most
        self._oldest: list[tuple[int, str]] = []

    @property
    def ended(self) -> bool:
        return self.shard == SHARDS

    def oldest(self) -> list[tuple[int, bytes]]:
        """Return times of use and digests, the oldest first."""
        return [(used, bytes.fromhex(name)) for used, name in nsmallest(self._most, self._oldest, key=_by_time)]

    def step(self, *, measure: bool = False) -> None:
        """Walk over one shard."""
        shard, self.shard = self.shard, self.shard + 1
        first = shard * CELLS_PER_SHARD
        table = self._cells.table[first : first + CELLS_PER_SHARD]
        names = self._files.names(shard)
        if measure:
            names = self._measure(shard, names, table)
        self.objects += len(names)
        found = [(table[int(name[2:5], 16)] or self._enter(table, shard, name), name) for name in names]
        if not (self._most or measure):
            self._clear(table, names)
        before = self._now - self._inactive
        self.inactive += [bytes.fromhex(name) for used, name in found if used < before]
        if self._most:
            self._oldest += [each for each in found if each[0] >= before]
        if len(self._oldest) > 4 * self._most:
            self._oldest = nsmallest(self._most, self._oldest, key=_by_time)

    def _measure(self, shard: int, names: list[str], table: memoryview) -> list[str]:
        """Count the bytes; return the names whose files exist."""
        directory = f"{self._files.path}/{shard:02x}"
        found = []
        for name in names:
            try:
                status = os.stat(f"{directory}/{name}", follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            found.append(name)
            self.bytes += charge(status.st_size)
            if not table[int(name[2:5], 16)]:
                self._set(table, name, max(status.st_mtime, status.st_atime))
        if names or os.path.isdir(directory):
            self.bytes += DIRECTORY
        return found

    def _enter(self, table: memoryview, shard: int, name: str) -> int:
        """Note an object that the table does not know, and return when it was used."""
        try:
            status = os.stat(f"{self._files.path}/{shard:02x}/{name}", follow_symlinks=False)
        except FileNotFoundError:
            return self._now
        return self._set(table, name, max(status.st_mtime, status.st_atime))

    def _set(self, table: memoryview, name: str, used: float) -> int:
        """The clock of files may have jumped: what was used long ago is not removed at once, the order is kept."""
        age = min(max(time.time() - used, 0) * TICKS, self._inactive / 2, EPOCH / 2)
        cell = int(name[2:5], 16)
        table[cell] = value = max(self._now - int(age), 1)
        return value

    def _clear(self, table: memoryview, names: list[str]) -> None:
        """Clear cells without an object. The next walk sets one that another process has set at this moment."""
        settled = self._now - CELL_SETTLED * TICKS
        if table.tobytes() == _EMPTY:
            return
        old = {cell for cell, used in enumerate(table.tolist()) if 0 < used < settled}
        for cell in old.difference([int(name[2:5], 16) for name in names]):
            if table[cell] < settled:
                table[cell] = 0
