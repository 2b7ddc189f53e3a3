"""Processes of the benchmark's own: on their cores, listening before they are used, and gone afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

__all__ = ["BALANCER_CORES", "HOST", "LOAD_CORES", "free_port", "keep_to", "running"]

HOST = "127.0.0.1"
START_TIMEOUT = 10.0
"""Seconds until a process must listen. A guess: all of them need less than one."""
STOP_TIMEOUT = 5.0
"""Seconds between SIGTERM and SIGKILL. A guess."""

_CORES = sorted(os.sched_getaffinity(0))
BALANCER_CORES = _CORES[-1:]
"""Where each balancer runs: alone on the last core, if there are several."""
LOAD_CORES = _CORES[:-1] or _CORES
"""Where the load and the servers run."""

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


def keep_to(cores: Collection[int]) -> None:
    """Stay on these cores, as processes started from now on will."""
    os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def running(command: Sequence[str], *, ports: Collection[int], output: Path, cores: Collection[int]) -> Iterator[int]:
    """Run a command that listens on ``ports``; gives its pid. What it prints goes to ``output``.

    Raises RuntimeError if it does not come to listen.
    """
    pinned = ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command]
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
        print(f"bench: did not end within {STOP_TIMEOUT:g} s of SIGTERM: {process.args!r}", file=sys.stderr)
        process.kill()
        process.wait()
