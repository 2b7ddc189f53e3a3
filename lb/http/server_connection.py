"""A connection to a server: it carries one exchange after the other, and is idle in between."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from lb.http.server_carrier import ServerCarrier, ServerExchange
from lb.http1.body import LengthBody, MessageBody, UntilCloseBody
from lb.http1.chunks import ChunkWalker
from lb.http1.coding import coding_for
from lb.http1.field import Field
from lb.http1.grammar import MalformedError
from lb.http1.head_buffer import HEAD_END, HeadBuffer
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead, ResponseHeads
from lb.model import ServerSpec
from lb.model.tls import PoolTlsSpec
from lb.net.deadlines import DeadlineQueue
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.relay.epoll_loop import EpollLoop
from lb.tls.layer import Tls

if TYPE_CHECKING:
    from lb.http.flow import Coding

__all__ = ["ConnectionSettings", "ServerConnection", "ServerConnectionOwner"]

SHORT_HEAD = 1024
"""Bytes of a head that no limit is below."""
USUAL_HEAD = 4096
"""Bytes in which the end of a head is looked for first."""


class ServerConnectionOwner(Protocol):
    """The owner of idle connections."""

    def forget(self, connection: ServerConnection) -> None:
        """An idle connection ends."""

    def closed(self, connection: ServerConnection) -> None:
        """A connection that was kept once will never be kept again: it is closed, or relayed from now on."""


@attrs.frozen(eq=False)
class ConnectionSettings:
    """What the connections to the servers of a pool share."""

    pool: Pool
    heads: ResponseHeads
    owner: ServerConnectionOwner
    response_queue: DeadlineQueue
    kept_queue: DeadlineQueue
    keepalive_options: tuple[tuple[int, int, int], ...]
    """Options of TCP keep-alive, set when a connection is kept for the first time."""

    def are_current(self, backend: Backend, spec: ServerSpec, tls: PoolTlsSpec | None) -> bool:
        """Return whether a connection that was made for this server with these settings still is as configured."""
        now = backend.spec
        return (now is spec or now.address == spec.address) and self.pool.spec.tls == tls


class ServerConnection(ServerCarrier):
    """A connected socket of a server of a pool."""

    __slots__ = (
        "_idle_since",
        "_partial",
        "_settings",
        "_spec",
        "_tls_spec",
        "generation",
        "kept",
        "requests",
    )

    def __init__(
        self,
        loop: EpollLoop,
        sock: socket.SocketType,
        tls: Tls | None,
        ready: int,
        backend: Backend,
        settings: ConnectionSettings,
    ) -> None:
        super().__init__(loop, sock, tls, ready)
        self.backend = backend
        self.pool = settings.pool
        self.exchange = self.request_flow = self.response_flow = self.waiting_since = None
        self.generation = 0
        """Of the configuration for which it was kept last."""
        self.kept = False
        """It was kept once, and so has a descriptor of its own."""
        self.requests = 0
        """Requests that it has carried."""
        self._settings = settings
        self._spec = backend.spec
        self._tls_spec = settings.pool.spec.tls
        self._partial: HeadBuffer | None = None
        """A head that has not come completely."""
        self._idle_since = now = loop.turn.now
        settings.response_queue.enter(self, now)
        settings.kept_queue.enter(self, now)

    @property
    def is_current(self) -> bool:
        """True if the configuration of the server still is what the connection was made with."""
        return self._settings.are_current(self.backend, self._spec, self._tls_spec)

    def begin(
        self,
        exchange: ServerExchange,
        asked: RequestHead,  # noqa: ARG002 - the image has it
        head: bytes,
        first: bytes,
        *,
        ended: bool,  # noqa: ARG002 - the framing tells
    ) -> None:
        self.exchange = exchange
        self.requests += 1
        self.write(head + first if first else head)

    def coding(self, head: RequestHead, body: MessageBody) -> Coding | None:
        """In chunks, unless the head has a length."""
        return coding_for(body, in_chunks=head.block.chunked)

    def finish_request(self, trailers: Sequence[Field]) -> None:
        """The framing tells that it has ended."""

    def response_body(self, head: ResponseHead, method: bytes, max_trailer: int) -> MessageBody | None:
        if head.bodiless(method):
            return None
        if head.block.chunked:
            return ChunkWalker(max_trailer)
        return UntilCloseBody() if head.block.length is None else LengthBody(head.block.length)

    @property
    def may_be_stale(self) -> bool:
        return self.requests > 1 and self._partial is None

    def look_for_response(self) -> None:
        self.readable = self.until_eagain = True
        self.continue_later()

    def has_more(self) -> bool:
        if not self.readable or self.unread or self.tls is not None:
            return self.has_input
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.readable = False
        except OSError:
            return True
        return self.readable

    def keep_alive(self) -> None:
        if self.sock.family != socket.AF_UNIX:
            for level, option, value in self._settings.keepalive_options:
                self.sock.setsockopt(level, option, value)

    def became_idle(self) -> None:
        """It is kept for the next request."""
        self._idle_since = self.turn.now
        if self.readable or self.until_eagain:
            self.continue_later()  # the server may have ended it already

    # Calls of the stream

    def on_readable(self) -> None:
        if self.response_flow is not None:
            self.response_flow.pump()
        elif self.exchange is not None:
            self._read_heads(self.exchange)
        else:
            self._read_idle()

    def on_writable(self) -> None:
        if self.request_flow is not None:
            self.request_flow.pump()

    def on_broken(self, error: OSError) -> None:  # noqa: ARG002 - a read tells more
        """The request could not be sent. The server may have answered before: a read tells."""
        if self.request_flow is not None:
            self.request_flow.cancel()
        self.look_for_response()

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the loop
        if self.exchange is not None:
            self.exchange.server_failed(EOFError("a fault"))
        elif not self.closed:
            self._settings.owner.forget(self)
            self.close_socket()

    def _read_idle(self) -> None:
        """An idle server may only end the connection: anything else belongs to no request."""
        try:
            ended = self.read() is not None
        except OSError:
            ended = True
        if ended:
            self._settings.owner.forget(self)
            self.close_socket()

    def _read_heads(self, exchange: ServerExchange) -> None:
        try:
            data = self.read()
            if data is None:
                return
            if not data:
                exchange.server_failed(EOFError("the server has ended the connection"))
                return
            self._take_heads(data)
            if self.readable and self.exchange is not None and self.response_flow is None:
                self.continue_later()  # no other edge tells of what has come together with these bytes
        except (OSError, MalformedError) as error:
            (self.exchange or exchange).server_failed(error)

    def _take_heads(self, data: memoryview) -> None:
        """Pass on the head, and those of interim responses before it. Raises MalformedError."""
        another = True
        while another and data:
            exchange = self.exchange  # an interim response may have put another one in its place
            assert exchange is not None  # noqa: S101 - it waits for a head
            if self._partial is None:
                start = data[:USUAL_HEAD].tobytes()
                lines, found, _ = start.partition(HEAD_END)
                end = len(lines) + len(HEAD_END)
                if found and (end <= SHORT_HEAD or end <= exchange.max_header):
                    start = start[:end]
                    heads = self._settings.heads
                    data = data[end:]
                    another = exchange.response(heads.known.get(start) or heads.read(start), data)
                    continue
            unusual = self._unusual_head(data, exchange.max_header)
            if unusual is None:
                return
            head, data = unusual
            another = exchange.response(self._settings.heads.read(head), data)

    def _unusual_head(self, data: memoryview, longest: int) -> tuple[bytes, memoryview] | None:
        """Return a head that is long, or comes in pieces, and what has come behind it; None if it is not complete.

        Raises MalformedError.
        """
        buffer = self._partial
        if buffer is None:
            buffer = self._partial = HeadBuffer(longest)
        buffer.feed(data)
        head = buffer.take_head()
        if head is None:
            return None
        self._partial = None
        return head, memoryview(buffer.take_all())

    # Deadlines

    def expired(self, queue: DeadlineQueue) -> None:
        """A deadline has passed, or would have if nothing had happened since."""
        self.loop.refresh()
        now = self.turn.now
        if queue is self._settings.response_queue:
            since, exchange = self.waiting_since, self.exchange
            if since is not None and exchange is not None and now - since >= queue.timeout:
                exchange.response_timed_out()
            else:
                queue.renew(self, now if since is None else since)
        elif self.exchange is None and now - self._idle_since >= queue.timeout:
            self._settings.owner.forget(self)
            self.close_socket()
        else:
            queue.renew(self, self._idle_since if self.exchange is None else now)

    def detach(self) -> None:
        self.closed = True  # for a turn that was requested before
        self._settings.response_queue.discard(self)
        self._settings.kept_queue.discard(self)
        if self.kept:
            self._settings.owner.closed(self)

    def close_socket(self, *, reset: bool = False) -> None:
        self.detach()
        super().close_socket(reset=reset)
