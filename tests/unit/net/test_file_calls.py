"""Calls about files in threads: every result arrives, is disposed of, or is a fault; and files with several users."""

from __future__ import annotations

import errno
import os

import pytest
import trio

from lb.net.descriptors import Descriptors
from lb.net.file_calls import FileCalls
from lb.net.threads import Threads
from lb.net.used_file import UsedFile, can_tell
from tests.support.balancer import PATIENCE


class FileBench:
    """A loop whose tasks run in a nursery."""

    def __init__(self, nursery):
        self.faults = []
        self.clock = trio.current_time
        self.spawn = nursery.start_soon

    def fault(self, where, exception):
        self.faults.append((where, str(exception)))

    def calls(self, timeout=PATIENCE):
        return FileCalls(self, Descriptors(100), Threads(2, timeout), "a test")


@pytest.fixture
async def bench(nursery):
    return FileBench(nursery)


async def result_of(calls, function, dispose=None):
    results = []
    done = trio.Event()

    def arrived(result):
        results.append(result)
        done.set()

    calls.call(function, arrived, dispose)
    with trio.fail_after(PATIENCE):
        await done.wait()
    return results[0]


async def test_a_result_and_an_error_arrive(bench):
    def missing():
        raise FileNotFoundError(errno.ENOENT, "missing")

    assert await result_of(bench.calls(), lambda: 5) == 5
    assert (await result_of(bench.calls(), missing)).errno == errno.ENOENT
    assert bench.faults == []


async def test_a_bug_is_a_fault_and_who_waits_is_told(bench):
    assert (await result_of(bench.calls(), lambda: 1 // 0)).errno == errno.EIO
    assert bench.faults == [("a test", "integer division or modulo by zero")]


async def test_a_bug_of_who_waits_is_a_fault(bench):
    reported = trio.Event()
    bench.fault = lambda where, exception: reported.set()
    bench.calls().call(lambda: 5, lambda _: 1 // 0)
    with trio.fail_after(PATIENCE):
        await reported.wait()


async def test_what_comes_too_late_is_disposed_of(bench):
    go_on, disposed = trio.Event(), trio.Event()
    results = []

    def slow():
        trio.from_thread.run(go_on.wait)
        return "late"

    def dispose(result):
        results.append(result)
        trio.from_thread.run_sync(disposed.set)

    assert isinstance(await result_of(bench.calls(0.01), slow, dispose), TimeoutError)
    assert results == []
    go_on.set()
    with trio.fail_after(PATIENCE):
        await disposed.wait()
    assert results == ["late"]


async def test_what_arrives_is_not_disposed_of(bench):
    disposed = []
    assert await result_of(bench.calls(), lambda: "in time", disposed.append) == "in time"
    assert disposed == []


async def test_a_cancelled_call_is_disposed_of(bench):
    entered, go_on, disposed = trio.Event(), trio.Event(), trio.Event()

    def slow():
        trio.from_thread.run_sync(entered.set)
        trio.from_thread.run(go_on.wait)
        return "late"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.calls().run, slow, lambda _: trio.from_thread.run_sync(disposed.set))
        with trio.fail_after(PATIENCE):
            await entered.wait()
        nursery.cancel_scope.cancel()
    go_on.set()
    with trio.fail_after(PATIENCE):
        await disposed.wait()


async def test_a_file_is_closed_by_its_last_user(bench, tmp_path):
    (tmp_path / "file").write_bytes(b"text")
    calls = bench.calls()
    calls.descriptors.take(1)
    file = UsedFile(calls, os.open(tmp_path / "file", os.O_RDONLY))
    assert can_tell(file.fd) in {True, False}
    file.acquire()
    warmed = trio.Event()
    file.warm(0, 4, lambda error: warmed.set())
    file.release()
    file.release()
    assert os.fstat(file.fd).st_size == 4, "a thread reads it yet"
    with trio.fail_after(PATIENCE):
        await warmed.wait()
    assert file.is_warmed(0, 4)
    assert calls.descriptors.used == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.fd)
