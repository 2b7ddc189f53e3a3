"""The media processes, as the balancer keeps them running."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager

import pytest
import trio

from lb.control import media_processes
from lb.control.media_processes import MediaProcesses
from lb.events import MediaProcessRestarted
from lb.model.media import LiveSpec, MediaSpec
from tests.support.balancer import PATIENCE

pytestmark = pytest.mark.slow
SPEC = MediaSpec(live=(LiveSpec("live"),))


@asynccontextmanager
async def running():
    """The process of live streams, once it answers, and what is told."""
    events = []
    async with trio.open_nursery() as nursery:
        processes = MediaProcesses(nursery, events.append, b"secret")
        processes.prepare(SPEC)
        processes.apply(SPEC, {})
        try:
            await answering(processes)
            yield processes, events
        finally:
            nursery.cancel_scope.cancel()
            processes.close()


async def answering(processes):
    """Wait until the process answers. Return its id."""
    with trio.fail_after(PATIENCE):
        while not (await processes.ask()).answered.get("live"):  # noqa: ASYNC110 - it is asked again
            await trio.sleep(0.01)
    return processes.pids()["live"]


async def test_a_process_that_hangs_is_killed_and_started_again(monkeypatch):
    async with running() as (processes, events):
        monkeypatch.setattr(media_processes, "_HANG_TIMEOUT", 3)
        hanging = processes.pids()["live"]
        os.kill(hanging, signal.SIGSTOP)
        with trio.fail_after(PATIENCE):
            while not events:  # noqa: ASYNC110 - told by a call
                await trio.sleep(0.05)
        assert events == [MediaProcessRestarted("live", "it did not answer for 3 s")]
        monkeypatch.undo()  # a busy machine may take longer to start one
        assert await answering(processes) != hanging


async def test_a_process_that_has_nothing_to_tell_answers_pings():
    async with running() as (processes, events):
        first = processes.pids()["live"]
        process = processes._processes["live"]
        before = process._messages
        with trio.fail_after(PATIENCE):
            while process._messages < before + 3:  # noqa: ASYNC110 - nothing tells of them
                await trio.sleep(0.05)
        assert (processes.pids()["live"], events) == (first, [])
