"""CPU and memory of a process and its children, connections, and the summary of several rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

__all__ = ["Summary", "begun_connections", "cpu_seconds", "memory_bytes", "memory_of"]

CPUCLOCK_SCHED = 2
"""Type of the clock of user and system time in nanoseconds, in the kernel's clock ids."""


@attrs.frozen
class Summary:
    """Median, minimum and maximum of several rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Summarize at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process and its children so far, including ended threads.

    The CPU clock of a process counts nanoseconds; utime and stime of ``/proc/<pid>/stat`` count ticks of 10 ms. The id
    of the clock is computed as in clock_getcpuclockid(3).
    """
    return sum(time.clock_gettime(~process << 3 | CPUCLOCK_SCHED) for process in _family(pid))


def begun_connections() -> int:
    """Return the number of TCP connections that all processes of the network namespace have begun so far.

    Servers do not see all of them: HAProxy resets those of its checks before they are established.
    """
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line[:4] == "Tcp:")
    return int(values[names.index("ActiveOpens")])


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process and its children; shared pages count once (Pss)."""
    return sum(_proportional_set_size(process) for process in _family(pid))


def memory_of(pid: int, word: str) -> int:
    """Return the resident memory of those of a process and its children whose command line has a word."""
    family = [process for process in _family(pid) if word in Path(f"/proc/{process}/cmdline").read_text()]
    return sum(map(_proportional_set_size, family))


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
