"""A connect to the target of a client: by this process itself, or through a parent proxy."""

from __future__ import annotations

import abc
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from lb.events import Attempt, EndedBy, Reason
from lb.forward.failure import LOOP, ForwardFailure, of_connect, of_parents
from lb.forward.names import NameLookUp
from lb.forward.race import Race, RaceFailures
from lb.forward.reachable import Addresses, Reachable
from lb.forward.target import ForwardTarget
from lb.http.exchange import ExchangeCarrier
from lb.model.address import Address, Client, SocketAddress
from lb.net.deadlines import DeadlineQueue
from lb.net.errors import describe_error
from lb.net.outgoing import Outgoing
from lb.pools.backend import Backend
from lb.proxy.connector import Connector
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route
from lb.tls.layer import Tls

__all__ = ["Dial", "DialOwner", "DirectDial", "ParentDial", "Wires"]


class DialOwner(Protocol):
    """Who wants to reach a target."""

    def dialed(self, server: socket.SocketType, tls: Tls | None) -> None:
        """The target is ready for the client's bytes, through ``tls`` if the parent speaks TLS."""

    def dial_failed(self, failure: ForwardFailure) -> None:
        """The target was not reached. It may be called within ``start``."""


@attrs.frozen(eq=False)
class Wires:
    """How a listener connects to targets."""

    reachable: Reachable
    outgoing: Outgoing | None
    delay_queue: DeadlineQueue
    """Between two addresses of a target."""
    timeout_queue: DeadlineQueue
    """For all of them together."""
    socket_options: Sequence[tuple[int, int, int]]


class Dial(abc.ABC):
    """One connect, with what the record of the connection tells of it."""

    attempts: tuple[Attempt, ...] = ()
    """Failed attempts."""
    connect_ms: float | None = None
    """Duration of the successful attempt in milliseconds."""
    pool = ""
    """That of the parents; empty without."""

    def __init__(self, context: ConnectionContext, reachable: Reachable, target: ForwardTarget) -> None:
        self.target = target
        self._context = context
        self._reachable = reachable
        self._owner: DialOwner | None = None

    @property
    def backend(self) -> Backend | None:
        """The leased parent."""
        return None

    def start(self, owner: DialOwner) -> None:
        """Refuse what can be refused, then connect."""
        self._owner = owner
        self._judge_and_connect()

    def _judge_and_connect(self) -> None:
        refused = self._reachable.refusal(self.target, tunnel=True)
        if refused is not None:
            self._fail(refused)
        else:
            self._connect()

    def _succeed(self, server: socket.SocketType, tls: Tls | None) -> None:
        owner, self._owner = self._owner, None  # a tunnel lasts longer, and needs no owner
        assert owner is not None  # noqa: S101 - it ends once
        owner.dialed(server, tls)

    def _fail(self, failure: ForwardFailure) -> None:
        owner, self._owner = self._owner, None
        assert owner is not None  # noqa: S101 - it ends once
        owner.dial_failed(failure)

    @abc.abstractmethod
    def _connect(self) -> None: ...

    @abc.abstractmethod
    def cancel(self) -> None:
        """Stop, without further calls to the owner."""

    def server_removed(self) -> None:  # noqa: B027 - without parents there is nothing to do
        """The parent was removed from the configuration."""

    def release(self) -> None:  # noqa: B027 - the same
        """Give back the lease, if there is one."""


