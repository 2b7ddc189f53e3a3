"""Child processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import trio

__all__ = ["cpu_seconds", "exit_text", "keep_only", "kill_tree", "name_process", "wait_for_exit"]


def exit_text(returncode: int) -> str:
    """Describe a return code as :mod:`subprocess` has it: ``exit code 3``, or ``killed by SIGKILL`` for -9."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:  # a real-time signal, which has no name of its own
        return f"killed by signal {-returncode}"


CPUCLOCK_SCHED = 2
"""Type of the clock of user and system time in nanoseconds, in the kernel's clock ids."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far; 0 if it has ended, or if the system does not tell.

    The id of its CPU clock is computed as in clock_getcpuclockid(3).
    """
    try:
        return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def kill_tree(pid: int) -> None:
    """Send SIGKILL to a child, its process group, and all that they have started and that has a parent among them.

    Those that have left the group are found on Linux only.
    """
    found: set[int] = set()
    while new := set(_descendants(pid)) - found:  # once stopped, they start no more
        found |= new
        for each in new:
            _send(each, signal.SIGSTOP)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    for each in found:
        _send(each, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # ended meanwhile, or of another user
        os.kill(pid, number)


def _descendants(pid: int) -> Iterator[int]:
    """Yield the processes that a process has started, and those that these have started."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:  # ended meanwhile
            continue
        for child in children:
            yield child
            yield from _descendants(child)


async def wait_for_exit(pid: int) -> None:
    """Return when a child process has ended. It is not reaped."""
    pidfd = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


def keep_only(*fds: int) -> None:
    """Close all other descriptors, as inherited sockets would never be closed. stdin becomes /dev/null."""
    first = 3
    for fd in sorted(fds):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def name_process(name: str) -> None:
    """Set the name that ``ps`` and ``top`` show, if the system supports it."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)
