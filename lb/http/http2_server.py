"""A server's HTTP/2 connection: its socket, and the streams that carry exchanges over it.

What comes is given to the exchanges once all of it is known to the streams: so a short response passes at once. What a
turn has made for all streams is written with one call, at the end of the turn; long bodies are written as they come.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from lb.http.http2_socket import Http2Socket
from lb.http.server_connection import ConnectionSettings
from lb.http.server_stream import ServerStream
from lb.http1.grammar import MalformedError
from lb.http1.response_head import ResponseHead
from lb.http1.wire import field_lines, status_line
from lb.http2.connection import Http2Connection
from lb.http2.errors import Http2Error
from lb.http2.field_section import FieldSection
from lb.http2.hpack_reader import FieldSections
from lb.http2.limits import Http2Limits
from lb.http2.stream import Http2Stream
from lb.net.deadlines import DeadlineQueue
from lb.pools.backend import Backend
from lb.relay.epoll_loop import EpollLoop
from lb.tls.layer import Tls

__all__ = ["Http2Server", "Http2ServerOwner"]

LIMITS = Http2Limits(max_header_list=64 * 1024, stream_window=256 * 1024)
SHORT_READ, LONG_READ = 16 * 1024, 64 * 1024
"""Bytes of a read. Most responses are short, and a larger buffer costs more."""


class Http2ServerOwner(Protocol):
    """The owner of connections that exchanges share."""

    sections: FieldSections
    """Heads of responses that came lately."""

    def allowed(self, backend: Backend) -> int:
        """Return how many streams a server allows at a time on a new connection, as far as that is known."""

    def note_allowed(self, backend: Backend, count: int) -> None:
        """A server has said how many streams it allows."""

    def became_idle(self, connection: Http2Server) -> None:
        """The last exchange of a connection has ended."""

    def closed(self, connection: Http2Server) -> None:
        """A connection has ended."""


class Http2Server(Http2Socket):
    """Implements :class:`lb.http2.receiver.Http2Receiver`."""

    __slots__ = (
        "_has_keep_alive",
        "_heard_at",
        "_idle_since",
        "_owner",
        "_retired",
        "_settings",
        "_spec",
        "_tls_spec",
        "_touched",
        "_write_error",
        "backend",
        "carriers",
        "pool",
        "responses",
    )

    def __init__(
        self,
        loop: EpollLoop,
        sock: socket.SocketType,
        tls: Tls | None,
        ready: int,
        backend: Backend,
        settings: ConnectionSettings,
        owner: Http2ServerOwner,
    ) -> None:
        super().__init__(loop, sock, tls, ready)
        self.backend, self.pool = backend, settings.pool
        self._settings, self._owner = settings, owner
        self._spec, self._tls_spec = backend.spec, settings.pool.spec.tls
        self.carriers: dict[ServerStream, None] = {}
        """The streams with an exchange, in the order of their requests."""
        self.responses = 0
        """Responses that it has carried."""
        self._touched: dict[ServerStream, None] = {}
        """Those for which something has come."""
        self._scheduled = self._writing = self._retired = self._has_keep_alive = False
        self._write_error: OSError | None = None
        """Why the server takes no more. What it has sent before is read still."""
        self.core = Http2Connection(self, LIMITS, owner.sections, is_client=True)
        self._idle_since = self._heard_at = now = loop.turn.now
        settings.response_queue.enter(self, now)
        settings.kept_queue.enter(self, now)
        self.flush_later()
        if self.readable:
            self.continue_later()

    @property
    def is_current(self) -> bool:
        """True if the configuration of the server still is what the connection was made with."""
        return self._settings.are_current(self.backend, self._spec, self._tls_spec)

    @property
    def has_room(self) -> bool:
        """It takes another exchange."""
        most, core = self.pool.spec.http.max_streams, self.core
        if not core.peer.is_known:
            most = min(most, self._owner.allowed(self.backend))
        return len(self.carriers) < most and not self._retired and core.room > 0

    def new_carrier(self) -> ServerStream:
        """Return the carrier of a new exchange. It begins at once."""
        carrier = ServerStream(self)
        self.carriers[carrier] = None
        return carrier

    def left(self, carrier: ServerStream) -> None:
        """The exchange of a stream has ended."""
        self.carriers.pop(carrier, None)
        if not self.carriers and not self.closed:
            self._idle_since = self.turn.now
            self._owner.became_idle(self)

    def keep_alive(self) -> None:
        """Set the options of TCP keep-alive, once."""
        if not self._has_keep_alive and self.sock.family != socket.AF_UNIX:
            self._has_keep_alive = True
            for level, option, value in self._settings.keepalive_options:
                self.sock.setsockopt(level, option, value)

    def retire(self) -> None:
        """Take no further exchange, and close with the last one."""
        self._retired = True
        if not self.carriers:
            self.close_socket()

    # Calls of the loop

    def on_readable(self) -> None:
        self._go_on(self._read)

    def on_broken(self, error: OSError) -> None:
        self._write_failed(error)

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the loop
        self._lost(EOFError("a fault"))

    def _go_on(self, step: Callable[[], None]) -> None:
        """Do a step in which the server may turn out to break the protocol or to be gone, and write what it made."""
        try:
            step()
            self._deliver()
            self._write_out()
        except Http2Error as error:
            self.write_output()
            self._lost(MalformedError(str(error)))
        except OSError as error:
            self._lost(error)

    def _read(self) -> None:
        """Take what the server has sent. Raises Http2Error and OSError."""
        core, turn = self.core, self.turn
        size = SHORT_READ
        while self.has_input and not core.paused and not self.closed:
            if turn.budget <= 0 and size == LONG_READ:
                self.continue_later()
                return
            data = self.read_bytes(size)
            if data is None:
                if self._write_error is not None and not self.readable:
                    raise self._write_error
                return
            if not data:
                self.readable = False
                self._lost(EOFError("the server has ended the connection"))
                return
            self._heard_at = turn.now
            turn.budget -= len(data)
            core.feed(data, turn.now)
            if len(data) >= size:
                size = LONG_READ
            elif not self.until_eagain and self.tls is None:
                return  # a short read: nothing is behind it

    def _resume(self) -> None:
        """Go on with what was held. Raises Http2Error and OSError."""
        self.core.resume(self.turn.now)
        if self.has_input:
            self._read()

    # Writes

    def _write_failed(self, error: OSError) -> None:
        """The server takes no more. It may have answered before, or said what it has not looked at: reads tell."""
        self._write_error = error
        super()._write_failed(error)

    def _write_out(self) -> None:
        try:
            super()._write_out()
        except OSError as error:
            self._write_failed(error)
            self._written()

    def _resumed(self) -> None:
        self._deliver()

    def _written(self) -> None:
        core = self.core
        if core.more or (self.has_input and not core.paused and not self.queued):
            self.flush_later()  # a turn has its share
        if core.draining and not self.carriers:
            self.close_socket()

    # Calls of the core

    def _touch(self, stream: Http2Stream) -> ServerStream | None:
        carrier: ServerStream | None = stream.owner
        if carrier is not None:
            self._touched[carrier] = None
        return carrier

    def _deliver(self) -> None:
        """Give the exchanges what has come for them."""
        touched = self._touched
        while touched:
            carrier = next(iter(touched))
            del touched[carrier]
            if carrier.closed:
                continue
            try:
                carrier.go_on()
            except Exception as exception:  # noqa: BLE001 - a bug in one exchange must not reach another
                self.loop.fault("http", exception)
                carrier.failed(exception)

    def head_received(self, stream: Http2Stream, section: FieldSection, *, ended: bool) -> None:
        carrier = self._touch(stream)
        if carrier is None:
            return
        try:
            head = self._head_of(section)
            if carrier.exchange is not None and section.size > carrier.exchange.max_header:
                raise MalformedError("the head of a response is too large")  # noqa: TRY301 - as what is read of it
        except MalformedError as error:
            carrier.lost(error)
        else:
            self.responses += head.status >= 200
            carrier.head_received(head, ended=ended)

    def _head_of(self, section: FieldSection) -> ResponseHead:
        """Return what a section says, in the form that all of mode http knows. Raises MalformedError."""
        head: ResponseHead | None = section.kept
        if head is None:
            image = b"%s%s\r\n" % (status_line(section.status), field_lines(section.fields))
            head = section.kept = self._settings.heads.read(image)
        return head

    def head_too_large(self, stream: Http2Stream, *, ended: bool) -> None:  # noqa: ARG002 - the rest is not read
        carrier = self._touch(stream)
        if carrier is not None:
            carrier.lost(MalformedError("the head of a response is too large"))

    def data_received(self, stream: Http2Stream, data: memoryview, *, ended: bool) -> None:
        carrier = self._touch(stream)
        if carrier is None:
            self.core.consumed(stream, len(data))
        else:
            carrier.data_received(data, ended=ended)

    def trailers_received(self, stream: Http2Stream, section: FieldSection) -> None:
        carrier = self._touch(stream)
        if carrier is None:
            return
        if carrier.exchange is not None and section.size > carrier.exchange.max_header:
            carrier.lost(MalformedError("the trailers of a response are too large"))
        else:
            carrier.end_received(section)

    def stream_malformed(self, stream: Http2Stream, problem: str) -> None:
        """Servers make no requests."""

    def stream_reset(self, stream: Http2Stream, code: int, *, by_peer: bool) -> None:
        carrier = self._touch(stream)
        if carrier is not None:
            carrier.reset(code, by_peer=by_peer)

    def can_send(self, stream: Http2Stream) -> None:
        carrier: ServerStream | None = stream.owner
        if carrier is not None:
            carrier.can_send()

    def goaway_received(self, last_stream: int, code: int, debug: bytes) -> None:  # noqa: ARG002 - streams were told
        """It takes no further streams: :attr:`has_room` is False from now on."""
        self.flush_later()

    def settings_received(self) -> None:
        """Who needs :attr:`has_room` asks."""
        self._owner.note_allowed(self.backend, self.core.peer.max_streams)

    # Deadlines

    def expired(self, queue: DeadlineQueue) -> None:
        """A deadline has passed, or would have if nothing had happened since."""
        self.loop.refresh()
        now = self.turn.now
        if queue is self._settings.response_queue:
            first = self._time_out(now, queue.timeout)
            if not self.closed:
                queue.renew(self, first)
        elif self.carriers or now - self._idle_since < queue.timeout:
            queue.renew(self, now if self.carriers else self._idle_since)
        else:
            self.close_socket()

    def _time_out(self, now: float, timeout: float) -> float:
        """Tell the exchanges that have waited too long. Return since when the next one waits."""
        first = now
        for carrier in list(self.carriers):
            since, exchange = carrier.waiting_since, carrier.exchange
            if since is None or exchange is None:
                continue
            if now - since < timeout:
                first = min(first, since)
                continue
            self._retired = self._retired or self._heard_at < since  # nobody may be there any more
            exchange.response_timed_out()
        return first

    # The end

    def _lost(self, error: Exception) -> None:
        """The connection has ended, or cannot go on."""
        if self.closed:
            return
        self.close_socket(reset=isinstance(error, MalformedError))
        for carrier in list(self.carriers):
            carrier.lost(error)
            self._touched[carrier] = None
        self._deliver()

    def close_socket(self, *, reset: bool = False) -> None:
        if self.closed:
            return
        if not reset and not self.core.closed:
            self.core.go_away()
            self.write_output()
        self.core.close()
        self._settings.response_queue.discard(self)
        self._settings.kept_queue.discard(self)
        super().close_socket(reset=reset)
        self._owner.closed(self)
