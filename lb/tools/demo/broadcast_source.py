"""The publisher of the live demo: a process that publishes a test card, and is started again when it dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import trio

from lb.net.processes import exit_text
from lb.tools.demo.server_group import Tone

__all__ = ["BroadcastSource"]

RESTART_PAUSE = 0.5
"""Seconds from a publisher's death to the next one: OBS waits for 2 s and more."""


class BroadcastSource:
    """``report`` tells what happens to it."""

    def __init__(self, url: str, report: Callable[[str, Tone], None]) -> None:
        self.pid = 0
        """0 = it does not run."""
        self.died_at = 0.0
        """When it has died, by trio's clock."""
        self._url = url
        self._report = report
        self._process: trio.Process | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish until cancelled. Started when the first process runs."""
        while True:
            ending = await self._live(task_status.started)
            task_status = trio.TASK_STATUS_IGNORED
            self.died_at = trio.current_time()
            self._report(f"the publisher is dead: {ending}. As an encoder would, it comes back", "bad")
            await trio.sleep(RESTART_PAUSE)

    async def _live(self, started: Callable[[], None]) -> str:
        """Run the process once. Return how it has ended."""
        self._process = process = await trio.lowlevel.open_process(
            [sys.executable, "-P", "-m", "lb.tools.testcard", self._url],
            stdin=subprocess.PIPE,  # closes whenever this process ends
            stderr=subprocess.DEVNULL,  # of a connection that broke; events tell
            process_group=0,  # out of reach of the terminal's Ctrl-C
        )
        self.pid = process.pid
        self._report(f"the publisher starts, pid {process.pid}", "plain")
        started()
        try:
            return exit_text(await process.wait())
        finally:
            self.pid = 0
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
                if process.stdin is not None:
                    await process.stdin.aclose()

    def kill(self) -> None:
        """Kill the process, as ``kill -9`` does."""
        if self._process is not None and self.pid:
            self._report(f"kill -9 {self.pid} (the publisher)", "plain")
            self._process.kill()
