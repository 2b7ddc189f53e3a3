"""What is read off a process and its children, and how the figures of several rounds become one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

__all__ = ["Summary", "cpu_seconds", "memory_bytes"]

CPUCLOCK_SCHED = 2
"""The kind of clock that counts user and system time in nanoseconds, in the kernel's clock ids."""


@attrs.frozen
class Summary:
    """The median of several rounds, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Sum up at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children so far, of threads that ended as well.

    The process's CPU clock has nanoseconds, where utime and stime of ``/proc/<pid>/stat`` have ticks of 10 ms. Its id
    is made as clock_getcpuclockid(3) does it.
    """
    return sum(time.clock_gettime(~process << 3 | CPUCLOCK_SCHED) for process in _family(pid))


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and its children; pages that they share count once (Pss)."""
    return sum(_proportional_set_size(process) for process in _family(pid))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _proportional_set_size(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "Pss":
            return int(value.removesuffix("kB")) * 1024
    raise LookupError(f"/proc/{pid}/smaps_rollup has no Pss")
