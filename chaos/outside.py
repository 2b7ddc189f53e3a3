"""What can be seen of a process from outside, in /proc."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import attrs

__all__ = ["Sight", "look"]


@attrs.frozen
class Sight:
    """A process at a moment."""

    descriptors: int
    """All but pipes."""
    pipes: int
    """Descriptors of pipes. The balancer keeps some in stock."""
    kib: int
    """Resident memory."""
    threads: int


def look(pid: int) -> Sight:
    """Raises OSError if there is no such process."""
    kinds: Counter[str] = Counter()
    folder = Path(f"/proc/{pid}/fd")
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            kinds[str(entry.readlink()).partition(":")[0]] += 1
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    pipes = kinds.pop("pipe", 0)
    return Sight(kinds.total(), pipes, int(status["VmRSS"].split()[0]), int(status["Threads"]))
