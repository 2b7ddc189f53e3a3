"""Where the response to a request of the cache goes: into a content, in the place of a client's connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TypeAlias, cast

from lb.cache.content import IN_MEMORY, BodyWriter, Content
from lb.cache.write_at import write_at
from lb.http.carrier import Carrier, ExchangeToServe, Framing
from lb.http.header_edits import FieldChange
from lb.http1.body import MessageBody
from lb.http1.response_head import ResponseHead
from lb.relay.epoll_loop import EpollLoop

__all__ = ["CacheSink", "CreateWriter"]

CreateWriter: TypeAlias = Callable[[Callable[[BodyWriter | None], None]], None]
"""Creates a writer for a long body, and passes it on, now or later; None: the body cannot be stored."""

BEHIND_A_WRITE = 1 << 20
"""Bytes that may come while a thread writes those before: each call of a thread costs as much as a long write."""
_NO_SOCKET = cast("socket.SocketType", None)


class CacheSink(Carrier):
    """Takes a body whose framing is undone. Few bytes stay in memory, more go to what ``create_writer`` makes.

    While it waits for a file, for room in it, or for a slow write, it is not writable, as a socket that takes no more.
    If there is no room, the body passes to those who read along, and is not stored. It has what a response and a flow
    need of a carrier, but no socket.
    """

    __slots__ = ("_ahead", "_create_writer", "_finished", "_writer", "content", "most", "waits")
    spliced = False
    watched = None
    destination = None
    tlvs = b""

    def __init__(self, loop: EpollLoop, carrier: Carrier, content: Content, create_writer: CreateWriter) -> None:
        super().__init__(loop, _NO_SOCKET, None, 0)
        self.id = carrier.id
        self.client = carrier.client
        self.forwarded_lines = carrier.forwarded_lines
        self.must_close = False
        self.request_flow = self.response_flow = None
        self.content = content
        self.most: int | None = None
        """Bytes of the longest body that is stored; None = no limit."""
        content.more_wanted = self._go_on
        self._create_writer = create_writer
        self._writer: BodyWriter | None = None
        self.waits = False
        """For a writer, for room, or for a thread that writes: for the disk."""
        self._ahead = 0
        """Bytes that may wait in memory meanwhile."""
        self._finished: Callable[[bool], None] | None = None

    def response_image(
        self,
        exchange: ExchangeToServe,  # noqa: ARG002 - no head is written
        head: ResponseHead,  # noqa: ARG002
        framing: bytes | None = None,  # noqa: ARG002
        *,
        change: FieldChange | None = None,  # noqa: ARG002
    ) -> bytes:
        return b""

    def framing(
        self,
        exchange: ExchangeToServe,  # noqa: ARG002 - the body is stored without framing
        head: ResponseHead,  # noqa: ARG002
        body: MessageBody | None,  # noqa: ARG002
        *,
        compressed: bool,  # noqa: ARG002
    ) -> Framing:
        return Framing()

    def write_two(self, head: bytes, data: bytes | memoryview) -> None:  # noqa: ARG002 - no head is written
        self.write(data)

    write_whole = write_two

    def write(self, data: bytes | memoryview, *, more: bool = False) -> None:  # noqa: ARG002 - no packets
        """Take bytes of the body. Raises OSError once they are neither stored nor read."""
        content = self.content
        if content.passes and not content.has_readers:
            raise BrokenPipeError
        if self.most is not None and content.size + len(data) > self.most:
            self._give_up(None)
        writer = self._writer
        at_once = writer is not None and not (content.data or self.waits or writer.is_slow)
        if at_once and writer is not None and writer.reserve(len(data)):
            error = _append(writer, content.size, data)
            if error is None:
                content.data_at += len(data)
                content.came(len(data))
                return
            self._give_up(error)
        content.keep(data)
        self._move_to_file()

    def open_file(self) -> None:
        """The body will be long: it goes to a file from the begin."""
        self.waits = True
        self.writable = False
        self._create_writer(self._created)

    def _created(self, writer: BodyWriter | None) -> None:
        self.waits = False
        if writer is None:
            self.content.pass_on()
        elif self.closed or self.content.passes:
            writer.abort()
        else:
            self._writer = writer
            self.content.file = writer.file
            writer.file.acquire()
        if not self.closed:
            self._go_on()

    def _move_to_file(self) -> None:
        """Write what is in memory to the file, unless it is little, or passes only."""
        content, writer = self.content, self._writer
        if self.waits:
            self.writable = len(content.data) < self._ahead
            return
        self._ahead = 0
        if content.passes:
            self.writable = not content.is_full
        elif writer is None:
            if content.size > IN_MEMORY:
                self.open_file()
        elif not writer.reserve(len(content.data)):
            self.waits = True
            self.writable = False
            writer.wait_for_room(len(content.data), self._has_room)
        else:
            self._write_out(writer)

    def _has_room(self, room: bool) -> None:
        self.waits = False
        if self.closed:
            return
        if self._writer is not None:
            if room:
                self._write_out(self._writer)
            else:
                self._give_up(None)
        self._go_on()

    def _write_out(self, writer: BodyWriter) -> None:
        content = self.content
        count = len(content.data)
        if count and writer.is_slow:
            self.waits = True
            self._ahead = BEHIND_A_WRITE
            writer.write_later(content.data_at, bytes(content.data), partial(self._written, count))
        else:
            self._note_written(count, _append(writer, content.data_at, content.data))

    def _written(self, count: int, error: OSError | None) -> None:
        """A thread has written the first bytes that are in memory."""
        self.waits = False
        if self.closed:
            return
        if self._writer is not None:
            self._note_written(count, error)
        self._go_on()

    def _note_written(self, count: int, error: OSError | None) -> None:
        if error is None:
            self.content.in_file(count)
        else:
            self._give_up(error)

    def _give_up(self, error: OSError | None) -> None:
        """The disk does not take the body, or it is too long: it passes only."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abort(error)
        self.content.pass_on()

    def stop_waiting(self) -> None:
        """The disk takes too long: what waits for it, and the rest, passes without."""
        self.waits = False
        self._give_up(None)
        self._go_on()

    def _go_on(self) -> None:
        """There is a file, or room, or it will pass without."""
        self._move_to_file()
        if self.waits:
            return
        self.writable = not self.content.is_full
        if self._finished is not None:
            self._commit(self._finished)
        elif self.writable and self.response_flow is not None:
            self.loop.refresh()
            self.response_flow.pump()

    # The end

    def finish(self, finished: Callable[[bool], None]) -> None:
        """All has come: store it. ``finished(False)``: it is not stored."""
        self._finished = finished
        if not self.waits:
            self._commit(finished)

    def _commit(self, finished: Callable[[bool], None]) -> None:
        self._finished = None
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.commit(self.content.size, finished)
        else:
            finished(not self.content.passes)

    def cancel(self) -> None:
        """The rest will not come, or must not be stored. Nothing is called any more."""
        self.closed = True
        self._finished = None
        del self._create_writer  # its owner knows this sink
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abort()


def _append(writer: BodyWriter, at: int, data: bytes | bytearray | memoryview) -> OSError | None:
    """Write bytes of a body at their place. Return what the disk says if it does not take them."""
    file = writer.file
    began = time.perf_counter()
    try:
        write_at(file.fd, data, file.body_at + at)
    except OSError as error:
        return error.with_traceback(None)  # it would keep a view of the bytes, which then could not be forgotten
    writer.took(time.perf_counter() - began)
    return None
