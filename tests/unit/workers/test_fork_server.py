"""The fork server: it starts workers, reports how they end, and is replaced when it is gone."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from lb.net.processes import wait_for_exit
from lb.workers.fork_server import ForkServer
from tests.support.processes import children, open_files, process_name

pytestmark = pytest.mark.slow


@pytest.fixture
async def forks(nursery):
    """A fork server that was started as a program, as nobody has begun one before trio ran."""
    server = ForkServer()
    nursery.start_soon(server.run)
    return server


@asynccontextmanager
async def worker(forks, index=0):
    """A worker's process, and our end of its channel; it ends when that is closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = await forks.fork(index, theirs.fileno())
        theirs.close()
        try:
            yield process, ours
        finally:
            process.kill()
            process.close()


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def named(process):
    """Return once a worker has closed what it inherited, and has its name."""
    while "fork" in process_name(process.pid):  # noqa: ASYNC110 - only the system knows
        await trio.sleep(0.001)


def link(fd):
    """What one of our own descriptors is."""
    return str(Path(f"/proc/self/fd/{fd}").readlink())


async def test_a_worker_ends_with_its_channel_and_the_exit_code_is_reported(forks):
    async with worker(forks) as (process, channel):
        channel.close()
        await process.exited()
        assert (process.returncode, process.ended_text) == (0, "exit code 0")


async def test_a_killed_worker_is_reported_with_the_signal(forks):
    async with worker(forks) as (process, _):
        process.kill()
        await process.exited()
        assert process.ended_text == "killed by SIGKILL"
        process.kill()


async def test_a_worker_has_none_of_our_descriptors_and_a_name(forks):
    with socket.socket() as secret:
        os.set_inheritable(secret.fileno(), True)
        async with worker(forks, 1) as (first, _), worker(forks, 2) as (second, _):
            await named(first)
            await named(second)
            assert (process_name(first.pid), process_name(second.pid)) == ("lb worker 1", "lb worker 2")
            links = open_files(second.pid)
            assert links[0] == os.devnull
            assert link(secret.fileno()) not in links.values()


async def test_a_fork_server_that_is_gone_is_replaced_and_its_workers_go_on(forks):
    async with worker(forks) as (first, channel):
        server = parent(first.pid)
        await named(first)  # before that it holds the fork server's socket, too
        os.kill(server, signal.SIGKILL)
        await wait_for_exit(server)
        async with worker(forks) as (second, _):
            assert parent(second.pid) != server
            channel.close()
            await first.exited()
            assert (first.returncode, first.ended_text) == (None, "ended")


async def test_requests_that_are_cancelled_leave_no_worker(forks):
    async with worker(forks) as (process, _):
        server = parent(process.pid)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with trio.move_on_after(0):
                await forks.fork(7, theirs.fileno())
            async with worker(forks):
                pass
        while len(children(server)) > 1:  # noqa: ASYNC110 - only the system knows
            await trio.sleep(0.01)
        assert children(server) == [process.pid]
