"""A body on its way from one stream to another.

A flow reads no more than the receiver accepts, so a slow receiver slows the sender down. Framing that stays the same is
passed on as it came, checked; large plain bodies move by splice, without a copy. What the receiver must get in another
framing, or compressed, is decoded and encoded anew by a :class:`Coding`.
"""

from __future__ import annotations

import os
from typing import Protocol

from lb.http.pace import Pace
from lb.http1.body import MessageBody, UntilCloseBody
from lb.http1.grammar import MalformedError
from lb.relay.epoll_loop import BUFFER
from lb.relay.epoll_relay import BULK, SPLICE, SUSTAINED
from lb.relay.epoll_stream import EpollStream
from lb.relay.pipes import Pipe

__all__ = ["Coding", "Flow", "FlowOwner", "part_of_body"]


class Coding(Protocol):
    """Decodes a body's bytes and encodes them in another way."""

    @property
    def paused(self) -> bool:
        """Bytes are in work elsewhere: feed nothing before :meth:`Flow.pump` is called again."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body, framing included. Return what the receiver gets for them."""

    def finish(self) -> bytes:
        """Return what the receiver gets at the end of the body."""


class FlowOwner(Protocol):
    """The owner of a flow."""

    def flow_ended(self, flow: Flow) -> None:
        """The body has passed. Some of its bytes may be unsent."""

    def flow_failed(self, flow: Flow, stream: EpollStream, error: Exception) -> None:
        """One side failed: OSError, EOFError if it ended too early, or MalformedError."""


def part_of_body(body: MessageBody, data: memoryview, source: EpollStream) -> memoryview:
    """Return what of these bytes belongs to the body; what is behind it goes back to their source.

    Raises MalformedError.
    """
    if body.left >= len(data):
        body.moved(len(data))
        return data
    taken = body.walk(data)
    if taken < len(data):
        source.give_back(bytes(data[taken:]))
    return data[:taken]


