"""Numbers that several processes share: rows in common memory, with a column for each worker.

Each process writes its own column only, so no number has two writers and nothing needs a lock: a cell is 8 bytes,
aligned, which the machine reads and writes whole. Behind the rows lies the memory of :mod:`lb.sources`.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable

from lb.sources import Sources

__all__ = ["Board", "SharedCount"]

CELL = 8
"""Bytes."""
IDS, BEATS, HOLDING, FIRST_SLOT = range(4)
"""Rows: connections ever numbered; signs of life; whether connections are held; from there on, the counts."""
SLOTS = 1 << 18
"""How many there are at most. A guess; memory that is not used costs nothing."""


class SharedCount:
    """Implements :class:`lb.counts.Count` over one row."""

    __slots__ = ("_column", "_row")

    def __init__(self, row: memoryview, column: int) -> None:
        self._row = row
        self._column = column

    def add(self, number: int) -> None:
        self._row[self._column] += number

    @property
    def total(self) -> int:
        return sum(self._row)


class Board:
    """The rows, over :attr:`size` bytes of memory that are zero at first."""

    def __init__(self, memory: mmap.mmap | bytearray, workers: int) -> None:
        self.workers = workers
        rows = (FIRST_SLOT + SLOTS) * workers * CELL
        self._cells = memoryview(memory)[:rows].cast("q")
        self._sources = memoryview(memory)[rows:]

    @classmethod
    def create(cls, workers: int) -> tuple[Board, int]:
        """A new one, and the descriptor by which others can share it."""
        fd = os.memfd_create("lb-board", os.MFD_CLOEXEC)
        os.truncate(fd, cls.size(workers))
        board = cls.shared(fd, workers)
        Sources.prepare(board._sources)  # noqa: SLF001 - its own
        return board, fd

    @classmethod
    def shared(cls, fd: int, workers: int) -> Board:
        """That of another process."""
        return cls(mmap.mmap(fd, cls.size(workers)), workers)

    @staticmethod
    def size(workers: int) -> int:
        """Bytes."""
        return (FIRST_SLOT + SLOTS) * workers * CELL + Sources.size(workers)

    def _row(self, number: int) -> memoryview:
        return self._cells[number * self.workers : (number + 1) * self.workers]

    # Counts

    def count(self, slot: int, worker: int = 0) -> SharedCount:
        """The count in this slot, for a worker to change, or for anybody to read."""
        return SharedCount(self._row(FIRST_SLOT + slot), worker)

    def total(self, slot: int) -> int:
        return sum(self._row(FIRST_SLOT + slot))

    def of_worker(self, worker: int, slots: Iterable[int]) -> int:
        """What one worker has counted in these slots."""
        return sum(self._row(FIRST_SLOT + slot)[worker] for slot in slots)

    def forget(self, worker: int, slots: Iterable[int]) -> None:
        """A worker is dead: nothing that it counted is there any more. Connection ids go on where it was."""
        for slot in slots:
            self._row(FIRST_SLOT + slot)[worker] = 0
        self._row(HOLDING)[worker] = 0
        self.sources(worker).forget()

    def sources(self, worker: int) -> Sources:
        """What counts clients by source, for one worker."""
        return Sources(self._sources, self.workers, worker)

    # One number a worker

    def next_id(self, worker: int) -> int:
        """A number that no worker has given before."""
        row = self._row(IDS)
        given = row[worker]
        row[worker] = given + 1
        return given * self.workers + worker + 1

    def beat(self, worker: int) -> None:
        """A sign of life."""
        self._row(BEATS)[worker] += 1

    def beats(self, worker: int) -> int:
        return self._row(BEATS)[worker]

    def hold(self, worker: int, *, holding: bool) -> None:
        """Say whether a worker holds connections that wait for a server."""
        self._row(HOLDING)[worker] = holding

    def holders(self) -> list[int]:
        """The workers that do."""
        return [worker for worker, holding in enumerate(self._row(HOLDING)) if holding]
