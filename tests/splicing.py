"""A splicer under test: an owner that notes what it is told, and two sockets joined by a relay."""

from __future__ import annotations

import math
import socket
from contextlib import asynccontextmanager

import attrs
import trio
import trio.testing

from lb.deadlines import Deadlines
from lb.descriptors import Descriptors
from lb.splicer_factory import make_splicer


class Owner:
    """Owns connects and relays, and remembers what became of them."""

    def __init__(self):
        self.server = None
        self.error = None
        self.ended = None
        self.expirations = []
        self._told = trio.Event()

    def _tell(self):
        self._told.set()
        self._told = trio.Event()

    def connected(self, server):
        self.server = server
        self._tell()

    def connect_failed(self, error):
        self.error = error
        self._tell()

    def relay_ended(self, ended_by, reason):
        assert self.ended is None, "ended twice"
        self.ended = (ended_by, reason)
        self._tell()

    def expired(self, queue):
        self.expirations.append(queue.kind)
        self._tell()

    async def until(self, condition):
        with trio.fail_after(10):
            while not condition(self):
                await self._told.wait()


@attrs.define
class Joined:
    """``client`` and ``server`` are the outer ends; bytes written to one come out of the other."""

    client: trio.SocketStream
    server: trio.SocketStream
    relay: object
    owner: Owner


class Bench:
    """A running splicer, and the listening socket of a server that accepts."""

    def __init__(self, splicer, deadlines, descriptors):
        self.splicer = splicer
        self.deadlines = deadlines
        self.descriptors = descriptors
        self.joined = []

    async def join(self, *, idle=math.inf, half_close=math.inf, buffer=None) -> Joined:
        """Two TCP connections over loopback with a relay between; ``buffer`` limits all their kernel buffers."""
        with socket.socket() as front, socket.socket() as back:
            for listening in (front, back):
                if buffer:
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
                listening.bind(("127.0.0.1", 0))
                listening.listen()
            outer = trio.socket.socket()
            if buffer:
                outer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                outer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            await outer.connect(front.getsockname())
            accepted, _ = front.accept()
            accepted.setblocking(False)
            owner = Owner()
            self.splicer.connect((socket.AF_INET, back.getsockname()), owner)
            await owner.until(lambda owner: owner.server or owner.error)
            server, _ = back.accept()
        relay = self.splicer.relay(
            accepted,
            owner.server,
            owner,
            idle=self.deadlines.queue("idle", idle),
            half_close=self.deadlines.queue("half_close", half_close),
        )
        client = trio.SocketStream(outer)
        joined = Joined(client, trio.SocketStream(trio.socket.from_stdlib_socket(server)), relay, owner)
        self.joined.append(joined)
        return joined

    def forget(self, joined):
        """The test has closed the relay itself."""
        self.joined.remove(joined)
        joined.client.socket.close()
        joined.server.socket.close()


@asynccontextmanager
async def running_splicer(limit=1000):
    """Any fault that the splicer reports fails the test."""
    faults = []

    def fault(where, exception):
        faults.append((where, exception))

    descriptors = Descriptors(limit)
    splicer = make_splicer(descriptors, fault)
    deadlines = Deadlines(fault=fault)
    bench = Bench(splicer, deadlines, descriptors)
    async with trio.open_nursery() as nursery:
        await nursery.start(splicer.run)
        nursery.start_soon(deadlines.run)
        yield bench
        for joined in list(bench.joined):
            if joined.owner.ended is None:
                joined.relay.close(reset=True)
                await trio.testing.wait_all_tasks_blocked()
            bench.forget(joined)
        nursery.cancel_scope.cancel()
    assert not faults