class Flow:
    """``body`` flows from ``source`` to ``sink``. Call :meth:`pump` to start it, and when a side is ready.

    ``kept`` receives a copy of at most ``keep`` bytes. With more, the copy is given up: ``kept`` becomes None.
    """

    __slots__ = (
        "_bulk",
        "_coding",
        "_owner",
        "_pipe",
        "_piped",
        "body",
        "ended",
        "keep",
        "kept",
        "moved",
        "pace",
        "sink",
        "source",
        "written",
    )

    def __init__(
        self, source: EpollStream, sink: EpollStream, body: MessageBody, owner: FlowOwner, coding: Coding | None = None
    ) -> None:
        self.source = source
        self.sink = sink
        self.body = body
        self.moved = 0
        """Bytes of the body that the source has sent, framing included."""
        self.written = 0
        """Bytes of it for the sink: others than those, if there is a coding."""
        self.ended = False
        self.kept: bytearray | None = None
        self.keep = 0
        self.pace: Pace | None = None
        """Limits what is read; None = no limit."""
        self._owner = owner
        self._coding = coding
        self._bulk = body.left > BULK
        self._pipe: Pipe | None = None
        self._piped = 0

    def pump(self) -> None:
        """Move bytes until the body ends, a side is not ready, or the turn's budget is used up."""
        source, sink = self.source, self.sink
        try:
            while not self.ended:
                if self._piped:
                    if not sink.writable or not self._empty_pipe():
                        return
                elif sink.unsent or (self._coding is not None and self._coding.paused):
                    return
                elif self.body.done:
                    self._end()
                elif not source.has_input or not sink.writable or not self._step():
                    return
        except MalformedError as error:
            self._fail(source, error)
        finally:
            if self.pace is not None and not source.queued:
                self.pace.pause()

    def coded(self, data: bytes) -> None:
        """The coding has finished a piece elsewhere."""
        if not self.ended:
            if data:
                self._write(data)
            self.pump()

    def _step(self) -> bool:
        """Move some bytes. Return False if there are none for now."""
        source, turn = self.source, self.source.turn
        if turn.budget <= 0 and self._bulk:
            source.continue_later()
            return False
        if self._bulk and self.body.left > BULK and self._may_splice():
            return self._splice()
        most = BUFFER  # more than the body's rest: a short read says that nothing is behind it
        if self.pace is not None:
            most = self.pace.allowed(most)
            if not most:
                return False
        try:
            data = source.read(most)
        except OSError as error:
            self._fail(source, error)
            return False
        if data is None:
            return False
        if not data:
            self._source_ended()
            return False
        turn.budget -= len(data)
        if self.pace is not None:
            self.pace.take(len(data))
        self._bulk = len(data) >= BULK
        self._pass_on(data)
        return True

    def _pass_on(self, data: memoryview) -> None:
        data = part_of_body(self.body, data, self.source)
        self.moved += len(data)
        if self.kept is not None:
            self._keep(data)
        out: bytes | memoryview = data if self._coding is None else self._coding.feed(bytes(data))
        if out:
            self._write(out)

    def _write(self, data: bytes | memoryview) -> None:
        self.written += len(data)
        try:
            self.sink.write(data)
        except OSError as error:
            self._fail(self.sink, error)

    def _keep(self, data: memoryview) -> None:
        assert self.kept is not None  # noqa: S101 - the caller has looked
        if len(self.kept) + len(data) > self.keep:
            self.kept = None
        else:
            self.kept += data

    def _source_ended(self) -> None:
        if isinstance(self.body, UntilCloseBody):
            self.body.done = True
            self._end()
        else:
            self._fail(self.source, EOFError("the body is cut short"))

    # Bulk

    def _may_splice(self) -> bool:
        source, sink = self.source, self.sink
        return (
            source.tls is None
            and sink.tls is None
            and source.spliced
            and sink.spliced
            and self._coding is None
            and self.kept is None
            and self.pace is None
            and not source.unread
            and self._get_pipe()
        )

    def _get_pipe(self) -> bool:
        if self._pipe is None:
            self.source.bound_buffer()
            self._pipe = self.source.turn.pipes.get()
        return self._pipe is not None

    def _splice(self) -> bool:
        source, pipe = self.source, self._pipe
        assert pipe is not None  # noqa: S101 - see _may_splice
        try:
            count = os.splice(source.sock.fileno(), pipe.write, min(self.body.left, pipe.size), flags=SPLICE)
        except BlockingIOError:
            source.readable = False
            self._return_pipe()
            return False
        except OSError as error:
            self._fail(source, error)
            return False
        if not count:
            self._return_pipe()
            self._source_ended()
            return False
        self.body.moved(count)
        self.moved += count
        self.written += count
        self._piped = count
        source.received += count
        source.turn.budget -= count
        self._bulk = count >= BULK // 2
        source.streak = source.streak + count if self._bulk else 0
        if source.streak >= SUSTAINED and self.body.left > SUSTAINED:
            source.loop.gather(source)
        return True

    def _empty_pipe(self) -> bool:
        """Write the pipe's bytes to the sink. Return True if none are left."""
        sink, pipe = self.sink, self._pipe
        assert pipe is not None  # noqa: S101 - it holds bytes
        try:
            while self._piped:
                sent = os.splice(pipe.read, sink.sock.fileno(), self._piped, flags=SPLICE)
                self._piped -= sent
                sink.sent += sent
        except BlockingIOError:
            sink.writable = False
            return False
        except OSError as error:
            self._fail(sink, error)
            return False
        if not (self.source.readable and self._bulk and self.body.left):
            self._return_pipe()
        return True

    def _return_pipe(self) -> None:
        if self._pipe is not None:
            self.source.turn.pipes.put(self._pipe, empty=not self._piped)
            self._pipe = None
            self._piped = 0

    # The end

    def _end(self) -> None:
        if self._coding is not None:
            rest = self._coding.finish()
            if rest:
                self._write(rest)
        if not self.ended:
            self.cancel()
            self._owner.flow_ended(self)

    def _fail(self, stream: EpollStream, error: Exception) -> None:
        if not self.ended:
            self.cancel()
            self._owner.flow_failed(self, stream, error)

    def cancel(self) -> None:
        """Stop, without a call to the owner."""
        self.ended = True
        if self.pace is not None:
            self.pace.end()
        self._return_pipe()
        if self.source.streak >= SUSTAINED and not self.source.closed:
            self.source.streak = 0
            self.source.wake_at(1)
