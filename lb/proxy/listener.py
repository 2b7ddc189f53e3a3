"""A listener: its sockets, its limits, its admission of accepted clients."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Mapping, Sequence

import trio

from lb.events import AcceptPaused, AcceptResumed, Sink
from lb.model import ListenerSpec, OptionalProxies
from lb.model.address import Address, Networks, client_of
from lb.model.server import Count, LocalCount
from lb.net.deadlines import DeadlineQueue, Deadlines
from lb.net.descriptors import Descriptors
from lb.net.errors import describe_error
from lb.net.sockets import set_options
from lb.pools.pool import Pool
from lb.proxy.access_filter import AccessFilter, AccessOnly
from lb.proxy.context import ConnectionContext
from lb.proxy.filters import Admission, Filter, FilterChain
from lb.proxy.mode import Mode, make_mode
from lb.proxy.proxy_header_filter import ProxyHeaderFilter, TrustedProxies
from lb.proxy.tls_filters import TlsFilter
from lb.relay.splicer import Acceptor

__all__ = ["Listener", "Pressure", "make_admission"]

SIDES = 2
"""Descriptors per connection."""
ACCEPT_TURN = 8
"""Clients that a worker accepts before it moves behind the other workers that listen on the same socket.

The kernel wakes the process that has waited longest on the socket. Under low load, that would be the same one for
nearly all clients. Moving back costs two system calls.
"""
STEP_BACK = 0.05
"""Seconds for which a worker leaves new clients to the others, if it has clearly more connections than one of them.

Clients that stay for long would otherwise stay uneven for as long.
"""
LONG_TURN = 512
"""Clients that a worker accepts before it steps back again, if no other worker took a client: they may all hang."""
CALM = 1.0
"""Seconds without a shortage until accepting counts as resumed. Under sustained load, shortages follow each other."""


class Pressure:
    """Pauses accepting when descriptors run out, reports it once, and resumes all listeners when some are free.

    ``others`` is for a worker, which shares its listening sockets: it makes the other workers check the backlogs when
    this one cannot accept. ``worker`` is the worker's number.
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
        self._standing_aside = False
        self._paused = False
        self._calm = deadlines.queue("calm", CALM)
        descriptors.on_free = self._resume

    def pause(self, reason: str) -> None:
        self._calm.touch(self, trio.current_time())
        if not self._paused:
            self._paused = True
            self._sink(AcceptPaused(reason, self._worker))

    def _resume(self) -> None:
        self._standing_aside = False
        for listener in self.listeners:
            listener.resume()

    def _stand_aside(self, others: Callable[[], None]) -> None:
        """Leave new clients, and those in the backlogs, to other processes."""
        for listener in self.listeners:
            listener.stand_aside()
        if not self._standing_aside:
            self._standing_aside = True
            others()

    def may_accept(self) -> bool:
        """Return True if descriptors are left for both sides of one more connection."""
        if not self.descriptors.has(SIDES):
            self.pause(f"all {self.descriptors.limit} file descriptors for connections are in use")
            if self._others is not None:
                self._stand_aside(self._others)
            return False
        return True

    def expired(self, queue: DeadlineQueue) -> None:
        """There was no new shortage for CALM seconds. Report the end, unless descriptors are still short."""
        if not self.descriptors.has(SIDES):
            queue.touch(self, trio.current_time())
            return
        self._paused = False
        self._sink(AcceptResumed(self._worker))

    def handshakes_wait(self, listener: Listener, count: int) -> None:
        """So many handshakes wait for the CPU that this listener accepts no more. Other processes may."""
        self.pause(f"{count} TLS handshakes are waiting")
        if self._others is not None:
            listener.stand_aside()
            self._others()


