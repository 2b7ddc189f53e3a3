"""What carries exchanges: a client's connection. And an exchange, as the target of its route sees it.

An exchange knows its carrier only as a :class:`Carrier`, so that it does not matter what carries it.
"""

from __future__ import annotations

import abc
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from lb.events import Attempt, RequestReason
from lb.http.file_flow import PartsFlow
from lb.http.flow import Flow
from lb.http.header_edits import FieldChange
from lb.http.pace import Pace
from lb.http.steps import ExchangeView
from lb.http1.body import MessageBody
from lb.http1.field import Field
from lb.http1.response_head import ResponseHead
from lb.model.address import Client
from lb.pools.backend import Backend
from lb.relay.epoll_stream import EpollStream

__all__ = ["WITHOUT_LENGTH", "Carrier", "ExchangeToServe", "Framing", "Responder", "Upstream"]

WITHOUT_LENGTH = (101, 204)
"""Statuses of responses that must not have a Content-Length: RFC 9110, section 8.6."""


class Framing(NamedTuple):
    """How a client learns where the body of a response ends."""

    line: bytes = b""
    """What the head says of it."""
    in_chunks: bool = False
    """The carrier takes the body in chunks."""
    until_close: bool = False
    """The body ends with the connection."""


class Upstream(Protocol):
    """What serves an exchange: its request at the servers of a pool."""

    @property
    def backend(self) -> Backend | None:
        """The leased server."""

    @property
    def used(self) -> Backend | None:
        """The server that has the request; None while it is connected to."""

    @property
    def server_name_used(self) -> str | None:
        """The name of the server that has the request, or that has answered it."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Failed attempts."""

    @property
    def last_activity(self) -> float:
        """When the server's socket was last ready, in seconds."""

    @property
    def stuck(self) -> bool:
        """The server does not take the request's body."""

    @property
    def may_end_unfinished(self) -> bool:
        """The client can tell from the framing of the response that it is not complete."""

    def let_go(self) -> None:
        """The server's socket is relayed from now on. The lease lasts as long."""

    def server_removed(self) -> None:
        """The server was removed from the configuration, and the drain timeout has passed."""

    def server_down(self) -> None:
        """The server went down or was ejected, and its connections are to end."""

    @property
    def done(self) -> bool:
        """Everything is given back."""

    def end(self) -> None:
        """The exchange has ended: give back everything."""


class Carrier(EpollStream, abc.ABC):
    """A client's connection. The attributes ``id`` to ``server_name`` are those of a ProxiedClient."""

    __slots__ = (
        "client",
        "forwarded_lines",
        "id",
        "must_close",
        "request_flow",
        "response_flow",
    )
    id: int
    client: Client
    server_name: str | None = None
    """None: mode http reads no SNI."""
    from_peer = False
    """The client is another worker, which has done all but ask the cache."""
    forwarded_lines: bytes
    """What servers are told of the client in all requests, up to the value of X-Request-Id."""
    must_close: bool
    """The connection ends with the response."""
    request_flow: Flow | None
    """The body on its way from the client."""
    response_flow: Flow | PartsFlow | None
    """The body on its way to the client."""

    knows_chunks = True
    """A body in chunks may be written as it comes from a server."""
    write_whole = EpollStream.write_two
    """The same, of a response that has no more than these two parts: its head and its body."""

    @property
    def watched(self) -> socket.SocketType | None:
        """The client's socket; None: a request of the cache, for nobody in particular."""
        return self.sock

    @property
    @abc.abstractmethod
    def destination(self) -> Client | None:
        """The client's destination, if it is not the socket's own address."""

    @property
    @abc.abstractmethod
    def tlvs(self) -> bytes:
        """The TLVs of its PROXY header."""

    @abc.abstractmethod
    def framing(
        self, exchange: ExchangeToServe, head: ResponseHead, body: MessageBody | None, *, compressed: bool
    ) -> Framing:
        """Return how this client gets the body of a server's response. None: no body follows.

        ``compressed``: it is compressed on the way, so its length is not known.
        """

    @abc.abstractmethod
    def response_image(
        self,
        exchange: ExchangeToServe,
        head: ResponseHead,
        framing: bytes | None = None,
        *,
        change: FieldChange | None = None,
    ) -> bytes:
        """Return a server's head for this client, for :meth:`write_two`.

        ``framing`` is the line of a :class:`Framing`; None = its own Content-Length, or chunks. ``change`` is a change
        of the fields.
        """


class ExchangeToServe(ExchangeView, Protocol):
    """One request and its response, as a target sees them."""

    bytes_in: int
    """Bytes of the request's body that have passed."""
    bytes_out: int
    status: int | None
    """Of the response that has begun."""
    responded_at: float | None
    """When it began, in seconds."""
    cache: str | None
    """What the cache did: one of :data:`lb.cache.zone.CacheResult`."""
    grpc_status: int | None
    """What a call of gRPC has come to."""
    upstream: Upstream | None
    """What serves the exchange. Its ``end`` is called when the exchange ends, unless it is ``done``."""

    @property
    def carrier(self) -> Carrier: ...

    @property
    def told(self) -> FieldChange | None:
        """What servers are told of the client, as a change of the fields; None if no trusted proxy is in front."""

    @property
    def edits(self) -> FieldChange | None:
        """What steps have changed of the fields."""

    @property
    def body(self) -> MessageBody | None:
        """The request's body, if it has one."""

    @property
    def max_header(self) -> int:
        """Maximum bytes of a head, and of trailers."""

    @property
    def expects_continue(self) -> bool:
        """The client waits for ``100 Continue`` before it sends its body."""

    def send_continue(self) -> None:
        """Tell the client to send its body: it is kept here, for another attempt."""

    def fail_call(self, status: int, reason: RequestReason, *, by_deadline: bool = False) -> None:
        """As :meth:`fail`, for a call of gRPC. ``by_deadline``: it has lasted as long as its client waits."""

    def refuse_body(self, status: int) -> None:
        """The request's body is malformed, or too large."""

    def interim(self, head: ResponseHead) -> None:
        """Pass on an interim response (1xx), to clients that know them."""

    def response_begins(self, status: int) -> None:
        """The first byte of the response is sent next."""

    def response_complete(self, *, close: bool = False, trailers: Sequence[Field] = ()) -> None:
        """The whole response was sent, but for what the client has not taken yet.

        ``trailers`` follow a body that was not sent in chunks: those have theirs.
        """

    def switch(self, head: ResponseHead, server: EpollStream, rest: bytes) -> None:
        """The server has agreed to another protocol: relay the bytes from now on. ``rest`` has come behind the head."""

    @property
    def is_limited(self) -> bool:
        """A limit of bandwidth applies: bodies have a pace, also those that have come at once."""

    def request_pace(self, resume: Callable[[], None]) -> Pace | None:
        """Return the limits of the request's body, if there are any. ``resume`` is called when bytes may pass again."""

    def response_pace(self, resume: Callable[[], None]) -> Pace | None:
        """The same of the response's body."""

    def watch_idle(self) -> None:
        """A body is on its way: the idle timeout applies."""

    def client_left(self) -> None:
        """The client has ended the connection, or it was reset."""

    def abort(self, reason: RequestReason) -> None:
        """End now. A response that has begun must not look complete."""


class Responder(Protocol):
    """What answers requests: a pool, files, a redirect, a text. One object serves all requests of a route."""

    def begin(self, exchange: ExchangeToServe) -> None:
        """Answer the request, now or later."""
