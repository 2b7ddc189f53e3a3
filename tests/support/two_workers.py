"""Helpers for tests of two workers: which worker carried a connection, and how to use both."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from tests.support.balancer import PATIENCE, connect, request

TWO = "[process]\nworkers = 2"
BOTH = {0, 1}


def pids(lb):
    """Return the workers' process ids by worker number."""
    return {event["worker"]: event["pid"] for event in lb.of("worker.started")}


def worker_of(record):
    """Return the number of the worker that carried this connection, from its id."""
    return (record["id"] - 1) % 2


def served_by(lb, worker):
    """Return the records of the connections that this worker has carried."""
    return [record for record in lb.of("connection.closed") if worker_of(record) == worker]


async def both_serve(lb, sessions):
    """Wait until each worker has carried a session that began from now on."""
    before = [len(served_by(lb, worker)) for worker in (0, 1)]
    with trio.fail_after(PATIENCE):
        while any(len(served_by(lb, worker)) <= count + sessions.clients for worker, count in enumerate(before)):
            await sessions.sessions(10)


@asynccontextmanager
async def connections(port, count):
    """Open ``count`` connections, each with an answer from its server. Closes them at the end of the block.

    Opens them one by one, so that no worker finds several in the backlog and both workers get some.
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
    """Return whether an open connection still carries a line to the server and back."""
    try:
        await stream.send_all(b"echo x\n")
        return await stream.receive_some() == b"x\n"
    except trio.BrokenResourceError:
        return False
