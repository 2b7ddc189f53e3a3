"""The budget of file descriptors. A connection is accepted only if descriptors are left for both of its sides."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["Descriptors", "open_files_limit", "raise_limit"]


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit. Return the new limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = _system_ceiling() if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    return ceiling


def open_files_limit() -> int:
    """Return the soft limit of open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _system_ceiling() -> int:
    try:
        return int(Path("/proc/sys/fs/nr_open").read_text())
    except OSError:
        return 10240  # the smallest default among the BSDs and macOS


class Descriptors:
    """A budget of descriptors. They are counted here, because probing the system's limit costs a failed connection."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.on_free: Callable[[], None] | None = None
        """Called when descriptors become free after ``has`` returned False."""
        self._wanted = False

    @classmethod
    def of_process(cls, *, reserve: int) -> Descriptors:
        """Return the budget that the process has left, minus ``reserve`` for listeners, probes, lookups, logs, reloads.

        The reserve is at most a quarter of the limit: under a low limit, late probes are better than no connections.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        descriptors = Path("/proc/self/fd")
        in_use = len(list(descriptors.iterdir())) if descriptors.exists() else 16
        return cls(max(limit - in_use - min(reserve, limit // 4), 2))

    def has(self, count: int) -> bool:
        """Return True if ``count`` descriptors are left. If not, ``on_free`` is called once some become free."""
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