class Listener:
    """A running listener of the configuration. It survives reloads, with the sockets that stay."""

    def __init__(
        self,
        spec: ListenerSpec,
        pools: Mapping[str, Pool],
        *,
        pressure: Pressure,
        context: ConnectionContext,
        count: Count | None = None,
    ) -> None:
        self.count = LocalCount() if count is None else count
        """Open connections."""
        self.total = 0
        """Connections accepted by this process since its start."""
        self.bound: dict[Address, list[socket.socket]] = {}
        self.spec = spec
        self.mode: Mode
        """The mode that handles its clients."""
        self._acceptors: dict[Address, list[Acceptor]] = {}
        self._pressure = pressure
        self._descriptors = pressure.descriptors
        self._context = context
        self._turn_left = ACCEPT_TURN
        self._others = 0
        """Connections of the other workers when this one stepped back."""
        self._stepped_back = False
        """Other workers have fewer connections: they get the new clients for now."""
        self._step_back = context.deadlines.queue("step_back", STEP_BACK) if pressure.shared else None
        self._mode_name = ""
        self.configure(spec, pools)

    @property
    def active(self) -> int:
        """Open connections, of all processes."""
        return self.count.total

    def configure(self, spec: ListenerSpec, pools: Mapping[str, Pool]) -> None:
        """Apply new settings to new connections. Listening sockets do not change.

        ``pools`` maps names to pools. It contains those that the settings name, and their TLS contexts exist.
        """
        before, self.spec = self.spec, spec
        if spec.mode != self._mode_name:
            self.mode = make_mode(spec.mode, self._context, self.connection_closed)
            self._mode_name = spec.mode
        self.mode.configure(spec, pools)
        self.admission = make_admission(spec, self._context, self.mode.filters(spec))
        if spec.sockets != before.sockets:
            for sock in itertools.chain.from_iterable(self.bound.values()):
                set_options(sock, spec.sockets)
                sock.listen(spec.backlog)
        self.resume()

    def open(self, address: Address, sockets: list[socket.socket]) -> None:
        """Accept on further sockets, which are bound to ``address``."""
        self._pressure.listeners.add(self)
        self.bound[address] = sockets
        self._acceptors[address] = [
            self._context.splicer.listen(
                sock, may_accept=self._may_accept, accepted=self._accepted, exhausted=self._exhausted
            )
            for sock in sockets
        ]

    def hand_over(self, address: Address) -> list[socket.socket]:
        """Stop accepting on an address and return its sockets, which keep listening."""
        for acceptor in self._acceptors.pop(address):
            acceptor.detach()
        return self.bound.pop(address)

    def leave(self, address: Address) -> None:
        """Stop accepting on an address, whose sockets and backlog another process serves too."""
        self.hand_over(address)
        self._discard_if_unbound()

    def close(self, address: Address) -> list[Acceptor]:
        """Listen on an address no more. Open connections continue.

        Return its acceptors, still to be finished: :meth:`Acceptor.finish` accepts the clients in the backlog. The
        sockets stay open. Their owner closes them after that.
        """
        self._stepped_back = False
        del self.bound[address]
        self._discard_if_unbound()
        return self._acceptors.pop(address)

    def _discard_if_unbound(self) -> None:
        if not self.bound:
            self._pressure.listeners.discard(self)
            self.mode.drain()

    def stand_aside(self) -> None:
        """Leave clients to the other processes until resumed."""
        for acceptors in self._acceptors.values():
            for acceptor in acceptors:
                acceptor.stand_aside()

    def resume(self) -> None:
        """Accept clients again, including those in the backlog."""
        self._stepped_back = False
        for acceptors in self._acceptors.values():
            for acceptor in acceptors:
                acceptor.resume()

    def _may_accept(self) -> bool:
        if self._stepped_back:
            return False
        if 0 < self.spec.max_connections <= self.active:
            return False
        if self.spec.tls is not None and self._context.splicer.crowded:
            self._pressure.handshakes_wait(self, self._context.splicer.costly_waiting)
            return False
        return self._pressure.may_accept()

    def _accepted(self, sock: socket.SocketType, peer: object) -> None:
        self.count.add(1)
        self.total += 1
        self._descriptors.take(SIDES)
        if self._step_back is not None:
            self._turn_left -= 1
            if not self._turn_left:
                self._end_turn(self._step_back)
        downstream = self.mode.accepted(sock, client_of(peer))
        if self.admission is None:
            downstream.start()
        else:
            self.admission.begin(downstream)

    def _end_turn(self, step_back: DeadlineQueue) -> None:
        """Let the other workers accept."""
        self.stand_aside()
        if self.count.ahead:
            self._stepped_back = True
            self._others = self.count.others
            step_back.touch(self, self._context.clock())
        else:
            self._turn_left = ACCEPT_TURN
            self.resume()

    def expired(self, queue: DeadlineQueue) -> None:  # noqa: ARG002 - there is only one queue
        """This worker has stepped back for long enough. Its turns are short while others accept and it is ahead."""
        self._turn_left = LONG_TURN if self.count.others == self._others else 1
        self.resume()

    def _exhausted(self, error: OSError) -> None:
        self._pressure.pause(describe_error(error))

    def connection_closed(self) -> None:
        """A connection of this listener has ended.

        The process that frees a slot accepts waiting clients, whichever process had made them wait. The shared count
        does not tell whether the listener was full: when two processes free slots at once, each may see the other's
        change.
        """
        self.count.add(-1)
        self._descriptors.give(SIDES)
        if self.spec.max_connections:
            self.resume()


def make_admission(
    spec: ListenerSpec, context: ConnectionContext, mode_filters: Sequence[Filter] = ()
) -> Admission | None:
    """Return the admission of a listener's clients; None for a plain listener, which serves them at once.

    Cheap filters come before expensive ones: a denied client costs no handshake. Filters of the mode come last.
    """
    limited = spec.allow or spec.deny or spec.max_per_source or spec.rate_per_source
    access = AccessFilter(spec, context.source_limits) if limited else None
    before: list[Filter] = []
    if isinstance(spec.accept_proxy, OptionalProxies):
        before.append(ProxyHeaderFilter(spec.accept_proxy))
    elif isinstance(spec.accept_proxy, Networks):
        before += [TrustedProxies(spec.accept_proxy), ProxyHeaderFilter()]
    elif spec.accept_proxy:
        before.append(ProxyHeaderFilter())
    after: list[Filter] = []
    if spec.tls is not None:
        after.append(TlsFilter(context.tls[spec.tls]))
    after += mode_filters
    if not (before or after):
        return AccessOnly(access) if access else None
    deadlines = context.deadlines.queue("header", spec.header_timeout)
    return FilterChain([*before, *([access] if access else []), *after], deadlines)
