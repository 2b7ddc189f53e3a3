"""A listener: its sockets, its limits, and the way from an accepted client to a :class:`lb.connection.Connection`."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import trio

from lb.connection import Connection
from lb.connection_context import ConnectionContext
from lb.deadlines import DeadlineQueue, Deadlines
from lb.descriptors import Descriptors
from lb.errors import describe_error
from lb.events import AcceptPaused, AcceptResumed, ListenerStarted, ListenerStopped, Sink
from lb.model import Address, Client, ListenerSpec
from lb.pool import Pool
from lb.splicer import TCP_OPTIONS, Acceptor, Splicer

__all__ = ["Listener", "Pressure", "open_sockets"]

SIDES = 2
"""Descriptors of a connection."""
CALM = 1.0
"""Seconds without another shortage after which one is over: under sustained load they come one after the other."""


class Pressure:
    """Says once when descriptors run out, and lets all listeners go on when some are free."""

    def __init__(self, descriptors: Descriptors, deadlines: Deadlines, sink: Sink) -> None:
        self.listeners: set[Listener] = set()
        self._descriptors = descriptors
        self._sink = sink
        self._paused = False
        self._calm = deadlines.queue("calm", CALM)
        descriptors.on_free = self._resume

    def pause(self, reason: str) -> None:
        self._calm.touch(self, trio.current_time())
        if not self._paused:
            self._paused = True
            self._sink(AcceptPaused(reason))

    def _resume(self) -> None:
        for listener in self.listeners:
            listener.resume()

    def may_accept(self) -> bool:
        """True if there are descriptors for both sides of one more connection."""
        if not self._descriptors.has(SIDES):
            self.pause(f"all {self._descriptors.limit} file descriptors for connections are in use")
            return False
        return True

    def accepted(self) -> None:
        self._descriptors.take(SIDES)

    def closed(self) -> None:
        self._descriptors.give(SIDES)

    def expired(self, queue: DeadlineQueue) -> None:
        """No shortage for a while: unless there is one still, it is over."""
        if not self._descriptors.has(SIDES):
            queue.touch(self, trio.current_time())
            return
        self._paused = False
        self._sink(AcceptResumed())


class Listener:
    """One listener of the configuration while it runs; survives reloads, with the sockets that stay."""

    def __init__(
        self,
        spec: ListenerSpec,
        pool: Pool,
        *,
        splicer: Splicer,
        deadlines: Deadlines,
        pressure: Pressure,
        context: ConnectionContext,
        sink: Sink,
    ) -> None:
        self.active = 0
        """Open connections."""
        self.total = 0
        """Connections ever accepted."""
        self.bound: dict[Address, list[socket.socket]] = {}
        self._acceptors: dict[Address, list[Acceptor]] = {}
        self._full = False
        self._splicer = splicer
        self._deadlines = deadlines
        self._pressure = pressure
        self._context = context
        self._sink = sink
        self.configure(spec, pool)

    def configure(self, spec: ListenerSpec, pool: Pool) -> None:
        """Take new settings, for connections from now on. Does not touch the sockets."""
        self.spec = spec
        self.pool = pool
        queue = self._deadlines.queue
        self.connect_queue: DeadlineQueue = queue("connect", pool.spec.connect_timeout)
        self.hold_queue: DeadlineQueue = queue("hold", pool.spec.hold_timeout)
        self.idle_queue: DeadlineQueue = queue("idle", spec.idle_timeout)
        self.half_close_queue: DeadlineQueue = (
            queue("half_close", spec.half_close_timeout)
            if spec.half_close_timeout <= spec.idle_timeout
            else self.idle_queue
        )
        for sockets in self.bound.values():
            for sock in sockets:
                sock.listen(spec.backlog)
        self.resume()

    def open(self, address: Address, sockets: list[socket.socket]) -> None:
        """Accept on these sockets, too, which are bound to ``address``."""
        self._pressure.listeners.add(self)
        self.bound[address] = sockets
        self._acceptors[address] = [
            self._splicer.listen(sock, may_accept=self._may_accept, accepted=self._accepted, exhausted=self._exhausted)
            for sock in sockets
        ]
        for sock in sockets:
            self._sink(ListenerStarted(self.spec.name, socket_name(sock)))

    def hand_over(self, address: Address) -> list[socket.socket]:
        """Let go of an address's sockets, which go on listening."""
        for acceptor in self._acceptors.pop(address):
            acceptor.detach()
        return self.bound.pop(address)

    def close(self, *addresses: Address) -> None:
        """Stop listening on these addresses. Open connections live on."""
        for address in addresses:
            names = [socket_name(sock) for sock in self.bound.pop(address)]
            for acceptor in self._acceptors.pop(address):
                acceptor.close()
            if address.is_unix:
                with suppress(OSError):  # gone, or not ours to remove any more; nothing depends on it
                    Path(address.path).unlink()
            for name in names:
                self._sink(ListenerStopped(self.spec.name, name))
        if not self.bound:
            self._pressure.listeners.discard(self)

    def resume(self) -> None:
        """Accept again what has waited in the backlog."""
        for acceptors in self._acceptors.values():
            for acceptor in acceptors:
                acceptor.resume()

    def _may_accept(self) -> bool:
        if 0 < self.spec.max_connections <= self.active:
            self._full = True
            return False
        return self._pressure.may_accept()

    def _accepted(self, sock: socket.SocketType, peer: object) -> None:
        self.active += 1
        self.total += 1
        self._pressure.accepted()
        Connection(self._context, self, sock, client_of(peer)).start()

    def _exhausted(self, error: OSError) -> None:
        self._pressure.pause(describe_error(error))

    def connection_closed(self) -> None:
        """One of this listener's connections has ended."""
        self.active -= 1
        self._pressure.closed()
        if self._full:
            self._full = False
            self.resume()


