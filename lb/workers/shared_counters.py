"""Counters in shared memory: one row per counter, one column per worker.

A process writes only its own column, so no cell has two writers and no lock is needed: a cell is 8 bytes, aligned,
which the machine reads and writes atomically. The memory of :mod:`lb.proxy.source_limits` follows the rows.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Collection, Iterable, Mapping

from lb.model import Config
from lb.proxy.source_limits import SourceLimits

__all__ = ["SharedCount", "SharedCounters", "assign", "names", "queue_name", "server_name"]

CELL = 8
"""Bytes."""
IDS, BEATS, HOLDING, FIRST_SLOT = range(4)
"""Rows: connection ids given; heartbeats; whether connections are held; the first counter."""
SLOTS = 1 << 18
"""Maximum number of counters. A guess; unused memory costs nothing."""


AHEAD_RATIO, AHEAD_COUNT = 1.25, 8
"""A worker is ahead with a quarter more than another one. Below some connections, a difference is chance."""


class SharedCount:
    """Implements :class:`lb.model.server.Count` over one row."""

    __slots__ = ("_column", "_row")

    def __init__(self, row: memoryview, column: int) -> None:
        self._row = row
        self._column = column

    def add(self, number: int) -> None:
        self._row[self._column] += number

    @property
    def total(self) -> int:
        return sum(self._row)

    @property
    def ahead(self) -> bool:
        return self._row[self._column] > AHEAD_RATIO * min(self._row) + AHEAD_COUNT

    @property
    def others(self) -> int:
        return sum(self._row) - self._row[self._column]


class SharedCounters:
    """The counters, in :meth:`size` bytes of zeroed memory."""

    def __init__(self, memory: mmap.mmap | bytearray, workers: int) -> None:
        self.workers = workers
        rows = (FIRST_SLOT + SLOTS) * workers * CELL
        self._cells = memoryview(memory)[:rows].cast("q")
        self._sources = memoryview(memory)[rows:]

    @classmethod
    def create(cls, workers: int) -> tuple[SharedCounters, int]:
        """Create counters. Returns them and a descriptor to share them."""
        fd = os.memfd_create("lb-board", os.MFD_CLOEXEC)
        os.truncate(fd, cls.size(workers))
        counters = cls.shared(fd, workers)
        SourceLimits.prepare(counters._sources)  # noqa: SLF001 - own class
        return counters, fd

    @classmethod
    def shared(cls, fd: int, workers: int) -> SharedCounters:
        """Map the counters of another process."""
        return cls(mmap.mmap(fd, cls.size(workers)), workers)

    @staticmethod
    def size(workers: int) -> int:
        """Return the size of the memory in bytes."""
        return (FIRST_SLOT + SLOTS) * workers * CELL + SourceLimits.size(workers)

    def _row(self, number: int) -> memoryview:
        return self._cells[number * self.workers : (number + 1) * self.workers]

    # Counts

    def count(self, slot: int, worker: int = 0) -> SharedCount:
        """Return the counter of a slot. ``worker`` is the column to write; any process may read."""
        return SharedCount(self._row(FIRST_SLOT + slot), worker)

    def total(self, slot: int) -> int:
        return sum(self._row(FIRST_SLOT + slot))

    def of_worker(self, worker: int, slots: Iterable[int]) -> int:
        """Return one worker's sum over these slots."""
        return sum(self._row(FIRST_SLOT + slot)[worker] for slot in slots)

    def forget(self, worker: int, slots: Iterable[int]) -> None:
        """Clear the counts of a dead worker. Its connection ids continue where they were."""
        for slot in slots:
            self._row(FIRST_SLOT + slot)[worker] = 0
        self._row(HOLDING)[worker] = 0
        self.sources(worker).forget()

    def sources(self, worker: int) -> SourceLimits:
        """Return the source limits of one worker."""
        return SourceLimits(self._sources, self.workers, worker)

    # One value per worker

    def next_id(self, worker: int) -> int:
        """Return a connection id, unique over all workers."""
        row = self._row(IDS)
        count = row[worker]
        row[worker] = count + 1
        return count * self.workers + worker + 1

    def beat(self, worker: int) -> None:
        """Count a heartbeat of a worker."""
        self._row(BEATS)[worker] += 1

    def heartbeats(self, worker: int) -> int:
        return self._row(BEATS)[worker]

    def hold(self, worker: int, *, holding: bool) -> None:
        """Set whether a worker holds connections that wait for a server."""
        self._row(HOLDING)[worker] = holding

    def holders(self) -> list[int]:
        """Return the workers that hold connections."""
        return [worker for worker, holding in enumerate(self._row(HOLDING)) if holding]


def server_name(pool: str, server: str) -> str:
    """Return the counter name of a server. A listener uses its own name, which contains no slash."""
    return f"{pool}/{server}"


def queue_name(pool: str) -> str:
    """Return the counter name of a pool's queue. Server names are never empty, so it is unique."""
    return f"{pool}/"


def names(config: Config) -> list[str]:
    """Return all counter names of a configuration."""
    servers = (server_name(pool.name, server.name) for pool in config.pools.values() for server in pool.servers)
    return [*config.listeners, *map(queue_name, config.pools), *servers]


def assign(
    before: Mapping[str, int], in_use: Collection[str], only: Iterable[str], total: Callable[[int], int], most: int
) -> dict[str, int]:
    """Assign slots to the names in ``only``: the slots that they have, else free ones.

    Another name that is not ``in_use`` keeps its slot while its count is not zero: a removed server may still have
    connections. Raises ValueError if more than ``most`` slots are needed.
    """
    kept = set(in_use) | (wanted_names := dict.fromkeys(only)).keys()
    slots = {name: slot for name, slot in before.items() if name in kept or total(slot)}
    taken = set(slots.values())
    free = (slot for slot in range(most) if slot not in taken)
    for name in wanted_names:
        if name not in slots:
            slot = next(free, None)
            if slot is None:
                raise ValueError(f"more than {most} listeners and servers")
            slots[name] = slot
    return slots
