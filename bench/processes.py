"""Processes of the benchmark's own: on their cores, listening before they are used, and gone afterwards."""

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
"""Seconds until a process must listen. A guess: all of them need less than one."""
STOP_TIMEOUT = 5.0
"""Seconds between SIGTERM and SIGKILL. A guess."""
PAUSE = 0.002
"""Seconds between two looks whether a process listens, and so how exact the time of a start is."""

ALL_CORES = sorted(os.sched_getaffinity(0))
BALANCER_CORES = ALL_CORES[-1:]
"""Where each balancer runs: alone on the last core, if there are several."""
LOAD_CORES = ALL_CORES[:-1] or ALL_CORES
"""Where the load and the servers run."""

_ports = itertools.count(21_000)  # below the ports that Linux gives to outgoing connections


class NotListeningError(Exception):
    """A process did not come to listen. The text has the last line that it printed."""


@attrs.frozen
class Process:
    """One that listens."""

    pid: int
    executed: float
    """When it was started, by :func:`time.perf_counter`."""


def free_port() -> int:
    """A port that nobody listens on, another one at each call."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise AssertionError("the count of ports is endless")


def keep_to(cores: Collection[int]) -> None:
    """Stay on these cores, as processes started from now on will."""
    os.sched_setaffinity(0, cores)


def give_way() -> None:
    """Let every other process go first (SCHED_IDLE of sched(7)): this one only fills the time that they leave."""
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
    """Run a command that listens on ``ports``. What it prints goes to ``output``; ``environment`` joins this one's.

    Raises NotListeningError.
    """
    pinned = ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command]
    variables = {**os.environ, **(environment or {})}
    executed = time.perf_counter()
    with (
        output.open("wb") as file,
        subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=variables) as it,
    ):
        try:
            if not _listens(it, ports):
                said = output.read_text(errors="replace").splitlines()
                raise NotListeningError(f"{command[0]} does not listen: {said[-1] if said else 'it said nothing'}")
            yield Process(it.pid, executed)
        finally:
            _stop(it)


def _listens(process: subprocess.Popen[bytes], ports: Collection[int]) -> bool:
    """Wait until it does; False if it ended, or took too long."""
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
