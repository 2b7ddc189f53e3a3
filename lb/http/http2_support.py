"""What a listener needs to speak HTTP/2. Its code is loaded only if the configuration offers it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from lb.http1.request_head import RequestHeads
from lb.model.address import Client
from lb.relay.bandwidth import SharedBucket
from lb.relay.epoll_loop import EpollLoop
from lb.tls.layer import Tls

__all__ = ["FirstConnection", "Http2Support", "Multiplexed"]


class FirstConnection(Protocol):
    """A client that was let in, and turns out to speak HTTP/2."""

    id: int
    client: Client
    accepted_at: float
    loop: EpollLoop
    sock: socket.SocketType
    tls: Tls | None
    received: int
    sent: int
    scheme: bytes
    trusted: bool
    forwarded_lines: bytes
    buckets: Sequence[tuple[SharedBucket, SharedBucket]]

    @property
    def ready(self) -> int: ...

    @property
    def destination(self) -> Client | None: ...

    @property
    def peer(self) -> Client | None: ...

    @property
    def tlvs(self) -> bytes: ...

    def hand_over(self) -> tuple[bytes, tuple[Callable[[], None], ...]]:
        """Leave the client to another owner. Return the bytes that were read ahead, and what is to be called at the
        end."""


class Multiplexed(Protocol):
    """A connection that carries several requests at a time."""

    def drain(self) -> None:
        """The listener accepts no more: end the connection once its requests have ended."""


class Http2Support(Protocol):
    """The connections of a listener."""

    def configure(self, heads: RequestHeads, max_header: int) -> None:
        """Apply new settings. ``heads`` is made for this."""

    def take_over(self, first: FirstConnection, begun: bytes = b"") -> None:
        """Serve a client that speaks HTTP/2 from now on. ``begun``: what was read of its preface."""
