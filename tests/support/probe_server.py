"""Servers for the tests of probes, each on its own port."""

import socket
import struct
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from healthcheck.probe import ProbeFailed, Target
from lb.model.address import Address


def target_at(port, host="127.0.0.1", family=socket.AF_INET):
    text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Target("web", "a", Address.parse(text), ((family, (host, port)),))


@asynccontextmanager
async def server(handle):
    """A server on its own port that runs ``handle(stream)`` for each connection and then closes it."""

    async def serve(stream):
        async with stream:
            await handle(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield target_at(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def says(*chunks, after=0):
    """A server that reads ``after`` bytes (or a whole HTTP request for "request"), then sends these chunks."""

    async def handle(stream):
        heard = b""
        while not heard.endswith(b"\r\n\r\n") if after == "request" else len(heard) < after:
            heard += await stream.receive_some()
        for chunk in chunks:
            await stream.send_all(chunk)

    return handle


async def stays_silent(stream):
    while await stream.receive_some():
        pass


async def resets(stream):
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def failure(probe, target, seconds=5.0):
    """Return why the check fails; it must fail."""
    with pytest.raises(ProbeFailed) as caught:
        with trio.fail_after(seconds):
            await probe.check(target)
    return str(caught.value)
