"""A listener: its sockets, its limits, and the way from an accepted client to a :class:`lb.connection.Connection`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

import trio

from lb.address import Address, client_of
from lb.connection import Connection
from lb.connection_context import ConnectionContext
from lb.counts import Count, LocalCount
from lb.errors import describe_error
from lb.events import AcceptPaused, AcceptResumed, Sink
from lb.explain.sampling import Sampler
from lb.greeting import Gate
from lb.greeting_factory import make_gate
from lb.model import ListenerSpec
from lb.pool import Pool
from lb.route import Route, make_route
from lb.server_names import find
from lb.splicing.deadlines import DeadlineQueue, Deadlines
from lb.splicing.descriptors import Descriptors
from lb.splicing.splicer import Acceptor, Splicer

__all__ = ["Listener", "Pressure"]

SIDES = 2
"""Descriptors of a connection."""
TURN = 8
"""Clients that a process accepts before it lets the others that listen on the same socket go first.

The system wakes whoever has listened longest of those who wait: on a quiet day that would be one for nearly all.
To step back costs two system calls.
"""
CALM = 1.0
"""Seconds without another shortage after which one is over: under sustained load they come one after the other."""


class Pressure:
    """Says once when descriptors run out, and lets all listeners go on when some are free.

    ``others`` is for a process that shares its listening sockets: it makes the other processes look at the backlogs,
    when this one cannot take who comes. ``worker`` is the number of such a process.
    """

    def __init__(
        self,
        descriptors: Descriptors,
        deadlines: Deadlines,
        sink: Sink,
        others: Callable[[], None] | None = None,
        worker: int | None = None,
    ) -> None:
        self.listeners: set[Listener] = set()
        self.descriptors = descriptors
        self._sink = sink
        self.shared = others is not None
        """Other processes listen on the same sockets."""
        self._others = others
        self._worker = worker
        self._aside = False
        self._paused = False
        self._calm = deadlines.queue("calm", CALM)
        descriptors.on_free = self._resume

    def pause(self, reason: str) -> None:
        self._calm.touch(self, trio.current_time())
        if not self._paused:
            self._paused = True
            self._sink(AcceptPaused(reason, self._worker))

    def _resume(self) -> None:
        self._aside = False
        for listener in self.listeners:
            listener.resume()

    def _stand_aside(self, others: Callable[[], None]) -> None:
        """Whoever comes now shall be somebody else's, and so shall who has just come."""
        for listener in self.listeners:
            listener.stand_aside()
        if not self._aside:
            self._aside = True
            others()

    def may_accept(self) -> bool:
        """True if there are descriptors for both sides of one more connection."""
        if not self.descriptors.has(SIDES):
            self.pause(f"all {self.descriptors.limit} file descriptors for connections are in use")
            if self._others is not None:
                self._stand_aside(self._others)
            return False
        return True

    def expired(self, queue: DeadlineQueue) -> None:
        """No shortage for a while: unless there is one still, it is over."""
        if not self.descriptors.has(SIDES):
            queue.touch(self, trio.current_time())
            return
        self._paused = False
        self._sink(AcceptResumed(self._worker))


class Listener:
    """One listener of the configuration while it runs; survives reloads, with the sockets that stay."""

    def __init__(
        self,
        spec: ListenerSpec,
        pools: Mapping[str, Pool],
        *,
        splicer: Splicer,
        deadlines: Deadlines,
        pressure: Pressure,
        context: ConnectionContext,
        count: Count | None = None,
    ) -> None:
        self.count = LocalCount() if count is None else count
        """Open connections."""
        self.total = 0
        """Connections ever accepted, by this process."""
        self.bound: dict[Address, list[socket.socket]] = {}
        self._acceptors: dict[Address, list[Acceptor]] = {}
        self._splicer = splicer
        self._deadlines = deadlines
        self._pressure = pressure
        self._descriptors = pressure.descriptors
        self._context = context
        self.configure(spec, pools)

    @property
    def active(self) -> int:
        """Open connections, of all processes."""
        return self.count.total

    def configure(self, spec: ListenerSpec, pools: Mapping[str, Pool]) -> None:
        """Take new settings, for connections from now on. Does not touch the sockets.

        ``pools`` by name; those that the settings name are there, and what TLS they need has been made.
        """
        tls = self._context.tls
        self.spec = spec
        self._new_connection = Sampler(spec.explain_sample) if spec.explain_sample else Connection
        self._gate: Gate | None = make_gate(spec, self._context.sources, tls)
        self.route: Route = make_route(pools[spec.pool], self._deadlines, tls)
        self._routes = {name: make_route(pools[pool], self._deadlines, tls) for name, pool in spec.sni or ()}
        queue = self._deadlines.queue
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

    def hand_over(self, address: Address) -> list[socket.socket]:
        """Let go of an address's sockets, which go on listening."""
        for acceptor in self._acceptors.pop(address):
            acceptor.detach()
        return self.bound.pop(address)

    def leave(self, address: Address) -> None:
        """Let go of an address's sockets, which another process has as well, with all who wait there."""
        for sock in self.hand_over(address):
            sock.close()
        self._is_bound()

    def close(self, *addresses: Address) -> None:
        """Stop listening on these addresses. Open connections live on."""
        for address in addresses:
            del self.bound[address]
            for acceptor in self._acceptors.pop(address):
                acceptor.close()
        self._is_bound()

    def _is_bound(self) -> None:
        if not self.bound:
            self._pressure.listeners.discard(self)

    def stand_aside(self) -> None:
        """Until resumed, leave clients to the other processes."""
        for acceptors in self._acceptors.values():
            for acceptor in acceptors:
                acceptor.stand_aside()

    def resume(self) -> None:
        """Accept again what has waited in the backlog."""
        for acceptors in self._acceptors.values():
            for acceptor in acceptors:
                acceptor.resume()

    def _may_accept(self) -> bool:
        if 0 < self.spec.max_connections <= self.active:
            return False
        return self._pressure.may_accept()

    def _accepted(self, sock: socket.SocketType, peer: object) -> None:
        self.count.add(1)
        self.total += 1
        self._descriptors.take(SIDES)
        if self._pressure.shared and not self.total % TURN:
            self.stand_aside()
            self.resume()
        connection = self._new_connection(self._context, self, sock, client_of(peer))
        if self._gate is None:
            connection.start()
        else:
            self._gate.begin(connection)

    def route_for(self, name: str | None) -> Route:
        """Where a client goes that has asked for a server of this name, "" for none; None if nobody has listened."""
        return (find(self._routes, name) if name else None) or self.route

    def _exhausted(self, error: OSError) -> None:
        self._pressure.pause(describe_error(error))

    def connection_closed(self) -> None:
        """One of this listener's connections has ended.

        Who makes room accepts those who wait for it, whichever process told them to. The count does not say whether
        there was none before: when two make room at once, each may see what the other did.
        """
        self.count.add(-1)
        self._descriptors.give(SIDES)
        if self.spec.max_connections:
            self.resume()
