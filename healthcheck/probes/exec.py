"""The exec probe: runs a command; exit status 0 passes."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Sequence
from typing import Annotated

import trio

from healthcheck.probe import Probe, ProbeFailed, Target
from healthcheck.result import one_line
from lb.net.errors import EXHAUSTED
from lb.net.processes import exit_text, kill_tree

__all__ = ["ExecProbe"]

_SHORTAGE = EXHAUSTED | {errno.EAGAIN}  # no room for another process, fork(2)
_MOST_OUTPUT = 4096  # bytes kept for the first line; the rest is read and discarded


class ExecProbe(Probe):
    """Run ``command``, a list of the program and its arguments, without a shell.

    The environment variables ``LB_POOL`` and ``LB_SERVER`` name the server, ``LB_HOST`` and ``LB_PORT`` are what to
    check; for a unix socket the host is the path and the port is empty. stdout and stderr form one stream; its first
    line is the detail. The check ends when the command and its background processes have closed that stream. A
    cancelled check kills the whole process group, and what has left it but still has a parent there.
    """

    def __init__(self, command: Annotated[Sequence[str], {"minItems": 1}]) -> None:
        if not isinstance(command, list | tuple) or not command or not all(isinstance(each, str) for each in command):
            raise ValueError(f'command: must be a list of strings like ["./check", "arg"], not {command!r}')
        if not command[0] or any("\0" in each for each in command):
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
            raise ProbeFailed(exit_text(status))
        if status > 0:
            raise ProbeFailed(output or f"exit {status}")
        return output or "exit 0"

    async def _start(self, target: Target) -> trio.Process:
        """Start the command. Raises ProbeFailed if it cannot be run, OSError if the system lacks resources for it."""
        host, port = target.host_and_port
        variables = {
            "LB_POOL": target.pool,
            "LB_SERVER": target.server,
            "LB_HOST": host,
            "LB_PORT": port,
        }
        try:
            return await trio.lowlevel.open_process(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=os.environ | variables,
                start_new_session=True,  # its own process group, and no Ctrl-C from the balancer's terminal
            )
        except OSError as error:
            if error.errno in _SHORTAGE:
                raise
            raise ProbeFailed(f"cannot run {self._command[0]}: {str(error.strerror).lower()}") from error


async def _first_line(process: trio.Process) -> str:
    assert process.stdout is not None  # noqa: S101 - stdout is a pipe
    output = b""
    async with process.stdout as stdout:
        async for chunk in stdout:
            output += chunk[: _MOST_OUTPUT - len(output)]
    return one_line(output.decode(errors="replace"))


async def _kill(process: trio.Process) -> None:
    """Kill the process with all that it has started, and reap it. Until then the kernel does not reuse its id."""
    kill_tree(process.pid)
    with trio.CancelScope(shield=True):
        await process.wait()
