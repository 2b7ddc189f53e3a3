"""Open connections and rates of connections and requests per source, shared by all workers, in constant memory.

A source is a client's IPv4 address, or the first 64 bits of an IPv6 address, because one host may use all addresses
below them. There is no table of sources, because attackers could fill it. A keyed hash maps each source to one cell in
each of four rows, which it shares with other sources. So a cell may count too much, never too little, and the minimum
of the four cells counts ("count-min sketch", Cormode and Muthukrishnan 2005). With 10,000 sources at once, one of 2,500
shares all four cells with others; with 1,000 none does.
"""

from __future__ import annotations

import ipaddress
import mmap
import os
from hashlib import blake2b
from typing import TypeAlias

from lb.model.address import IPAddress

__all__ = ["Cells", "SourceLimits", "source_of"]

Cells: TypeAlias = tuple[int, ...]
"""The cells of one source, one in each row."""

ROWS = 4
ROW_WIDTH = 1 << 16
"""Cells per row: the values of two hash bytes."""
SKETCH = ROWS * ROW_WIDTH
SPARE = 1e-6
"""Tolerance in seconds, larger than any rounding error of the sums."""
KEY_BYTES = 64
"""Bytes of the hash key at the start of the memory: the maximum of BLAKE2b."""


def source_of(address: IPAddress) -> bytes:
    """Return what limits per source count: an IPv4 address, or the first 64 bits of an IPv6 address."""
    return address.packed[:8] if isinstance(address, ipaddress.IPv6Address) else address.packed


class SourceLimits:
    """The sketch, over :meth:`size` bytes of zeroed memory. Only used pages take up memory.

    Each worker has its own counts of open connections, which only it writes; the total is their sum. The time of a
    source's next connection is one number for all workers: if two write it at once, one connection is not counted.
    """

    def __init__(self, memory: memoryview, workers: int, worker: int) -> None:
        self._key = bytes(memory[:KEY_BYTES])
        numbers = memory[KEY_BYTES : self.size(workers)].cast("B")
        self._due = numbers[: SKETCH * 8].cast("d")
        """The theoretical arrival time of each cell's next connection or request, in seconds of the caller's clock."""
        counts = numbers[SKETCH * 8 :].cast("i")
        self._open = [counts[each * SKETCH : (each + 1) * SKETCH] for each in range(workers)]
        self._own = self._open[worker]

    @classmethod
    def of_process(cls) -> SourceLimits:
        """Return the limits of a process without workers."""
        memory = memoryview(mmap.mmap(-1, cls.size(1)))
        cls.prepare(memory)
        return cls(memory, 1, 0)

    @staticmethod
    def size(workers: int) -> int:
        """Return the bytes of memory needed."""
        return KEY_BYTES + SKETCH * (8 + 4 * workers)

    @staticmethod
    def prepare(memory: memoryview) -> None:
        """Choose a random hash key, once for all processes that share the memory. It makes collisions unpredictable."""
        memory[:KEY_BYTES] = os.urandom(KEY_BYTES)

    def cells(self, listener: str, address: IPAddress) -> Cells:
        """Return the cells of this source at this listener, or whatever else counts for itself."""
        digest = blake2b(source_of(address) + listener.encode(), key=self._key, digest_size=2 * ROWS).digest()
        return tuple(row * ROW_WIDTH + int.from_bytes(digest[2 * row : 2 * row + 2], "big") for row in range(ROWS))

    # Open connections

    def enter(self, cells: Cells, most: int) -> bool:
        """Count one more connection, unless the source exceeds ``most`` then; 0 is no limit. Return True if counted."""
        self._add(cells, 1)
        if most and min(sum(counts[cell] for counts in self._open) for cell in cells) > most:
            self._add(cells, -1)
            return False
        return True

    def leave(self, cells: Cells) -> None:
        """A connection counted by :meth:`enter` has ended."""
        self._add(cells, -1)

    def _add(self, cells: Cells, number: int) -> None:
        for cell in cells:
            self._own[cell] += number

    def forget(self) -> None:
        """Clear the counts of this worker, after its death."""
        self._own[:] = memoryview(bytes(4 * SKETCH)).cast("i")

    # Rates

    def within_rate(self, cells: Cells, rate: int, now: float) -> bool:
        """Return True, and count the connection, if the source stays within ``rate`` connections per second on average.

        A burst of ``rate`` is allowed at once.
        """
        return not self.wait(cells, rate, rate, now)

    def wait(self, cells: Cells, rate: float, burst: int, now: float) -> float:
        """Return 0, and count one more, if the source stays within ``rate`` per second on average.

        Else return the seconds until it would. ``burst`` are allowed at once, then one each 1/rate seconds: the virtual
        scheduling algorithm of ITU-T I.371, annex A.
        """
        due = max(now, min(self._due[cell] for cell in cells)) + 1 / rate
        early = due - now - burst / rate
        if early > SPARE:
            return early
        for cell in cells:
            self._due[cell] = max(self._due[cell], due)
        return 0.0