def client_of(peer: object) -> Client:
    """The client from what accept says of the peer. An IPv4 client of a dual-stack socket is plain IPv4, RFC 4291."""
    if not isinstance(peer, tuple):
        return Client("", 0)
    if len(peer) == 2:
        return Client._make(peer)
    host = peer[0]
    return Client(host.removeprefix("::ffff:") if "." in host else host, peer[1])


def socket_name(sock: socket.socket) -> str:
    """The address a socket is bound to, as the configuration writes it."""
    name = sock.getsockname()
    return str(Client(name[0], name[1])) if isinstance(name, tuple) else f"unix:{name}"


def open_sockets(address: Address, backlog: int) -> list[socket.socket]:
    """Bind and listen. Raises OSError whose text says what could not be bound, and why.

    A host name binds all that it resolves to; an empty host all addresses of both families with one socket, where the
    system has IPv6.
    """
    opened: list[socket.socket] = []
    try:
        for family, target in _bind_targets(address):
            sock = socket.socket(family, socket.SOCK_STREAM)
            opened.append(sock)
            _bind(sock, address, target)
            sock.setblocking(False)
            sock.listen(backlog)
    except OSError as error:
        for sock in opened:
            sock.close()
        raise OSError(error.errno, f"cannot listen on {address}: {describe_error(error)}") from error
    return opened


def _bind_targets(address: Address) -> list[tuple[socket.AddressFamily, object]]:
    if address.is_unix:
        return [(socket.AF_UNIX, address.path)]
    if not address.host:
        if socket.has_dualstack_ipv6():
            return [(socket.AF_INET6, ("::", address.port))]
        return [(socket.AF_INET, ("0.0.0.0", address.port))]  # noqa: S104 - asked for by ":port"
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, target) for family, _, _, _, target in found))


def _bind(sock: socket.socket, address: Address, target: object) -> None:
    if address.is_unix:
        _remove_stale(address.path)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for level, option in TCP_OPTIONS:
            sock.setsockopt(level, option, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(address.host)))
    sock.bind(target)  # type: ignore[arg-type]


def _remove_stale(path: str) -> None:
    """Remove the socket file of a process that is gone. Raises OSError (EADDRINUSE) if somebody still listens there."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return  # bind will say that the path is in use
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        error = probe.connect_ex(path)
    if error != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    Path(path).unlink()
