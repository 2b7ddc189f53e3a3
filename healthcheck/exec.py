"""The exec probe: a command of the user's own decides; exit status 0 passes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence

import trio

from healthcheck.probe import UNABLE, Probe, ProbeFailed, Target
from healthcheck.result import one_line

__all__ = ["ExecProbe"]

_MOST_OUTPUT = 4096  # bytes kept to find the first line in; the rest is read and thrown away


class ExecProbe(Probe):
    """Run ``command``, a list of the program and its arguments, without a shell.

    ``LB_POOL``, ``LB_SERVER``, ``LB_HOST`` and ``LB_PORT`` in its environment tell about the server; for a unix
    socket the host is its path and the port empty. Output and errors are one stream, and the first line of it is the
    detail. The check ends when the command and whatever it started in the background have closed that stream.
    A check that is cut short kills the whole process group.
    """

    def __init__(self, command: Sequence[str]) -> None:
        if not isinstance(command, list | tuple) or not command or not all(isinstance(word, str) for word in command):
            raise ValueError(f'command: must be a list of strings like ["./check", "arg"], not {command!r}')
        if not command[0] or any("\0" in word for word in command):
            raise ValueError(f"command: {list(command)!r} cannot be run")
        self._command = list(command)

    async def check(self, target: Target) -> str:
        process = await self._start(target)
        try:
            output = await _first_line(process)
            status = await process.wait()
        except BaseException:
            await _kill(process)
            raise
        if status < 0:
            raise ProbeFailed(f"killed by signal {-status}")
        if status > 0:
            raise ProbeFailed(output or f"exit {status}")
        return output or "exit 0"

    async def _start(self, target: Target) -> trio.Process:
        """Raises ProbeFailed if there is no such program, OSError if the system cannot run another one now."""
        address = target.address
        about_server = {
            "LB_POOL": target.pool,
            "LB_SERVER": target.server,
            "LB_HOST": address.path if address.is_unix else address.host,
            "LB_PORT": "" if address.is_unix else str(address.port),
        }
        try:
            return await trio.lowlevel.open_process(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=os.environ | about_server,
                start_new_session=True,  # a process group of its own, and no Ctrl-C of the balancer's terminal
            )
        except OSError as error:
            if error.errno in UNABLE:
                raise
            raise ProbeFailed(f"cannot run {self._command[0]}: {str(error.strerror).lower()}") from error


async def _first_line(process: trio.Process) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    output = b""
    async with process.stdout as stdout:
        async for chunk in stdout:
            output += chunk[: _MOST_OUTPUT - len(output)]
    return one_line(output.decode(errors="replace"))


async def _kill(process: trio.Process) -> None:
    """Kill the group and reap the process, which until then keeps the group's number from being used again."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with trio.CancelScope(shield=True):
        await process.wait()
