"""The splicer interface: accept a client, connect to a server, relay between them. It has two implementations.

:mod:`lb.relay.epoll_splicer` is the fast one: one trio task drives a private edge-triggered epoll, with plain function
calls per ready socket. :mod:`lb.relay.portable_splicer` is the portable one: plain trio tasks. It serves as the
specification of the fast one.
All callbacks of a splicer are plain functions. They must not raise. The splicer never calls them from inside a call to
one of its own methods.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping
from typing import Protocol

import trio

from lb.events import EndedBy, Reason
from lb.model.address import SocketAddress
from lb.model.timing import Histogram
from lb.net.deadlines import DeadlineQueue
from lb.net.outgoing import Outgoing
from lb.relay.bandwidth import Bandwidth
from lb.tls.layer import Tls

__all__ = [
    "ACCEPTS",
    "ACCEPT_GO_ON",
    "EXHAUSTED_PAUSE",
    "MOST_WAITING",
    "TIMEOUTS",
    "Acceptor",
    "Connecting",
    "ConnectingOwner",
    "Handshake",
    "Relay",
    "RelayOwner",
    "RunningHandshake",
    "Splicer",
]

ACCEPT_GO_ON = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "ENETDOWN",
        "EPROTO",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENETUNREACH",
        "EPERM",
        "EINTR",
    )
    if hasattr(errno, name)
)
"""``accept`` errors of a single connection that is already gone: accept the next. From accept(2), "Error handling"."""
EXHAUSTED_PAUSE = 0.1
"""Seconds until accept is retried when the system is out of descriptors. Trio's serve_listeners uses the same pause."""
ACCEPTS = 16
"""Clients accepted from one listening socket before other sockets are served: about a millisecond."""
MOST_WAITING = 4096
"""Maximum clients accepted from the backlog before a listener closes: the usual somaxconn. More may be refused."""
TIMEOUTS: Mapping[str, Reason] = {"idle": "idle_timeout", "half_close": "half_close_timeout"}
"""The reason when a relay's deadline passes, by the kind of its deadline queue."""


class Acceptor(Protocol):
    """A listening socket that the splicer accepts on."""

    def resume(self) -> None:
        """Check again whether a client may be accepted."""

    def stand_aside(self) -> None:
        """Until resumed, leave new clients to other processes that listen on the same socket."""

    def detach(self) -> None:
        """Stop accepting. The socket keeps listening for another owner."""

    async def finish(self) -> None:
        """Accept the clients in the backlog, while ``may_accept`` allows it, in turns. Then detach the socket."""


class Connecting(Protocol):
    """A connect or a handshake in progress."""

    def cancel(self) -> None:
        """Cancel it and close the socket, without a call to the owner.

        It also works after the connect or the handshake has succeeded, until the socket is relayed.
        """


class RunningHandshake(Connecting, Protocol):
    """A handshake in progress."""

    def wake(self) -> None:
        """Let it proceed, though the socket is not ready."""


class ConnectingOwner(Protocol):
    """The owner of a connect in progress."""

    def connected(self, server: socket.SocketType) -> None:
        """The connect succeeded. The owner must relay or close the socket."""

    def connect_failed(self, error: OSError) -> None:
        """The connect failed. Its socket is closed."""


class Handshake(Protocol):
    """What is exchanged with one peer before the relay: a PROXY header, a ClientHello, a TLS handshake."""

    @property
    def costly(self) -> bool:
        """The next step costs milliseconds, as public-key cryptography does. Other sockets are served between two."""

    @property
    def writing(self) -> bool:
        """It waits until the socket accepts bytes, not for bytes."""

    @property
    def unread(self) -> int:
        """Bytes that it has left in the socket, at least. It proceeds when there are more."""

    def proceed(self) -> bool:
        """Read and write until the socket would block. Return True if the handshake is over, well or not."""

    def failed(self) -> None:
        """``proceed`` raised because of a bug."""


class Relay(Protocol):
    """Two joined sockets. Bytes flow both ways until both ends have finished."""

    @property
    def bytes_in(self) -> int:
        """Bytes sent to the server."""

    @property
    def bytes_out(self) -> int:
        """Bytes sent to the client."""

    def close(self, *, reset: bool) -> None:
        """Close both sides now, without a call to the owner.

        ``reset`` sends RST, so that a truncated stream does not look complete.
        """


class RelayOwner(Protocol):
    """The owner of a relay."""

    def relay_ended(self, ended_by: EndedBy, reason: Reason) -> None:
        """Both sides are closed.

        ``eof``: ``ended_by`` is the side that finished first. ``reset``: ``ended_by`` is the side that was reset, or
        ``lb`` after a bug. A timeout: there was no activity for that time. Bytes that one side did not accept are cut
        with a reset.
        """


class Splicer(Protocol):
    """Accepts clients, connects to servers and relays. Nothing happens unless ``run`` is running."""

    @property
    def batches(self) -> int:
        """Batches of ready sockets handled so far; 0 if the splicer has no batches."""

    @property
    def edges(self) -> int:
        """Ready sockets in all batches."""

    @property
    def costly_waiting(self) -> int:
        """Costly steps of handshakes that wait for their turn; 0 if the splicer has no turns."""

    @property
    def crowded(self) -> bool:
        """True if so many of them wait that no more such clients should be accepted."""

    def when_few_costly(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` each time that :attr:`crowded` has been true and few costly steps are left."""

    async def run(self, *, task_status: trio.TaskStatus[None] = ...) -> None:
        """Serve until cancelled. The other methods may be called once it has started."""

    def listen(
        self,
        listening: socket.socket,
        *,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
    ) -> Acceptor:
        """Accept clients while ``may_accept()`` is true. After it returns False, call :meth:`Acceptor.resume`.

        ``accepted(socket, peer_address)`` receives each client. ``exhausted(error)`` reports that the system is out of
        descriptors or memory; the splicer retries after a pause.
        """

    def connect(self, address: SocketAddress, owner: ConnectingOwner, outgoing: Outgoing | None = None) -> Connecting:
        """Start to connect. Raises OSError if that fails at once; otherwise the owner is called later.

        ``outgoing`` prepares the socket.
        """

    def handshake(self, sock: socket.SocketType, handshake: Handshake) -> RunningHandshake:
        """Run a handshake on an accepted or connected socket: proceed whenever the socket may be ready.

        The first call comes later. A socket has one handshake; once it is over, the socket may be relayed. Until then,
        :meth:`Connecting.cancel` ends the handshake and closes the socket.
        """

    def relay(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        first_byte: Histogram | None,
        client_tls: Tls | None = None,
        server_tls: Tls | None = None,
        bandwidth: Bandwidth | None = None,
    ) -> Relay:
        """Join two connected sockets, which the splicer owns from now on.

        TCP sockets must have the options of :func:`lb.net.tcp.socket_options`.
        ``client_tls`` and ``server_tls`` are the TLS of a side whose handshake is complete.
        ``bandwidth`` limits what is read from both sides.
        The relay waits in ``idle``, and in ``half_close`` after the first side's end. Each transfer restarts the
        deadline. ``first_byte`` receives the time to the server's first byte, counted from the client's first byte if
        that came earlier.
        """
