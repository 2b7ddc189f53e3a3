"""Servers for tests, in processes of their own or in the test's, and addresses without a server."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
from contextlib import asynccontextmanager, suppress

import attrs
import trio

import tests.support.backend
from tests.support.balancer import PATIENCE
from tests.support.zygote import zygote


def _own_ports():
    """Return the ports of this process of tests, over and over: another one cannot take what this one found free."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(15_000, 32_000)[number::count]
    start = random.randrange(len(ports))
    return itertools.cycle((*ports[start:], *ports[:start]))


_ports = _own_ports()


def free_port():
    """Return a free port of 127.0.0.1 that stays free: ephemeral ports begin at 32768."""
    for port in itertools.islice(_ports, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no free port found")


class Backend:
    """A server in a process of its own that can be killed and frozen. Runs the ``main`` of a module of its kind."""

    def __init__(self, name, module=tests.support.backend):
        self.name = name
        self.module = module
        self.port = free_port()
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    async def start(self):
        """(Re)start on the same port; returns when it listens."""
        argv = [self.module.__file__, self.name, str(self.port)]
        self.process = zygote().start(self.module.__name__, argv, {**os.environ}, stdout=subprocess.PIPE)
        line = b""
        async with self.process.stdout as output:
            while not line.endswith(b"\n"):
                chunk = await output.receive_some()
                assert chunk, f"the server {self.name} does not start"
                line += chunk

    async def kill(self):
        """Send SIGKILL and wait until its sockets are closed."""
        if self.process is not None:
            self.process.kill()
            await self.process.wait()

    def freeze(self):
        """Send SIGSTOP: the kernel still completes handshakes, but nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def backends(*names, module=tests.support.backend):
    """Run servers in processes of their own during the block."""
    servers = [Backend(name, module) for name in names]
    try:
        async with trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(server.start)
        yield servers
    finally:
        with trio.CancelScope(shield=True):
            for server in servers:
                await server.kill()


@attrs.frozen
class Named:
    """Name and address for :func:`tests.support.balancer.config`, with or without a running server."""

    name: str
    address: str


class Served:
    """A server in the test's process, with its connection counts."""

    def __init__(self, name, address):
        self.name = name
        self.address = address
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.scope = trio.CancelScope()
        self._changed = trio.Event()

    def stop_listening(self):
        """Refuse connects from now on. Open connections continue."""
        self.scope.cancel()

    async def until(self, condition):
        """Wait until ``condition(self)`` is true."""
        with trio.fail_after(PATIENCE):
            while not condition(self):
                await self._changed.wait()

    def note(self, change):
        """Count an opened (1) or closed (-1) connection."""
        self.connections += max(change, 0)
        self.open += change
        self.most_open = max(self.most_open, self.open)
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def media_serving(serve, path, handler):
    """Run a server of a media process, as ``lb.media.http_server.serve_http``, on a unix socket. It must not fail."""
    failures = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.setblocking(False)
        listening.bind(str(path))
        listening.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listening, handler, failures.append)
            yield
            nursery.cancel_scope.cancel()
    assert failures == []


@asynccontextmanager
async def serving(handler=None, *, name="s", address=("127.0.0.1", 0), new_socket=socket.socket):
    """Run a server in this process. ``handler(stream)`` serves a connection; the default is that of ``backend.py``.

    ``address`` is an argument of bind(): a path is a unix socket. ``new_socket(family)`` makes its socket.
    """
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listening = trio.socket.from_stdlib_socket(new_socket(family))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    await listening.bind(address)
    listening.listen(1000)
    served = Served(name, address_text(listening.getsockname()))

    async def serve(stream):
        served.note(1)
        try:
            async with stream:
                with suppress(trio.BrokenResourceError):
                    await (handler(stream) if handler else tests.support.backend.serve(name, stream))
        finally:
            served.note(-1)

    async def accept(connections):
        with served.scope, listening:
            await trio.serve_listeners(serve, [trio.SocketListener(listening)], handler_nursery=connections)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, nursery)
        yield served
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def refusing(name):
    """Reserve an address that refuses every connect: bound, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Named(name, address_text(bound.getsockname()))


@asynccontextmanager
async def filled_backlog(name):
    """Reserve an address where every connect times out: its backlog is full, and nothing accepts."""
    with socket.socket() as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        first.connect(listening.getsockname())
        yield Named(name, address_text(listening.getsockname()))


def address_text(name):
    """Return a socket's name in the syntax of the configuration."""
    if isinstance(name, str):
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def reset_at_close(stream):
    """Make the stream send a reset when closed."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def read_head(stream):
    """Return the head of an HTTP request; None if the client leaves before."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        chunk = await stream.receive_some()
        if not chunk:
            return None
        received += chunk
    return received
