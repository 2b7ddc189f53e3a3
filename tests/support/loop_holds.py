"""How long single steps of tasks hold the event loop."""

from __future__ import annotations

import time

import trio

__all__ = ["LoopHolds"]


class LoopHolds(trio.abc.Instrument):
    """Records the longest step of any task: in CPU time of this thread, so that a busy machine makes no difference."""

    def __init__(self):
        self.longest = 0.0
        """Seconds."""
        self.task = ""
        self.blocked = 0.0
        """The longest time of a step that is not CPU time, in seconds: it waited in the kernel, or for a processor."""

    def before_task_step(self, task):
        self._cpu, self._clock = time.thread_time(), time.perf_counter()

    def after_task_step(self, task):
        cpu, clock = time.thread_time() - self._cpu, time.perf_counter() - self._clock
        if cpu > self.longest:
            self.longest, self.task = cpu, task.name
        self.blocked = max(self.blocked, clock - cpu)
