"""How many file descriptors connections may use, so that one is accepted only if both of its sides will have one."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

__all__ = ["Descriptors", "raise_limit"]


def raise_limit() -> int:
    """Lift the soft limit of open files to the hard one, as servers do; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = _system_ceiling() if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    return ceiling


def _system_ceiling() -> int:
    try:
        return int(Path("/proc/sys/fs/nr_open").read_text())
    except OSError:
        return 10240  # the smallest default among the BSDs and macOS


class Descriptors:
    """A budget of descriptors, counted, not asked of the system: asking costs a failed connection."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.on_free: Callable[[], None] | None = None
        """Called when descriptors come back after somebody had to go without."""
        self._wanted = False

    @classmethod
    def of_process(cls, *, reserve: int) -> Descriptors:
        """What the process may still open, less ``reserve`` for listeners, probes, look-ups, logs and reloads.

        The reserve takes no more than a quarter: under a low limit, late probes are better than no connections.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        descriptors = Path("/proc/self/fd")
        in_use = len(list(descriptors.iterdir())) if descriptors.exists() else 16
        return cls(max(limit - in_use - min(reserve, limit // 4), 2))

    def has(self, count: int) -> bool:
        """True if so many are left; if not, ``on_free`` will be called once some come back."""
        if self.used + count <= self.limit:
            return True
        self._wanted = True
        return False

    def take(self, count: int) -> None:
        """Count ``count`` descriptors as used."""
        self.used += count

    def give(self, count: int) -> None:
        """Count ``count`` descriptors as free again."""
        self.used -= count
        if self._wanted:
            self._wanted = False
            if self.on_free is not None:
                self.on_free()
