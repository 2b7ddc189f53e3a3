"""Measurement of what the kernel holds for a client that does not read."""

from __future__ import annotations

import re
import socket
import subprocess
import time

from clients import PLAIN
from model import Sample, Scale
from targets import Running

__all__ = ["unread"]

SECONDS = 3.0
"""Time for the buffers to grow; they are full after a fraction of it."""
PAUSE = 0.1
CHUNK = 256 * 1024
HELD = re.compile(r"skmem:\(r(\d+),.*?,f(\d+),w(\d+),")
"""In the output of ss: memory of received data, memory reserved for more, memory of data to send."""


def unread(running: Running, scale: Scale, *, read: int) -> Sample:  # noqa: ARG001 - always as long
    """Return the maximum of MiB that the balancer's two sockets hold once a client has read this many bytes."""
    buffer = bytearray(CHUNK)
    with PLAIN.connect(running.ports.source) as connection:
        while read > 0:
            read -= connection.recv_into(buffer, 0, socket.MSG_TRUNC)
        most, until = 0, time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            most = max(most, _held(running))
            time.sleep(PAUSE)  # noqa: TID251 - the kernel reports no change of this
    return Sample((most / 2**20,), () if most else ("no data in the sockets",))


def _held(running: Running) -> int:
    """Return the bytes of the kernel's buffers of the balancer's sockets to and from the source."""
    only = f"( sport = :{running.ports.source} or dport = :{running.behind.source} )"
    command = ["ss", "--tcp", "--memory", "--numeric", "--no-header", "state", "established", only]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return sum(int(each) for held in HELD.findall(done.stdout) for each in held)
