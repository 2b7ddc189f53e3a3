"""Processes of the benchmark: pinned to cores, ready before use, stopped afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

__all__ = [
    "ALL_CORES",
    "BALANCER_CORES",
    "HOST",
    "LOAD_CORES",
    "NotListeningError",
    "Process",
    "free_port",
    "give_way",
    "keep_to",
    "running",
]

HOST = "127.0.0.1"
START_TIMEOUT = 10.0
"""Seconds until a process must listen. An estimate: all of them need less than one."""
STOP_TIMEOUT = 5.0
"""Seconds between SIGTERM and SIGKILL. An estimate."""
PAUSE = 0.002
"""Seconds between two checks whether a process listens; the precision of start times."""

ALL_CORES = sorted(os.sched_getaffinity(0))
BALANCER_CORES = ALL_CORES[-1:]
"""Cores of the balancer: the last core alone, if there are several."""
LOAD_CORES = ALL_CORES[:-1] or ALL_CORES
"""Cores of the load and the servers."""

_ports = itertools.count(21_000)  # below the ephemeral ports of Linux
_claims: list[socket.socket] = []
"""An abstract Unix socket per port. A second benchmark cannot have the same one, so it takes other ports. Balancers
that set SO_REUSEPORT would share a port, and its connections, without an error."""


class NotListeningError(Exception):
    """A process does not listen in time. The text has its last line of output."""


@attrs.frozen
class Process:
    """A process that listens."""

    pid: int
    executed: float
    """Start time, by :func:`time.perf_counter`."""


def free_port() -> int:
    """Return a free port, a different one at each call, also of other benchmarks that run at the same time."""
    for port in filter(_claim, _ports):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise AssertionError("the count of ports is endless")


def _claim(port: int) -> bool:
    """Claim a port until this process ends; return False if another benchmark has it."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0lb-bench-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def keep_to(cores: Collection[int]) -> None:
    """Pin this process and those started from now on to these cores."""
    os.sched_setaffinity(0, cores)


def give_way() -> None:
    """Set idle priority (SCHED_IDLE of sched(7)): this process runs only when no other one does."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    ports: Collection[int],
    output: Path,
    cores: Collection[int],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Run a command that listens on ``ports``. Its output goes to ``output``; ``environment`` adds variables.

    Raises NotListeningError.
    """
    pinned = ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command]
    variables = {**os.environ, **(environment or {})}
    executed = time.perf_counter()
    with (
        output.open("wb") as file,
        subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=variables) as process,
    ):
        try:
            if not _listens(process, ports):
                lines = output.read_text(errors="replace").splitlines()
                raise NotListeningError(f"{command[0]} does not listen: {lines[-1] if lines else 'no output'}")
            yield Process(process.pid, executed)
        finally:
            _stop(process)


def _listens(process: subprocess.Popen[bytes], ports: Collection[int]) -> bool:
    """Wait until the process listens; return False if it exits or takes too long."""
    deadline = time.perf_counter() + START_TIMEOUT
    while time.perf_counter() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PAUSE)
            return False
        if all(map(_accepts, ports)):
            return True
    return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        print(f"bench: did not end within {STOP_TIMEOUT:g} s of SIGTERM: {process.args!r}", file=sys.stderr)
        process.kill()
        process.wait()
