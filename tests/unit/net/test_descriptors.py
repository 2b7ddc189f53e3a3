"""The descriptor budget, and the pipe pool within it."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import sys

import pytest

from lb.net.descriptors import Descriptors, raise_limit
from lb.relay.pipes import MAX_IDLE_PIPES, Pipe, PipePool
from tests.support.splicing import open_descriptors

linux = pytest.mark.skipif(sys.platform != "linux", reason="splice and /proc")


def test_nothing_beyond_the_limit_is_had():
    descriptors = Descriptors(5)
    assert descriptors.has(2)
    descriptors.take(2)
    assert descriptors.has(2)
    descriptors.take(2)
    assert not descriptors.has(2)
    assert descriptors.has(1)
    descriptors.give(2)
    assert descriptors.has(2)
    assert descriptors.used == 2


def test_on_free_is_called_once_and_only_after_somebody_had_to_go_without():
    calls = []
    descriptors = Descriptors(2)
    descriptors.on_free = lambda: calls.append(descriptors.used)
    descriptors.take(2)
    descriptors.give(2)
    assert calls == [], "no request was refused"
    descriptors.take(2)
    assert not descriptors.has(2)
    descriptors.give(1)
    descriptors.give(1)
    assert calls == [1], "called once; a caller that needs more calls has() again"


def test_the_budget_of_a_process_leaves_the_reserve_and_what_is_open():
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = open_descriptors()
    descriptors = Descriptors.of_process(reserve=100)
    assert limit - before - 100 - 2 <= descriptors.limit <= limit - 100
    assert Descriptors.of_process(reserve=limit).limit >= limit * 3 // 4 - before - 3, "a quarter at the most"


def test_the_soft_limit_is_lifted_to_the_hard_one():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        assert raise_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= soft
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@linux
def test_a_pipe_that_comes_back_empty_is_lent_again():
    pool = PipePool(descriptors := Descriptors(10))
    pipe = pool.get()
    assert (pool.lent, descriptors.used) == (1, 2)
    pool.put(pipe, empty=True)
    assert (pool.lent, descriptors.used) == (0, 2)
    assert pool.get() is pipe
    pool.put(pipe, empty=False)


@linux
def test_a_pipe_with_bytes_in_it_is_never_lent_again():
    pool = PipePool(descriptors := Descriptors(10))
    before = open_descriptors()
    pipe = pool.get()
    os.write(pipe.write, b"somebody's secret")
    pool.put(pipe, empty=False)
    assert (pool.lent, descriptors.used) == (0, 0)
    assert open_descriptors() == before
    other = pool.get()
    with pytest.raises(BlockingIOError):
        os.read(other.read, 100)
    pool.put(other, empty=False)


@linux
def test_there_is_no_pipe_beyond_the_budget():
    pool = PipePool(Descriptors(3))
    pipe = pool.get()
    assert pool.get() is None
    assert pool.lent == 1
    pool.put(pipe, empty=False)


@linux
def test_no_more_pipes_are_kept_than_said():
    pool = PipePool(descriptors := Descriptors(1000))
    pipes = [pool.get() for _ in range(MAX_IDLE_PIPES + 5)]
    for pipe in pipes:
        pool.put(pipe, empty=True)
    assert descriptors.used == 2 * MAX_IDLE_PIPES
    for pipe in [pool.get() for _ in range(MAX_IDLE_PIPES)]:
        pool.put(pipe, empty=False)
    assert descriptors.used == 0


@linux
def test_out_of_descriptors_in_the_system_means_no_pipe(monkeypatch):
    pool = PipePool(descriptors := Descriptors(1000))

    def no_pipe(flags):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "pipe2", no_pipe)
    assert pool.get() is None
    assert (pool.lent, descriptors.used) == (0, 0)


@linux
@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOMEM, errno.EBUSY])
def test_a_pipe_that_cannot_grow_is_used_as_it_is(monkeypatch, error):
    real = fcntl.fcntl

    def refuse(fd, command, *args):
        if command == fcntl.F_SETPIPE_SZ:
            raise OSError(error, os.strerror(error))
        return real(fd, command, *args)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    before = open_descriptors()
    pipe = Pipe()
    assert pipe.size > 0
    pipe.close()
    assert open_descriptors() == before
