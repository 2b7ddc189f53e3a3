"""Child processes."""

from __future__ import annotations

import os
import signal

import trio

__all__ = ["exit_text", "wait_for_exit"]


def exit_text(returncode: int) -> str:
    """Describe a return code as :mod:`subprocess` has it: ``exit code 3``, or ``killed by SIGKILL`` for -9."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:  # a real-time signal, which has no name of its own
        return f"killed by signal {-returncode}"


async def wait_for_exit(pid: int) -> None:
    """Return when a child process has ended. It is not reaped."""
    pidfd = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)
