"""Child processes."""

from __future__ import annotations

import os
import signal
import time

import trio

__all__ = ["cpu_seconds", "exit_text", "wait_for_exit"]


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


async def wait_for_exit(pid: int) -> None:
    """Return when a child process has ended. It is not reaped."""
    pidfd = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)
