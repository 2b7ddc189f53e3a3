"""The splicer of a rehearsal: accepts simulated clients, connects simulated servers, and relays for a while."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import trio

from lb.net.deadlines import DeadlineQueue
from lb.net.outgoing import Outgoing
from lb.relay.splicer import TIMEOUTS, ConnectingOwner, Handshake, RelayOwner, RunningHandshake
from lb.tools.rehearse.servers import VirtualServer
from lb.tools.rehearse.sockets import ListeningSocket, ServerSocket, VirtualAcceptor, VirtualClient
from lb.tools.rehearse.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from lb.events import EndedBy, Reason
    from lb.model.address import SocketAddress
    from lb.model.timing import Histogram
    from lb.relay.bandwidth import Bandwidth
    from lb.tls.layer import Tls

__all__ = ["VirtualSplicer"]


class VirtualConnecting:
    """Implements :class:`lb.relay.splicer.Connecting`."""

    __slots__ = ("_owner", "_server", "_socket")

    def __init__(self, server: VirtualServer, sock: ServerSocket, owner: ConnectingOwner) -> None:
        self._server = server
        self._socket = sock
        self._owner: ConnectingOwner | None = owner

    def due(self) -> None:
        """The connect succeeds or fails now."""
        if self._owner is None or self._server.condition == "unreachable":
            return
        error = self._server.refusal()
        if error is None:
            self._owner.connected(cast("socket.SocketType", self._socket))
        else:
            self._owner.connect_failed(error)

    def cancel(self) -> None:
        self._owner = None


class VirtualRelay:
    """Implements :class:`lb.relay.splicer.Relay`, and :class:`lb.tools.rehearse.servers.Session`."""

    __slots__ = ("_client", "_clock", "_ends_at", "_idle", "_left", "_owner", "_server", "_stalled_at")
    bytes_in = 0
    bytes_out = 0

    def __init__(
        self, clock: VirtualClock, client: VirtualClient, server: VirtualServer, owner: RelayOwner, idle: DeadlineQueue
    ) -> None:
        self._clock = clock
        self._client = client
        self._server = server
        self._owner = owner
        self._idle = idle
        self._left = client.length * server.slowness
        """Remaining seconds of the session."""
        self._ends_at = math.inf
        self._stalled_at = math.nan
        server.sessions[self] = None
        if client.gone:
            self._clock.after(0, self._give_up)
        elif server.stuck:
            self.stall()
        else:
            self.resume()

    def resume(self) -> None:
        self._idle.discard(self)
        self._stalled_at = math.nan
        self._ends_at = self._clock.now + self._left
        self._clock.at(self._ends_at, self._due)

    def stall(self) -> None:
        now = self._stalled_at = self._clock.now
        if self._ends_at != math.inf:
            self._left = self._ends_at - now
        self._ends_at = math.inf
        self._idle.enter(self, now)
        if self._client.patience != math.inf:
            self._clock.after(self._client.patience, self._patience_over)

    def _due(self) -> None:
        if self._clock.now == self._ends_at:
            self._end("client", "eof")
            self._client.served()

    def _patience_over(self) -> None:
        if self._clock.now >= self._stalled_at + self._client.patience:
            self._give_up()

    def _give_up(self) -> None:
        self._end("client", "reset")

    def cut(self) -> None:
        self._end("server", "reset")

    def expired(self, queue: DeadlineQueue) -> None:
        """End the session: the server was silent for too long."""
        self._end("lb", TIMEOUTS[queue.kind])

    def _end(self, ended_by: EndedBy, reason: Reason) -> None:
        if self in self._server.sessions:
            self._forget()
            self._owner.relay_ended(ended_by, reason)

    def close(self, *, reset: bool) -> None:  # noqa: ARG002 - no difference here
        self._forget()

    def _forget(self) -> None:
        del self._server.sessions[self]
        self._idle.discard(self)
        self._ends_at = self._stalled_at = math.nan


class VirtualSplicer:
    """Implements :class:`lb.relay.splicer.Splicer`. Calls ``joined(waited)`` with the waiting time of each client."""

    def __init__(
        self, clock: VirtualClock, servers: dict[SocketAddress, VirtualServer], joined: Callable[[float], None]
    ) -> None:
        self._clock = clock
        self._sockets = {address: ServerSocket(server) for address, server in servers.items()}
        self._joined = joined
        self.batches = self.edges = 0  # the virtual clock runs all calls
        self.costly_waiting, self.crowded = 0, False

    def when_few_costly(self, callback: Callable[[], None]) -> None:
        """Do nothing: no steps wait for a turn."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """No effect: the virtual clock runs all calls."""
        task_status.started()

    def listen(
        self,
        listening: socket.socket,
        *,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],  # noqa: ARG002 - resources are unlimited
    ) -> VirtualAcceptor:
        virtual = cast("ListeningSocket", listening)
        virtual.acceptor = acceptor = VirtualAcceptor(virtual, self._clock, may_accept, accepted)
        acceptor.resume()
        return acceptor

    def connect(
        self,
        address: SocketAddress,
        owner: ConnectingOwner,
        outgoing: Outgoing | None = None,  # noqa: ARG002 - virtual sockets have no options
    ) -> VirtualConnecting:
        sock = self._sockets[address]
        connecting = VirtualConnecting(sock.server, sock, owner)
        self._clock.after(sock.server.connect_time(), connecting.due)
        return connecting

    def handshake(self, sock: socket.SocketType, handshake: Handshake) -> RunningHandshake:
        """Raise an error: bytes are not simulated. A virtual configuration has no filters and no server handshakes."""
        raise NotImplementedError

    def relay(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        idle: DeadlineQueue,
        half_close: DeadlineQueue,  # noqa: ARG002 - both sides end at the same time
        first_byte: Histogram | None,  # noqa: ARG002 - bytes are not simulated
        client_tls: Tls | None = None,  # noqa: ARG002
        server_tls: Tls | None = None,  # noqa: ARG002
        bandwidth: Bandwidth | None = None,  # noqa: ARG002
    ) -> VirtualRelay:
        virtual = cast("VirtualClient", client)
        self._joined(self._clock.now - virtual.arrived)
        return VirtualRelay(self._clock, virtual, cast("ServerSocket", server).server, owner, idle)
