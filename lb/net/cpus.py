"""The number of CPUs that this process may use: by its affinity, and by the quotas of its cgroups."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["available_cpus", "cpu_quota"]


def available_cpus() -> int:
    """Return the number of CPUs, rounded up; at least 1."""
    if sys.platform != "linux":
        return 1
    quota = cpu_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), quota)))


def cpu_quota(membership: Path, root: Path) -> float:
    """Return the smallest quota in CPUs of a process's cgroups and all above them; infinite without one.

    ``membership`` is /proc/PID/cgroup, ``root`` the mount point of cgroups. See cgroups(7), cgroup-v2.rst and
    sched-bwc.rst of Linux.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    return min((quota for line in lines for quota in _quotas(line, root)), default=math.inf)


def _quotas(line: str, root: Path) -> Iterator[float]:
    """Yield the quotas that apply to one line of /proc/PID/cgroup: ``hierarchy:controllers:path``."""
    _, controllers, path = line.split(":", 2)
    if not controllers:  # version 2
        for directory in _upward(root, path):
            yield _quota(*_numbers(directory / "cpu.max"))
    elif "cpu" in controllers.split(","):
        for mounted in (root / controllers, root / "cpu"):
            for directory in _upward(mounted, path):
                yield _quota(*_numbers(directory / "cpu.cfs_quota_us"), *_numbers(directory / "cpu.cfs_period_us"))


def _upward(mounted: Path, path: str) -> Iterator[Path]:
    """Yield the directory of a cgroup and those above it. In a container, the path may be one of the host."""
    below = mounted / path.lstrip("/")
    yield below
    for parent in below.parents:
        if not parent.is_relative_to(mounted):
            return
        yield parent


def _numbers(file: Path) -> list[int]:
    """Return the numbers in a file; none if there is no such file, or no quota ("max")."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []


def _quota(quota: int = -1, period: int = 0, *_: int) -> float:
    """Return a quota in CPUs; infinite for none."""
    return quota / period if quota > 0 and period > 0 else math.inf
