"""A splicer under test: an owner that records its calls, and two sockets joined by a relay."""

from __future__ import annotations

import errno
import fcntl
import gc
import hashlib
import math
import socket
import sys
import tempfile
import termios
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio
import trio.testing

from lb.net.deadlines import Deadlines
from lb.net.descriptors import Descriptors
from lb.net.tcp import TCP_OPTIONS
from lb.relay.factory import make_splicer
from tests.support.balancer import PATIENCE

MIB = 1024 * 1024
RESET_AT_CLOSE = b"\1\0\0\0\0\0\0\0"


def reset(end):
    """Close a stream or a socket with a RST (TCP only)."""
    sock = getattr(end, "socket", end)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    sock.close()


def open_descriptors():
    """Return the number of open descriptors of this process."""
    gc.collect()  # close leftovers of earlier tests
    return len(list(Path("/proc/self/fd").iterdir()))


def waiting_bytes(sock, request):
    """Return the bytes in a socket's buffer: ``FIONREAD`` for unread ones, ``TIOCOUTQ`` for unacknowledged ones."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), request, bytes(4)), sys.byteorder)


class Owner:
    """Owns connects and relays, and records their results."""

    def __init__(self, join=None):
        self.server = None
        self.error = None
        self.relay = None
        self.ended = None
        self._join = join
        self._changed = trio.Event()

    def _notify(self):
        self._changed.set()
        self._changed = trio.Event()

    def connected(self, server):
        """Join the two sockets at once, like the product."""
        self.server = server
        if self._join:
            self.relay = self._join(server, self)
        self._notify()

    def connect_failed(self, error):
        self.error = error
        self._notify()

    def relay_ended(self, ended_by, reason):
        assert self.ended is None, "ended twice"
        self.ended = (ended_by, reason)
        self._notify()

    async def until(self, condition):
        with trio.fail_after(PATIENCE):
            while not condition(self):
                await self._changed.wait()


@attrs.define
class Joined:
    """``client`` and ``server`` are the outer ends. Bytes written to one arrive at the other."""

    client: trio.SocketStream
    server: trio.SocketStream
    owner: Owner

    @property
    def relay(self):
        return self.owner.relay


@contextmanager
def connected_sockets():
    """A TCP connection: the accepted socket, which does not block, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@contextmanager
def listening_socket(*, unix=False, buffer=None):
    """A listening socket. ``buffer`` limits the kernel buffers of accepted sockets."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as sock:
        limit_buffers(sock, buffer)
        sock.bind(str(Path(directory) / "s") if unix else ("127.0.0.1", 0))
        sock.listen()
        yield sock


def limit_buffers(sock, size):
    if size:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


class Bench:
    """A running splicer and its relays."""

    def __init__(self, splicer, deadlines, descriptors, faults):
        self.splicer = splicer
        self.deadlines = deadlines
        self.descriptors = descriptors
        self.faults = faults
        self.joined = []

    async def join(
        self,
        *,
        idle=math.inf,
        half_close=math.inf,
        buffer=None,
        unix=False,
        early=None,
        first_byte=None,
        bandwidth=None,
    ):
        """Join two connections with a relay. ``buffer`` limits the kernel buffers of their outer ends.

        ``early(client, server)`` may use the outer sockets before the relay exists.
        """
        with listening_socket(unix=unix, buffer=buffer) as front, listening_socket(unix=unix, buffer=buffer) as back:
            outer = socket.socket(front.family)
            limit_buffers(outer, buffer)
            outer.connect(front.getsockname())
            accepted, _ = front.accept()
            accepted.setblocking(False)

            def join(server, owner):
                if not unix:
                    for level, option in TCP_OPTIONS:
                        accepted.setsockopt(level, option, 1)
                        server.setsockopt(level, option, 1)
                return self.splicer.relay(
                    accepted,
                    server,
                    owner,
                    idle=self.deadlines.queue("idle", idle),
                    half_close=self.deadlines.queue("half_close", half_close),
                    first_byte=first_byte,
                    bandwidth=bandwidth,
                )

            owner = Owner(join)
            self.splicer.connect((back.family, back.getsockname()), owner)
            server, _ = back.accept()
        ends = (trio.SocketStream(trio.socket.from_stdlib_socket(sock)) for sock in (outer, server))
        joined = Joined(*ends, owner)
        if early:
            early(outer, server)
        await owner.until(lambda owner: owner.server)
        self.joined.append(joined)
        return joined

    def forget(self, joined):
        """Close the outer ends. The relay must be closed already."""
        self.joined.remove(joined)
        joined.client.socket.close()
        joined.server.socket.close()


@asynccontextmanager
async def running_splicer(limit=1000, *, dedicated=False):
    """Run a splicer. Any reported fault that the test does not remove from ``faults`` fails the test."""
    faults = []

    def fault(where, exception):
        faults.append((where, exception))

    descriptors = Descriptors(limit)
    splicer = make_splicer(descriptors, fault, dedicated=dedicated)
    deadlines = Deadlines(fault=fault)
    bench = Bench(splicer, deadlines, descriptors, faults)
    async with trio.open_nursery() as nursery:
        await nursery.start(splicer.run)
        nursery.start_soon(deadlines.run)
        try:
            yield bench
        finally:
            for joined in list(bench.joined):
                if joined.owner.ended is None:
                    joined.relay.close(reset=True)
                bench.forget(joined)
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert not faults


def in_order(joined, first):
    """Return the outer ends, starting with the one named ``first``."""
    return (joined.client, joined.server) if first == "client" else (joined.server, joined.client)


async def read_all(stream):
    """Return the digest and the number of all bytes until the end of file."""
    digest, count = hashlib.sha256(), 0
    async for chunk in stream:
        digest.update(chunk)
        count += len(chunk)
    return digest.hexdigest(), count


async def read_until_reset(stream):
    """Return the bytes before the reset."""
    received = b""
    with trio.fail_after(PATIENCE):
        try:
            while data := await stream.receive_some():
                received += data
        except trio.BrokenResourceError as error:
            if error.__cause__.errno == errno.ECONNRESET:
                return received
            raise
    raise AssertionError("the stream ended in order and looks complete")


async def send_until_blocked(stream):
    """Write until the stream blocks. Return the number of bytes."""
    sock, sent, settled = stream.socket._sock, 0, False
    while sent < 64 * MIB:
        try:
            sent += sock.send(bytes(64 * 1024))
            settled = False
        except BlockingIOError:
            if settled:
                break
            await trio.testing.wait_all_tasks_blocked(0.01)  # window updates arrive outside of trio
            settled = True
    return sent


async def send_until_held(joined):
    """Write from the client until the relay holds bytes. The balancer's kernel has acknowledged all of them."""
    sock, sent = joined.client.socket._sock, 0
    while not joined.relay.holds_bytes:
        sent += sock.send(bytes(1000))
        await trio.testing.wait_all_tasks_blocked()
    assert waiting_bytes(sock, termios.TIOCOUTQ) == 0, "some bytes are not acknowledged yet"
    return sent
