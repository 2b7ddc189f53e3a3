"""A running loop for files: streams to real sockets, and a directory whose calls go to threads."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager, contextmanager

import trio

from lb.http.file_flow import FilePart
from lb.http.open_files import Directories
from lb.net.deadlines import Deadlines
from lb.net.descriptors import Descriptors
from lb.relay.epoll_loop import EpollLoop, TurnState
from lb.relay.epoll_stream import EpollStream
from lb.relay.pipes import PipePool
from tests.support.balancer import PATIENCE
from tests.support.splicing import connected_sockets


class FlowStream(EpollStream):
    """A stream to a client, with one flow. It owns the flow."""

    __slots__ = ("error", "flow", "over")

    def __init__(self, loop, sock, tls=None):
        super().__init__(loop, sock, tls, 0)
        self.flow = None
        self.error = None
        self.over = trio.Event()

    def on_readable(self):
        if self.flow is not None:
            self.flow.pump()

    def on_writable(self):
        if self.flow.ended:
            self.over.set()
        else:
            self.flow.pump()

    def on_broken(self, error):
        self.flow.cancel()
        self.flow_failed(self.flow, error)

    def failed(self, exception):
        self.flow_failed(self.flow, exception)

    def flow_ended(self, flow):
        assert not self.over.is_set(), "ended twice"
        if not self.unsent:
            self.over.set()

    def flow_failed(self, flow, error):
        assert not self.over.is_set(), "ended twice"
        self.error = error
        self.over.set()
        self.close_socket(reset=True)

    async def until_over(self):
        with trio.fail_after(PATIENCE):
            await self.over.wait()


class Serving:
    """A running loop, and the directories of its process."""

    def __init__(self, loop, deadlines, descriptors, faults):
        self.loop = loop
        self.descriptors = descriptors
        self.faults = faults
        self.directories = Directories(loop, descriptors, deadlines)
        self.calls = 0
        """Calls in threads."""
        spawn = loop.spawn

        def counted(function):
            self.calls += 1
            spawn(function)

        loop.spawn = counted

    @contextmanager
    def stream(self, *, buffer=None, tls=None):
        """A stream of the loop, and the client's socket, which blocks. ``buffer`` bounds what the kernel holds."""
        with connected_sockets() as (ours, theirs):
            if buffer:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sock = socket.SocketType(fileno=os.dup(ours.fileno()))
            sock.setblocking(False)
            ours.close()
            stream = FlowStream(self.loop, sock, tls)
            self.loop.watch(sock.fileno(), stream)
            try:
                yield stream, theirs
            finally:
                if not stream.closed:
                    stream.close_socket()


@asynccontextmanager
async def serving(*, descriptors=10_000):
    """Run a loop. Faults fail the test."""
    faults = []

    def fault(where, exception):
        faults.append(exception)

    budget = Descriptors(descriptors)
    deadlines = Deadlines(fault=fault)
    loop = EpollLoop(turn=TurnState(PipePool(budget)), fault=fault, dedicated=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(loop.run)
        nursery.start_soon(deadlines.run)
        yield Serving(loop, deadlines, budget, faults)
        nursery.cancel_scope.cancel()
    assert faults == []


async def receive_all(sock):
    """Return the bytes until the end, and whether it was a reset."""

    def receive():
        pieces = []
        try:
            while piece := sock.recv(1 << 20):
                pieces.append(piece)
        except ConnectionResetError:
            return b"".join(pieces), True
        return b"".join(pieces), False

    sock.settimeout(PATIENCE)
    with trio.fail_after(PATIENCE):
        return await trio.to_thread.run_sync(receive)


class OpenedFile:
    """A FileSource of a test: it counts uses. With ``slow``, the test calls what is in ``warming``."""

    def __init__(self, path, *, slow=False):
        self.slow = slow
        self.fd = os.open(path, os.O_RDONLY)
        self.uses = 0
        self.intact = True
        self.warming = []

    def part(self, offset, length):
        self.uses += 1
        return FilePart(self, offset, length)

    def is_intact(self):
        return self.intact

    def warm(self, offset, length, done):
        self.warming.append((offset, length, done))
        if not self.slow:
            done(None)

    def is_warmed(self, offset, length):
        return False

    def release(self):
        self.uses -= 1
        if not self.uses:
            os.close(self.fd)


def body_bytes(body):
    """Return the bytes of a body, and release its parts."""
    if isinstance(body, bytes):
        return body
    pieces = []
    for part in body:
        if isinstance(part, FilePart):
            pieces.append(os.pread(part.fd, part.length, part.offset))
            part.release()
        else:
            pieces.append(part)
    return b"".join(pieces)
