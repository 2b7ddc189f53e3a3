"""Bodies from files and from the cache, on their way to a client.

Plain sockets get them by sendfile(2), without a copy, unless they are compressed on the way. The loop never waits for
the disk: what is not in the page cache is read by a thread first, see :meth:`FileSource.warm`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import attrs

from lb.http.flow import Coding
from lb.http.pace import Pace
from lb.relay.epoll_stream import EpollStream

__all__ = [
    "Body",
    "BodyPart",
    "ComingPart",
    "FilePart",
    "FileSource",
    "PartsFlow",
    "PartsFlowOwner",
    "body_length",
    "joined",
    "release_parts",
]

MAX_SENDFILE = 2 * 1024 * 1024
"""Maximum bytes of one call. It bounds what may be evicted between the probe and the call, and is a turn or two."""
MAX_READ = 128 * 1024
"""Maximum bytes that are read at once for TLS."""
_PROBE = (bytearray(1),)


class FileSource(Protocol):
    """An open file, in use until each part of it is released."""

    @property
    def fd(self) -> int: ...

    def is_intact(self) -> bool:
        """Return False if the file has lost bytes, or was written anew, since it was opened."""

    def warm(self, offset: int, length: int, done: Callable[[OSError | None], None]) -> None:
        """Read these bytes in a thread, so that they are in the page cache, and call ``done`` in the loop's thread."""

    def is_warmed(self, offset: int, length: int) -> bool:
        """Return True if these bytes were warmed a moment ago. For file systems that cannot tell what is in memory."""

    def release(self) -> None:
        """End the use of one part."""


@attrs.frozen
class FilePart:
    """``length`` bytes of a file from ``offset``, as a part of a body. Whoever has it releases it once."""

    file: FileSource
    offset: int
    length: int

    @property
    def fd(self) -> int:
        return self.file.fd

    def release(self) -> None:
        self.file.release()


class ComingFile(FileSource, Protocol):
    """A file with the first bytes of a body that is still coming."""

    @property
    def body_at(self) -> int:
        """Where the body begins in the file, in bytes."""


class ComingBody(Protocol):
    """A body that is still coming, perhaps. The last bytes are in memory, those before ``data_at`` in the file."""

    @property
    def file(self) -> ComingFile | None: ...

    @property
    def data_at(self) -> int: ...

    def read(self, offset: int, most: int) -> bytes:
        """Return bytes in memory, at most so many."""


class ComingPart(Protocol):
    """A part of a body that may still be coming. Whoever has it releases it once."""

    @property
    def length(self) -> int | None:
        """In bytes; None as long as that is not known."""

    @property
    def failed(self) -> bool:
        """The rest will never come."""

    @property
    def content(self) -> ComingBody:
        """What has the next bytes, once some are ready."""

    @property
    def position(self) -> int:
        """Of the next byte in ``content``."""

    def ready(self, sent: int) -> int:
        """Return how many bytes can be sent now, after the ``sent`` first ones."""

    def is_sent(self, sent: int) -> bool:
        """Return True if these are all bytes."""

    def wait(self, stream: EpollStream) -> None:
        """Give the stream a turn when there are more bytes, or none will come."""

    def move(self, count: int) -> None:
        """So many more bytes were sent."""

    def release(self) -> None:
        """End the use of it."""


BodyPart: TypeAlias = bytes | FilePart | ComingPart


Body: TypeAlias = bytes | Sequence[BodyPart]
"""Whoever gets one releases its parts once: :func:`release_parts`."""


def body_length(body: Body) -> int | None:
    """Return the bytes of all parts; None if that is not known yet."""
    if isinstance(body, bytes):
        return len(body)
    total = 0
    for part in body:
        length = len(part) if isinstance(part, bytes) else part.length
        if length is None:
            return None
        total += length
    return total


def joined(body: Body) -> Body:
    """Return the bytes of a body without files; any other body as it is."""
    if isinstance(body, bytes):
        return body
    pieces = [part for part in body if isinstance(part, bytes)]
    return b"".join(pieces) if len(pieces) == len(body) else body


