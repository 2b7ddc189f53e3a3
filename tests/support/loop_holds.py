"""How long single steps of tasks hold the event loop."""

from __future__ import annotations

import time
from contextlib import contextmanager

import trio

__all__ = ["LoopHolds", "measured"]


class LoopHolds(trio.abc.Instrument):
    """Records the longest step of any task, in seconds of CPU time of this thread."""

    def __init__(self):
        self.longest = 0.0
        self._begun = time.thread_time()

    def before_task_step(self, task):
        self._begun = time.thread_time()

    def after_task_step(self, task):
        self.longest = max(self.longest, time.thread_time() - self._begun)


@contextmanager
def measured():
    """Yield the :class:`LoopHolds` of the block."""
    holds = LoopHolds()
    trio.lowlevel.add_instrument(holds)
    try:
        yield holds
    finally:
        trio.lowlevel.remove_instrument(holds)
