"""When a worker counts as hanging, from its heartbeats and its CPU time. No I/O, no clock.

A heartbeat shows that the worker's event loop makes turns. A worker that gets little CPU, on a busy machine, makes them
slowly: it is busy, not dead. So its silence is measured in CPU time.
"""

from __future__ import annotations

__all__ = ["Pulse"]

SIGN_OF_LIFE = 0.001
"""Seconds of CPU time between two looks at a worker that gets a little of it. A stopped or blocked one uses none."""
LONGEST_SILENCE = 60.0
"""Seconds without a heartbeat after which a worker hangs, whatever CPU time it used."""


class Pulse:
    """The last heartbeat of a worker. Times are in seconds; ``cpu`` is the CPU time that the worker has used so far.

    ``patience`` is for the first heartbeat, and ``timeout`` for the others: seconds of CPU time without a heartbeat, or
    seconds without any CPU time.
    """

    def __init__(self, beats: int, now: float, *, patience: float, timeout: float) -> None:
        self._beats = beats
        self._patience = patience
        self._timeout = timeout
        self._beat_at = self._used_at = now
        self._cpu_at_beat = self._cpu = 0.0

    def look(self, beats: int, now: float, cpu: float) -> bool:
        """Take in what the worker has done so far. Return True if there was a heartbeat since the last look."""
        new = beats != self._beats
        if new:
            self._beats = beats
            self._patience = self._timeout
            self._beat_at = now
            self._cpu_at_beat = cpu
        if new or cpu - self._cpu >= SIGN_OF_LIFE:
            self._used_at = now
        self._cpu = cpu
        return new

    def skip(self, seconds: float) -> None:
        """Do not count these last seconds: nobody looked."""
        self._beat_at += seconds
        self._used_at += seconds

    def hangs(self, now: float) -> str:
        """Return why the worker counts as hanging; empty if it does not."""
        if now - self._used_at >= self._patience:
            return f"did not answer for {self._patience:g} s"
        if self._cpu - self._cpu_at_beat >= self._patience:
            return f"did not answer for {self._patience:g} s of CPU time"
        if now - self._beat_at >= LONGEST_SILENCE:
            return f"did not answer for {LONGEST_SILENCE:g} s"
        return ""