def release_parts(body: Body) -> None:
    """Release the parts of a body that is not sent."""
    if not isinstance(body, bytes):
        for part in body:
            if not isinstance(part, bytes):
                part.release()


class PartsFlowOwner(Protocol):
    """The owner of a flow of parts."""

    def flow_ended(self, flow: PartsFlow) -> None:
        """The parts are written. Some of their bytes may be unsent."""

    def flow_failed(self, flow: PartsFlow, error: OSError | EOFError) -> None:
        """OSError: the client is gone. EOFError: the file is not what it was, or cannot be read; reset the client."""


class PartsFlow:
    """Sends parts to a stream, one after the other, and releases them at its end, whatever that is.

    Call :meth:`pump` to start it, and when the stream is writable or its turn has come.
    """

    __slots__ = (
        "_coding",
        "_file",
        "_owner",
        "_parts",
        "_position",
        "_resident_until",
        "_sent",
        "_stream",
        "_warming",
        "ended",
        "pace",
        "written",
    )

    def __init__(
        self,
        stream: EpollStream,
        parts: Sequence[BodyPart],
        owner: PartsFlowOwner,
        coding: Coding | None = None,
    ) -> None:
        self.ended = False
        self.written = 0
        """Bytes for the client: others than those of the parts, if there is a coding."""
        self._stream = stream
        self._parts = parts
        self._owner = owner
        self._coding = coding
        self._position = 0
        self._sent = 0
        """Bytes of the part at ``_position``."""
        self._file: FileSource | None = None
        """The file of the content at ``_position``."""
        self._resident_until = 0
        """The offset in the file of that part up to which it is known to be in the page cache."""
        self._warming = False
        self.pace: Pace | None = None
        """Limits what is sent of files; None = no limit."""

    def pump(self) -> None:
        """Send until the parts end, the stream accepts no more, the disk is needed, or the turn's budget is used up."""
        stream = self._stream
        try:
            while stream.writable and not self.ended and not self._waits:
                if self._position == len(self._parts):
                    self._end()
                elif not self._step(self._parts[self._position]):
                    return
        except (OSError, EOFError) as error:
            self._fail(error)
        if self.pace is not None:
            self.pace.pause()

    @property
    def _waits(self) -> bool:
        return self._warming or (self._coding is not None and self._coding.paused)

    def coded(self, data: bytes) -> None:
        """The coding has finished a piece elsewhere."""
        if not self.ended:
            try:
                self._send(data)
            except OSError as error:
                self._fail(error)
            else:
                self.pump()

    def _write(self, data: bytes, *, more: bool = False) -> None:
        if self._coding is not None:
            data = self._coding.feed(data)
        if data:
            self._send(data, more=more)

    def _send(self, data: bytes, *, more: bool = False) -> None:
        self._stream.write(data, more=more)
        self.written += len(data)

    def _step(self, part: BodyPart) -> bool:
        """Send some bytes. Return False if that has to wait."""
        if isinstance(part, bytes):
            self._write(part, more=self._position + 1 < len(self._parts))
            self._next_part()
        elif self._sent == part.length if isinstance(part, FilePart) else part.is_sent(self._sent):
            self._next_part()
        elif self._stream.turn.budget <= 0:
            self._stream.continue_later()
            return False
        elif isinstance(part, FilePart):
            left = part.length - self._sent
            sent = self._send_file(part.file, part.offset + self._sent, left, to_end=True)
            return sent > 0 or not self._stream.writable
        else:
            return self._send_content(part)
        return True

    def _next_part(self) -> None:
        self._position += 1
        self._sent = self._resident_until = 0

    def _send_content(self, part: ComingPart) -> bool:
        count = part.ready(self._sent)
        if not count:
            if part.failed:
                raise EOFError("the server has not sent all")
            part.wait(self._stream)
            return False
        content = part.content
        if content.file is not self._file:
            self._file, self._resident_until = content.file, 0
        if part.position >= content.data_at:
            sent = self._send_data(content.read(part.position, min(count, MAX_READ)))
        else:
            assert content.file is not None  # noqa: S101 - it has what is not in memory
            count = min(count, content.data_at - part.position)
            sent = self._send_file(content.file, content.file.body_at + part.position, count, to_end=False)
        part.move(sent)
        return sent > 0 or not self._stream.writable

    def _send_data(self, data: bytes) -> int:
        if self.pace is not None:
            data = data[: self.pace.allowed(len(data))]
        if data:
            self._write(data)
            self._moved(len(data))
        return len(data)

    def _send_file(self, file: FileSource, offset: int, left: int, *, to_end: bool) -> int:
        """Send some of ``left`` bytes, and return how many. ``to_end``: nothing of the file is sent after them."""
        if self._resident_until <= offset:
            count = min(left, MAX_SENDFILE)
            if not _is_resident(file, offset, count):
                self._warm(file, offset, count)
                return 0
            self._resident_until = offset + count
        count = min(left, self._resident_until - offset)
        if self.pace is not None:
            count = self.pace.allowed(count)
            if not count:
                return 0
        if to_end and count == left and not file.is_intact():
            raise EOFError("the file was changed")
        send = self._sendfile if self._may_splice else self._copy
        sent = send(file.fd, offset, count)
        self._moved(sent)
        if not self._stream.writable:
            self._resident_until = 0  # until the client accepts more, the page cache may lose them
        return sent

    @property
    def _may_splice(self) -> bool:
        stream = self._stream
        return stream.tls is None and stream.spliced and self._coding is None

    def _moved(self, count: int) -> None:
        self._sent += count
        self._stream.turn.budget -= count
        if self.pace is not None:
            self.pace.take(count)

    def _sendfile(self, fd: int, offset: int, count: int) -> int:
        stream = self._stream
        try:
            sent = os.sendfile(stream.sock.fileno(), fd, offset, count)
        except BlockingIOError:
            stream.writable = False
            return 0
        if not sent:
            raise EOFError("the file was cut short")
        stream.sent += sent
        self.written += sent
        return sent

    def _copy(self, fd: int, offset: int, count: int) -> int:
        try:
            data = os.pread(fd, min(count, MAX_READ), offset)
        except OSError as error:
            raise EOFError("the file cannot be read") from error
        if not data:
            raise EOFError("the file was cut short")
        self._write(data)
        return len(data)

    def _warm(self, file: FileSource, offset: int, count: int) -> None:
        self._warming = True
        self._resident_until = offset + count
        file.warm(offset, count, self._warmed)

    def _warmed(self, error: OSError | None) -> None:
        self._warming = False
        if self.ended:
            return
        if error is None:
            self._stream.continue_later()
        else:
            self._fail(EOFError(f"the file cannot be read: {error}"))

    # The end

    def _end(self) -> None:
        if self._coding is not None:
            self._send(self._coding.finish())
        self.cancel()
        self._owner.flow_ended(self)

    def _fail(self, error: OSError | EOFError) -> None:
        self.cancel()
        self._owner.flow_failed(self, error)

    def cancel(self) -> None:
        """Stop, without a call to the owner."""
        if not self.ended:
            self.ended = True
            if self.pace is not None:
                self.pace.end()
            release_parts(self._parts)


def _is_resident(file: FileSource, offset: int, count: int) -> bool:
    """Return True if the first and the last byte are in the page cache, so that all between them most likely are."""
    try:
        return bool(
            os.preadv(file.fd, _PROBE, offset, os.RWF_NOWAIT)
            and os.preadv(file.fd, _PROBE, offset + count - 1, os.RWF_NOWAIT)
        )
    except BlockingIOError:
        return False
    except OSError:  # EOPNOTSUPP: it cannot tell
        return file.is_warmed(offset, count)
