"""Reloads whose files do not answer: called off, counted, and waited for by nobody."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from lb.announce.announcer import Announcer
from lb.cluster.cluster import Cluster
from lb.config.load import ConfigError
from lb.events import ConfigRejected
from lb.events.base import Observers
from lb.model import Config
from lb.net import files
from lb.service import operations
from lb.service.config_watch import LoadedFile
from lb.service.operations import LOAD_TIMEOUT, MAX_LOADS, Operations
from tests.support.balancer import PATIENCE


class Reads:
    """Stands for ``load``. Reads hang until ``end`` is set."""

    def __init__(self):
        self.count = 0
        self.end = threading.Event()
        self._begun = trio.Event()

    def __call__(self, path, *, beside_traffic):
        assert beside_traffic
        files.reading.get().path = "/nfs/cert.pem"
        trio.from_thread.run_sync(self._begin)
        self.end.wait()
        return Config()

    def _begin(self):
        self.count += 1
        self._begun.set()
        self._begun = trio.Event()

    async def begun(self, count):
        """Wait until that many reads have begun."""
        with trio.fail_after(PATIENCE):
            while self.count < count:
                await self._begun.wait()


@pytest.fixture
def reads(monkeypatch):
    reads = Reads()
    monkeypatch.setattr(operations, "load", reads)
    yield reads
    reads.end.set()


@pytest.fixture
def world(nursery):
    """A balancer that accepts every configuration, and its operations."""
    events, applied = [], []

    async def reload(config):
        applied.append(config)

    balancer = SimpleNamespace(stop_begun=False, config=Config(), written=Config(), reload=reload)
    log = SimpleNamespace(configure=lambda spec: None)
    notifier = SimpleNamespace(reloading=lambda: None, ready=lambda text: None)
    sink, file = Observers(events.append), LoadedFile(Path("lb.toml"), {"lb.toml": b"1", "/nfs/cert.pem": b"1"})
    cluster = Cluster(balancer, sink, nursery)
    running = Operations(nursery, balancer, Announcer(None), cluster, log, sink, notifier, file, given=None)
    return SimpleNamespace(operations=running, balancer=balancer, events=events, applied=applied)


class Answers:
    """The answers to requests that are under way at the same time."""

    def __init__(self, nursery, request):
        self._nursery = nursery
        self._request = request
        self._found = []
        self._arrived = trio.Event()

    def ask(self):
        self._nursery.start_soon(self._ask)

    async def _ask(self):
        self._found.append(await self._request())
        self._arrived.set()
        self._arrived = trio.Event()

    async def all(self, count):
        """Wait for that many answers, and return them."""
        while len(self._found) < count:
            await self._arrived.wait()
        return self._found


CALLED_OFF = ("lb.toml: /nfs/cert.pem was not read in 10 s; called off",)


async def test_a_reload_whose_file_does_not_answer_is_called_off_and_says_which(mock_clock, nursery, world, reads):
    answers = Answers(nursery, world.operations.reload)
    answers.ask()
    await reads.begun(1)
    mock_clock.jump(LOAD_TIMEOUT)
    assert await answers.all(1) == [CALLED_OFF]
    assert world.events == [ConfigRejected(CALLED_OFF)]


async def test_many_requests_that_wait_share_one_reload(mock_clock, nursery, world, reads):
    """45 requests took 45 times as long, one after another."""
    answers = Answers(nursery, world.operations.reload)
    answers.ask()
    await reads.begun(1)
    for _ in range(45):
        answers.ask()
    for count in (1, 2):
        await reads.begun(count)
        mock_clock.jump(LOAD_TIMEOUT)
    assert await answers.all(46) == [CALLED_OFF] * 46
    assert reads.count == 2


async def test_reads_that_hang_are_bounded_and_the_file_is_read_again_once_they_end(mock_clock, nursery, world, reads):
    answers = Answers(nursery, world.operations.reload)
    for number in range(1, MAX_LOADS + 3):
        answers.ask()
        await reads.begun(min(number, MAX_LOADS))
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(LOAD_TIMEOUT)
        await answers.all(number)
    assert reads.count == MAX_LOADS
    reads.end.set()
    answers.ask()
    assert (await answers.all(MAX_LOADS + 3))[-1] == ()
    assert len(world.applied) == 1


async def test_a_preview_is_called_off_as_well(mock_clock, nursery, world, reads):
    async def preview():
        with pytest.raises(ConfigError) as caught:
            await world.operations.preview()
        return caught.value.errors

    answers = Answers(nursery, preview)
    answers.ask()
    await reads.begun(1)
    mock_clock.jump(LOAD_TIMEOUT)
    assert await answers.all(1) == [CALLED_OFF]


async def test_a_stop_waits_for_no_file(world, reads, nursery):
    answers = Answers(nursery, world.operations.reload)
    answers.ask()
    await reads.begun(1)
    nursery.cancel_scope.cancel()  # the test ends, although the read hangs
