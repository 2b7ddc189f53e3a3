"""Processes that share a directory and are killed at any moment: it stays consistent, and within its size."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lb.cache import shared_cells
from lb.cache.object_file import charge
from tests.support.balancer import PATIENCE
from tests.support.cache_disk import body_of, digest_of, disk_store, disk_usage, shared_memory_cleared
from tests.support.directories import all_within

MAX_SIZE = 3 << 20
PROCESSES = 3


@pytest.fixture
def memory(monkeypatch):
    """The system's, as the processes have it."""
    monkeypatch.setattr(shared_cells, "MEMORY", Path("/dev/shm"))


@contextmanager
def working(path, seed, max_size=MAX_SIZE):
    """A process that stores and removes; it is killed at the end."""
    command = [sys.executable, "-m", "tests.support.cache_disk", str(path), str(max_size), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def until_ready(process):
    assert select.select([process.stdout], [], [], PATIENCE)[0], "it does not store"
    assert process.stdout.readline() == b"ready\n"


@contextmanager
def stopped(processes):
    """All stand still, so that what is measured is a moment."""
    for each in processes:
        each.send_signal(signal.SIGSTOP)
    for each in processes:
        until_stopped(each)
    try:
        yield
    finally:
        for each in processes:
            each.send_signal(signal.SIGCONT)


def until_stopped(process):
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]), "it ended by itself"


def rest(chance, most):
    """The processes work for a random time."""
    select.select([], [], [], chance.random() * most)


async def check(path, max_size=MAX_SIZE):
    """Everything that is there is whole, and counted exactly."""
    async with disk_store(path, max_size=max_size) as store:
        assert list((path / "tmp").iterdir()) == []
        files = [each for each in path.rglob("*") if len(each.name) == 64]
        shards = {each.parent for each in files} | {each for each in path.iterdir() if len(each.name) == 2}
        assert store.disk.objects == len(files)
        assert store.disk.size == sum(charge(each.stat().st_size) for each in files) + 4096 * (len(shards) + 3)
        assert disk_usage(path) <= store.disk.size <= max_size
        found = 0
        for name in range(400):
            if (read := await store.read(name)) is not None:
                assert read[1] == body_of(name, len(read[1]))
                found += 1
        assert found == len(files)
        assert store.disk.errors["corrupt"] == 0
        assert await store.store("a")
        assert await store.has("a")
        assert await store.remove("a")
        return found


@pytest.mark.slow
async def test_processes_that_share_a_directory_never_exceed_its_size(path, memory):
    chance = random.Random(1)
    with (
        shared_memory_cleared(path),
        working(path, 1) as one,
        working(path, 2) as two,
        working(path, 3) as three,
    ):
        processes = (one, two, three)
        for each in processes:
            until_ready(each)
        largest = 0
        for _ in range(60):
            rest(chance, 0.1)
            with stopped(processes):
                largest = max(largest, disk_usage(path))
                assert largest <= MAX_SIZE
        assert largest > MAX_SIZE / 2, "it was put to use"
    with shared_memory_cleared(path):
        assert await check(path) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_after_kills_at_any_moment_the_directory_is_consistent(path, memory, seed):
    chance = random.Random(seed)
    with shared_memory_cleared(path):
        for round_number in range(3):
            with working(path, 10 * seed + round_number) as process:
                until_ready(process)
                rest(chance, 1.0)
            assert disk_usage(path) <= MAX_SIZE
            await check(path)


@pytest.mark.slow
async def test_what_a_killed_process_had_reserved_is_free_for_those_that_live(path, memory):
    """Kill one after the other: were their reservations not given back, there would be no room in the end."""
    chance = random.Random(3)
    with shared_memory_cleared(path), working(path, 100) as living:
        until_ready(living)
        for seed in range(8):
            with working(path, seed) as process:
                until_ready(process)
                rest(chance, 0.5)
            with stopped([living]):
                assert disk_usage(path) <= MAX_SIZE
        before = newest(path)
        deadline = time.monotonic() + PATIENCE
        while newest(path) == before:
            assert time.monotonic() < deadline, "nothing is stored any more"
            rest(chance, 0.1)
        async with disk_store(path, max_size=MAX_SIZE, wait=False) as store:
            await store.until(lambda: store.disk.size)
            columns = {each.name.partition("-")[0] for each in (path / "tmp").iterdir()}
            assert len(columns) <= 2
            assert not store.named("cache.scanned"), "only the first process counts"
            assert await store.write("mine", b"x" * 1000) in {True, False}


def newest(path):
    return max(status.st_ctime_ns for status in all_within(path).values())


def test_a_body_is_made_from_its_name():
    assert body_of(7, 1000) == body_of(7, 2000)[:1000] != body_of(8, 1000)
    assert digest_of(7) != digest_of(8)