class DirectDial(Dial):
    """Connects to the target itself. Implements RaceOwner."""

    _look_up: NameLookUp | None = None
    _race: Race | None = None
    _began = 0.0

    def __init__(self, context: ConnectionContext, wires: Callable[[], Wires], target: ForwardTarget) -> None:
        """``wires()`` are those of the listener's configuration now."""
        self._current_wires = wires
        self._wires = wires()
        super().__init__(context, self._wires.reachable, target)

    def _connect(self) -> None:
        found = self._reachable.at_once(self.target)
        if found is None:
            self._look_up = self._reachable.look_up(self.target, self._looked_up)
        else:
            self._race_for(found)

    def _looked_up(self, found: Addresses | ForwardFailure) -> None:
        self._look_up = None
        wires = self._current_wires()
        if wires is self._wires or isinstance(found, ForwardFailure):
            self._race_for(found)
            return
        self._wires, self._reachable = wires, wires.reachable  # another configuration judges it
        self._judge_and_connect()

    def _race_for(self, found: Addresses | ForwardFailure) -> None:
        if isinstance(found, ForwardFailure):
            self._fail(found)
            return
        wires = self._wires
        self._began = self._context.clock()
        self._race = Race(self._context, found, wires.outgoing, self, wires.delay_queue, wires.timeout_queue)
        self._race.start()

    def won(self, server: socket.SocketType, target: SocketAddress) -> None:  # noqa: ARG002 - any of them will do
        self._race = None
        self.connect_ms = (self._context.clock() - self._began) * 1000
        for level, option, value in self._wires.socket_options:
            server.setsockopt(level, option, value)
        self._succeed(server, None)

    def lost(self, failures: RaceFailures) -> None:
        self._race = None
        spent = (self._context.clock() - self._began) * 1000
        self.attempts = tuple(Attempt(_text(address), describe_error(error), spent) for address, error in failures)
        self._fail(of_connect(failures[-1][1]))

    def cancel(self) -> None:
        if self._look_up is not None:
            self._look_up.cancel()
        if self._race is not None:
            self._race.cancel()
        self._look_up = self._race = None


class ParentDial(Dial):
    """Has a parent connect to the target. Implements ConnectorOwner and ParentClient, for ``client``."""

    def __init__(
        self,
        context: ConnectionContext,
        reachable: Reachable,
        target: ForwardTarget,
        route: Route,
        client: ExchangeCarrier,
        via: bytes,
    ) -> None:
        super().__init__(context, reachable, target)
        self.pool = route.pool.name
        self.authority = target.text
        self.via = via
        self.id = client.id
        self.client: Client = client.client
        self.server_name: str | None = None
        self._carrier: ExchangeCarrier | None = client
        self._connector = Connector(context, route, self, context.clock())

    @property
    def backend(self) -> Backend | None:
        return self._connector.backend

    def _connect(self) -> None:
        if self._reachable.is_own(self.target):  # the parent may be on this host
            self._fail(LOOP)
        else:
            self._connector.start()

    # The client, as the connector and a PROXY header see it

    @property
    def sock(self) -> socket.SocketType:
        return self._present.sock

    @property
    def watched(self) -> socket.SocketType | None:
        return self._present.sock

    @property
    def destination(self) -> Client | None:
        return self._present.destination

    @property
    def tlvs(self) -> bytes:
        return self._present.tlvs

    @property
    def tls(self) -> Tls | None:
        return self._present.tls

    @property
    def _present(self) -> ExchangeCarrier:
        """The client's connection, which a tunnel has no more."""
        assert self._carrier is not None  # noqa: S101 - the connector asks before it has connected
        return self._carrier

    # Calls of the connector

    def connected(self, server: socket.SocketType, tls: Tls | None) -> None:
        self._carrier = None
        self.attempts, self.connect_ms = self._connector.attempts, self._connector.connect_ms
        self._succeed(server, tls)

    def no_server(self, ended_by: EndedBy, reason: Reason) -> None:
        self.attempts = self._connector.attempts
        if ended_by == "client":
            self._present.lost("client", reason)
        else:
            self._fail(of_parents(reason, self.attempts))

    def failed(self) -> None:
        self._present.lost("lb", "reset")

    # The end

    def server_removed(self) -> None:
        self._connector.server_removed()

    def cancel(self) -> None:
        self._connector.cancel()

    def release(self) -> None:
        self._connector.release()


def _text(address: SocketAddress) -> str:
    assert isinstance(address[1], tuple)  # noqa: S101 - a target has no path
    return Address.of(*address[1][:2]).text
