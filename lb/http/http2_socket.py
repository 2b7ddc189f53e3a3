"""The socket of a connection of HTTP/2, on either side: writes what its core has made, at the end of a turn."""

from __future__ import annotations

import abc
from collections.abc import Callable

from lb.http2.connection import Http2Connection
from lb.relay.epoll_stream import EpollStream

__all__ = ["Http2Socket"]


class Http2Socket(EpollStream, abc.ABC):
    """A subclass sets ``core``, and ``_scheduled`` and ``_writing`` to False."""

    __slots__ = ("_scheduled", "_writing", "core")
    busiest = (*EpollStream.busiest, "again", "flush_later", "write_output", "_write_out")
    core: Http2Connection
    _scheduled: bool
    """A turn was asked for, to write."""
    _writing: bool

    @abc.abstractmethod
    def _go_on(self, step: Callable[[], None]) -> None:
        """Do a step in which the peer may turn out to break the protocol or to be gone, and write what it made."""

    @abc.abstractmethod
    def _resume(self) -> None:
        """Go on with what was held, and read. Raises Http2Error and OSError."""

    @abc.abstractmethod
    def _resumed(self) -> None:
        """The core has gone on after a write: there may be something for exchanges."""

    @abc.abstractmethod
    def _written(self) -> None:
        """All was written that the socket takes. The connection may be over, or need another turn."""

    def again(self) -> None:
        if self._scheduled:
            self._scheduled = False
            if not self.closed:
                self._go_on(self._resume)
        else:
            super().again()

    def on_writable(self) -> None:
        self._go_on(self._resume)

    def flush_later(self) -> None:
        """Write at the end of the turn."""
        if not self._scheduled and not self.closed:
            self._scheduled = True
            self.loop.later(self)

    def write_output(self) -> bool:
        """Write what there is now. Return True if the socket has taken all."""
        if not self.unsent and not self.closed:
            try:
                self.write_pieces(self.core.take_pieces())
            except OSError as error:
                self._write_failed(error)
                return False
        return not self.unsent

    def _write_failed(self, error: OSError) -> None:  # noqa: ARG002 - a read tells more
        """The peer takes no more. What it has sent before is read still."""
        self.unsent, self.writable = b"", False
        self.readable = self.until_eagain = True
        self.continue_later()

    def _write_out(self) -> None:
        """Write all that the socket takes, and let streams go on that wait for room. Raises Http2Error and OSError."""
        if self._writing or self.closed:
            return
        self._writing = True
        core = self.core
        try:
            while not self.unsent and (pieces := core.take_pieces()):
                if isinstance(pieces[-1], memoryview):  # of a long body
                    self.write_pieces(pieces)
                else:
                    self.write(b"".join(pieces))
                if self.unsent or self.closed or core.more:
                    break
                core.resume(self.turn.now)
                self._resumed()
        finally:
            self._writing = False
        if not self.closed:
            self._written()
