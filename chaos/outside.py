"""Statistics of a process, from /proc."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import attrs

__all__ = ["ProcessStats", "process_stats"]


@attrs.frozen
class ProcessStats:
    """Statistics of a process at one moment."""

    descriptors: int
    """All descriptors except pipes."""
    pipes: int
    """Descriptors of pipes. The balancer keeps a pool of them."""
    kib: int
    """Resident memory in KiB."""
    threads: int


def process_stats(pid: int) -> ProcessStats:
    """Read the statistics. Raises OSError if there is no such process."""
    kinds: Counter[str] = Counter()
    folder = Path(f"/proc/{pid}/fd")
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            kinds[str(entry.readlink()).partition(":")[0]] += 1
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    pipes = kinds.pop("pipe", 0)
    return ProcessStats(kinds.total(), pipes, int(status["VmRSS"].split()[0]), int(status["Threads"]))
