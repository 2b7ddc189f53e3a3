"""What moves the bytes: accept a client, connect a server, join the two. One interface, two implementations.

:mod:`lb.splicing.epoll_splicer` is the fast one: a private edge-triggered epoll that one trio task drives, plain
function calls per ready socket. :mod:`lb.splicing.trio_splicer` is the portable one: plain trio tasks; it reads as the
specification of the first. Where a side speaks TLS both do the same: :mod:`lb.splicing.trio_relay`.
Everything a splicer calls back is a plain function that must not raise, and is never called from inside a call of ours.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping
from typing import Protocol

import trio

from lb.address import SocketAddress
from lb.events import EndedBy, Reason
from lb.splicing.deadlines import DeadlineQueue
from lb.timing import Spread
from lb.tls.layer import Layer

__all__ = [
    "ACCEPT_GO_ON",
    "EXHAUSTED_PAUSE",
    "MOST_WAITING",
    "TCP_OPTIONS",
    "TIMEOUTS",
    "Acceptor",
    "Connecting",
    "ConnectingOwner",
    "Relay",
    "RelayOwner",
    "Splicer",
    "end_with_reset",
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
"""``accept`` errors of one connection that is gone already: take the next. From accept(2), "Error handling"."""

TCP_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY),  # small writes go out at once, as they came in
    (socket.SOL_SOCKET, socket.SO_OOBINLINE),  # or a read would skip the byte of urgent data, tcp(7)
)
"""What the sockets of a relay need. Accepted ones inherit it from the listening socket."""

EXHAUSTED_PAUSE = 0.1
"""Seconds until accept is tried again when the system is out of descriptors, as trio's own serve_listeners waits."""

MOST_WAITING = 4096
"""Clients accepted from the backlog before a listener closes; the usual somaxconn. Who comes later may be told so."""

TIMEOUTS: Mapping[str, Reason] = {"idle": "idle_timeout", "half_close": "half_close_timeout"}
"""The reason for the end of a relay whose deadline has passed, by the kind of its queue."""


class Acceptor(Protocol):
    """A listening socket in a splicer's care."""

    def resume(self) -> None:
        """Look again whether a client may be accepted."""

    def stand_aside(self) -> None:
        """Until resumed, leave who comes to other processes that listen on the same socket."""

    def detach(self) -> None:
        """Let go of the socket, which goes on listening, for somebody else."""

    def close(self) -> None:
        """Accept what waits in the backlog, as far as ``may_accept`` allows; then stop listening."""


class Connecting(Protocol):
    """A connect under way."""

    def cancel(self) -> None:
        """Give up, and close the socket; the owner hears no more of it. Also once connected, until it is relayed."""


class ConnectingOwner(Protocol):
    def connected(self, server: socket.SocketType) -> None:
        """The connect worked; the socket is the owner's now, to relay or to close."""

    def connect_failed(self, error: OSError) -> None:
        """The connect failed; its socket is closed."""


class Relay(Protocol):
    """Two sockets joined; bytes go both ways until both ends have finished."""

    @property
    def bytes_in(self) -> int:
        """Bytes handed to the server."""

    @property
    def bytes_out(self) -> int:
        """Bytes handed to the client."""

    def close(self, *, reset: bool) -> None:
        """End both sides now; the owner hears no more of it.

        ``reset`` sends RST, so that nothing cut short looks complete.
        """


class RelayOwner(Protocol):
    def relay_ended(self, ended_by: EndedBy, reason: Reason) -> None:
        """Both sides are closed.

        ``eof``: ``ended_by`` is the side that finished first. ``reset``: the side that was gone; ``lb`` after a bug.
        A timeout: there was no sign of life for so long; bytes that one side would not take are cut with a reset.
        """


class Splicer(Protocol):
    """See the module's text. ``run`` must be running for anything to happen."""

    batches: int
    """Handled so far, each of some sockets that were ready; 0 if it does not work so."""
    edges: int
    """Ready sockets in all batches."""

    async def run(self, *, task_status: trio.TaskStatus[None] = ...) -> None:
        """Serve for ever. The other calls may come once it has started."""

    def listen(
        self,
        listening: socket.socket,
        *,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
    ) -> Acceptor:
        """Accept clients while ``may_accept()``; once it says no, :meth:`Acceptor.resume` has to be called.

        ``accepted(socket, peer_address)`` gets each client. ``exhausted(error)`` is told when the system has no more
        descriptors or memory; the splicer tries again by itself after a pause.
        """

    def connect(self, address: SocketAddress, owner: ConnectingOwner) -> Connecting:
        """Begin to connect. Raises OSError if that fails at once, else the owner is called, later."""

    def relay(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        first_byte: Spread | None,
    ) -> Relay:
        """Join two connected sockets, which belong to the splicer from now on; TCP ones with :data:`TCP_OPTIONS` set.

        The relay waits in ``idle``, from the first side's end in ``half_close``; whenever bytes move it starts anew.
        ``first_byte`` gets the time to the server's first byte: since the client's first, if that came before.
        """

    def release(self, server: socket.SocketType) -> None:
        """Let go of a socket that was connected: somebody else waits for what it says, up to ``relay_layered``."""

    def relay_layered(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        layers: tuple[Layer, Layer],
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        first_byte: Spread | None,
    ) -> Relay:
        """As ``relay``, with the layers of the client's side and of the server's. The server may have been released."""


def end_with_reset(sock: socket.SocketType) -> None:
    """Make the coming close of this socket send a RST: SO_LINGER with no time, socket(7)."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except OSError as error:  # some systems refuse it on a socket whose peer is gone; then there is nobody to tell
        if error.errno not in (errno.EINVAL, errno.ENOTCONN):
            raise
