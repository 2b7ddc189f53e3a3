"""How many connections each source has open, and how fast it opens them: seen by all processes, in constant memory.

A source is a client's address; of an IPv6 one the first 64 bits, as one host may use all addresses below them. There
is no table of sources, which attackers could fill: each falls into one cell of each of four rows, by a keyed hash, and
shares it with the others that fall there. So a cell may say too much, never too little, and the least of the four
counts ("count-min sketch", Cormode and Muthukrishnan 2005). With 10,000 sources at once, one of 2,500 shares all four
of its cells with others; with 1,000 none does.
"""

from __future__ import annotations

import ipaddress
import mmap
import os
from hashlib import blake2b
from typing import TypeAlias

from lb.networks import IPAddress

__all__ = ["Cells", "Sources"]

Cells: TypeAlias = tuple[int, ...]
"""Those of one source, one in each row."""

ROWS = 4
WIDTH = 1 << 16
"""Cells of a row: what two bytes of a hash tell apart."""
SKETCH = ROWS * WIDTH
SPARE = 1e-6
"""Seconds that sums of fractions may be wrong by, and more."""
KEY = 64
"""Bytes of the hash's key, at the beginning of the memory; the most that BLAKE2b takes."""


class Sources:
    """The rows, over :meth:`size` bytes of memory that are zero at first; only those pages cost that are used.

    Of the numbers of open connections each worker has its own copy, which only it writes; all are added up. When a
    source may come next is one number for all: if two workers write it at once, one connection is not seen.
    """

    def __init__(self, memory: memoryview, workers: int, worker: int) -> None:
        self._key = bytes(memory[:KEY])
        numbers = memory[KEY : self.size(workers)].cast("B")
        self._due = numbers[: SKETCH * 8].cast("d")
        """When a source would have come that keeps to its rate exactly: seconds of the caller's clock."""
        counts = numbers[SKETCH * 8 :].cast("i")
        self._open = [counts[each * SKETCH : (each + 1) * SKETCH] for each in range(workers)]
        self._own = self._open[worker]

    @classmethod
    def of_process(cls) -> Sources:
        """Those of a process that carries the traffic alone."""
        memory = memoryview(mmap.mmap(-1, cls.size(1)))
        cls.prepare(memory)
        return cls(memory, 1, 0)

    @staticmethod
    def size(workers: int) -> int:
        """Bytes."""
        return KEY + SKETCH * (8 + 4 * workers)

    @staticmethod
    def prepare(memory: memoryview) -> None:
        """Choose the key, once for all who share the memory: nobody can tell who shares a cell with whom."""
        memory[:KEY] = os.urandom(KEY)

    def cells(self, listener: str, address: IPAddress) -> Cells:
        """Where this source is counted, as a client of this listener."""
        source = address.packed[:8] if isinstance(address, ipaddress.IPv6Address) else address.packed
        digest = blake2b(source + listener.encode(), key=self._key, digest_size=2 * ROWS).digest()
        return tuple(row * WIDTH + int.from_bytes(digest[2 * row : 2 * row + 2], "big") for row in range(ROWS))

    # Open connections

    def enter(self, cells: Cells, most: int) -> bool:
        """Count one more, unless that were more than ``most``; 0 is no limit. True if it is counted."""
        self._add(cells, 1)
        if most and min(sum(counts[cell] for counts in self._open) for cell in cells) > most:
            self._add(cells, -1)
            return False
        return True

    def leave(self, cells: Cells) -> None:
        """One of those that have entered is over."""
        self._add(cells, -1)

    def _add(self, cells: Cells, number: int) -> None:
        for cell in cells:
            self._own[cell] += number

    def forget(self) -> None:
        """The worker is dead: nothing that it counted is there any more."""
        self._own[:] = memoryview(bytes(4 * SKETCH)).cast("i")

    # New connections a second

    def may_come(self, cells: Cells, rate: int, now: float) -> bool:
        """True if not more than ``rate`` came within a second, on average; then this one is noted.

        As many may come at once, then one each 1/rate seconds: the virtual scheduling of ITU-T I.371, annex A.
        """
        due = max(now, min(self._due[cell] for cell in cells)) + 1 / rate
        if due > now + 1 + SPARE:
            return False
        for cell in cells:
            self._due[cell] = max(self._due[cell], due)
        return True
