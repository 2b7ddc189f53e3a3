"""What the tests of two workers share: who serves whom, and how both get something to do."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from tests.balancer import PATIENCE, connect, request

TWO = "[process]\nworkers = 2"
BOTH = {0, 1}


def pids(lb):
    """The process ids of the workers, by their numbers."""
    return {event["worker"]: event["pid"] for event in lb.of("worker.started")}


def worker_of(record):
    """The number of the worker that numbered this connection."""
    return (record["id"] - 1) % 2


def served_by(lb, worker):
    """The records of the connections that this worker has carried."""
    return [record for record in lb.of("connection.closed") if worker_of(record) == worker]


async def both_serve(lb, sessions):
    """Wait until each worker has carried a session that began from now on."""
    before = [len(served_by(lb, worker)) for worker in (0, 1)]
    with trio.fail_after(PATIENCE):
        while any(len(served_by(lb, worker)) <= count + sessions.clients for worker, count in enumerate(before)):
            await sessions.sessions(10)


@asynccontextmanager
async def connections(port, count):
    """So many open connections, each with a server that has answered; they are closed at the end of the block.

    One after another, so that no worker finds several at once in the backlog, and each gets its turns.
    """
    streams = []
    try:
        for _ in range(count):
            streams.append(await connect(port))
            await request(streams[-1], b"name")
        yield streams
    finally:
        with trio.CancelScope(shield=True):
            for stream in streams:
                await stream.aclose()


async def lives(stream):
    """Whether an open connection still carries a line to the server and back."""
    try:
        await stream.send_all(b"echo x\n")
        return await stream.receive_some() == b"x\n"
    except trio.BrokenResourceError:
        return False
