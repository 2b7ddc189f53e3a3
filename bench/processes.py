"""Processes of the benchmark's own: on their cores, listening before they are used, and gone afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

__all__ = ["HOST", "balancer_cores", "free_port", "keep_to", "load_cores", "running"]

HOST = "127.0.0.1"
START_TIMEOUT = 10.0
"""Seconds until a process must listen. A guess: all of them need less than one."""
STOP_TIMEOUT = 5.0
"""Seconds between SIGTERM and SIGKILL. A guess."""

_ports = itertools.count(21_000)  # below the ports that Linux gives to outgoing connections


def free_port() -> int:
    """A port that nobody listens on, another one at each call."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise AssertionError("the count of ports is endless")


def balancer_cores() -> set[int]:
    """Where each balancer runs: the last core, alone there if there are several."""
    return set(sorted(os.sched_getaffinity(os.getppid()))[-1:])


def load_cores() -> set[int]:
    """Where the load and the servers run: the other cores, if there are any."""
    return os.sched_getaffinity(os.getppid()) - balancer_cores() or balancer_cores()


def keep_to(cores: Collection[int]) -> None:
    """Stay on these cores, as processes started from now on will."""
    os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], *, ports: Collection[int], output: Path, cores: Collection[int]
) -> Iterator[int]:
    """Run a command that listens on ``ports``; gives its pid. What it prints goes to ``output``.

    Raises RuntimeError if it does not come to listen.
    """
    pinned = ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *map(str, command)]
    with output.open("wb") as file, subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=file, stderr=file) as it:
        try:
            if not _listens(it, ports):
                raise RuntimeError(f"{command[0]} does not listen:\n{output.read_text(errors='replace')}")
            yield it.pid
        finally:
            _stop(it)


def _listens(process: subprocess.Popen[bytes], ports: Collection[int]) -> bool:
    """Wait until it does; False if it ended, or took too long."""
    pause = 0.05
    for _ in range(int(START_TIMEOUT / pause)):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(pause)
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
        process.kill()
        process.wait()
