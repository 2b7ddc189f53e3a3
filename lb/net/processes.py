"""Signals and child processes."""

from __future__ import annotations

import os
import signal

import trio

__all__ = ["SIGNALS", "exit_text", "wait_for_exit"]

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""Signals that the supervisor handles, for all processes. The others ignore them, as they may go to the whole group."""


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
