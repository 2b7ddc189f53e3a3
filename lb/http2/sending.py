"""What a connection of HTTP/2 sends: frames, in the room that flow control and the output give."""

from __future__ import annotations

from lb.http2.errors import ErrorCode
from lb.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    HEADERS,
    MAX_FRAME,
    header_frames,
    reset_frame,
    window_frame,
)
from lb.http2.hpack_writer import FORGET_TABLE
from lb.http2.limits import Http2Limits
from lb.http2.receiver import Http2Receiver
from lb.http2.settings import FIRST_WINDOW, PeerSettings
from lb.http2.stream import Http2Stream

__all__ = ["SendingHalf"]

_frame_header = FRAME_HEADER.pack

_MAX_REMEMBERED = 200
"""Streams that were reset and whose numbers are known, to judge what was on its way."""


class SendingHalf:
    """The output, the windows for what is sent, and the streams that wait for room.

    A part of :class:`lb.http2.connection.Http2Connection`, which says what its methods are for.
    """

    __slots__ = (
        "_afterwards",
        "_answers",
        "_bodies",
        "_first_block",
        "_forgotten",
        "_growth",
        "_limits",
        "_max_output",
        "_next_stream",
        "_output",
        "_receiver",
        "_resets",
        "_send_window",
        "_stream_window",
        "_waiting",
        "_work",
        "is_client",
        "peer",
        "streams",
    )

    def __init__(self, receiver: Http2Receiver, limits: Http2Limits, *, is_client: bool) -> None:
        self._receiver = receiver
        self._limits = limits
        self._max_output, self._stream_window = limits.max_output, limits.stream_window  # asked often
        self.is_client = is_client
        self.streams: dict[int, Http2Stream] = {}
        """All that are not closed, by their numbers."""
        self.peer = PeerSettings()
        """What the peer allows."""
        self._output: list[bytes | memoryview] = []
        self._afterwards: list[bytes | memoryview] = []
        """Frames to be written in a write of their own, behind the output."""
        self._bodies = 0
        """Bytes of bodies in the output."""
        self._answers = 0
        """Bytes of other frames in it."""
        self._send_window = FIRST_WINDOW
        self._waiting: dict[Http2Stream, None] = {}
        """Streams that have something to send and no room, in the order of their turns."""
        self._first_block = True
        self._next_stream = 1
        self._growth = limits.max_growth
        """By how much the windows of streams may still grow."""
        self._resets: dict[int, bool] = {}
        """Numbers of streams that were reset lately; True = by this side."""
        self._forgotten = 0
        """The highest number that was taken out of these."""
        self._work = 0
        """Frames of bodies and streams that ended in order, since someone has asked."""

    def take_output(self) -> bytes:
        """Return all that is to be sent, to be written at once; empty if there is nothing, so ask until it is."""
        return b"".join(self.take_pieces())

    def take_pieces(self) -> list[bytes | memoryview]:
        """The same in pieces, to be written without a copy."""
        if self._output:
            output, self._output = self._output, []
        else:
            output, self._afterwards = self._afterwards, []
        self._bodies = self._answers = 0
        return output

    def send_headers(self, stream: Http2Stream, block: bytes, *, ended: bool) -> None:
        """Send a head, interim head or trailers, as :func:`~lb.http2.hpack_writer.encode_fields` wrote it.

        Flow control does not hold it back. Trailers are ``ended``, and come once ``send_data`` has taken all.
        """
        if stream.sent_end or stream.closed:
            return
        if self._first_block:
            self._first_block = False
            block = FORGET_TABLE + block
        size = len(block)
        self._answers += size
        if size <= MAX_FRAME:
            flags = END_HEADERS | END_STREAM if ended else END_HEADERS
            self._output += (_frame_header(0, size, HEADERS, flags, stream.id), block)
        else:
            self._output.append(header_frames(stream.id, block, END_STREAM if ended else 0))
        if ended:
            self._end(stream)

    def send_message(self, stream: Http2Stream, block: bytes, body: bytes) -> bool:
        """Send a head and a whole body, if that is short and there is room for it now: what most responses are.

        Return False if there is not: nothing was sent.
        """
        size, length = len(body), len(block)
        if (
            size > MAX_FRAME
            or size > stream.send_window
            or size > self._send_window
            or size + self._bodies > self._max_output
            or length > MAX_FRAME
            or self._waiting
            or self._first_block
            or stream.sent_end
            or stream.closed
        ):
            return False
        number = stream.id
        self._output += (
            _frame_header(0, length, HEADERS, END_HEADERS, number),
            block,
            _frame_header(0, size, DATA, END_STREAM, number),
            body,
        )
        self._answers += length
        self._bodies += size
        self._send_window -= size
        self._end(stream)
        return True

    def _room(self, stream: Http2Stream) -> int:
        """Return the room for a stream. While others wait, it gets a frame in its turn."""
        room = min(stream.send_window, self._send_window, self._max_output - self._bodies)
        waiting = self._waiting
        return min(room, MAX_FRAME) if waiting and (len(waiting) > 1 or stream not in waiting) else room

    def send_data(self, stream: Http2Stream, data: bytes | memoryview, *, ended: bool) -> int:
        """Send a part of a body, as much as both windows and the output have room for. Return how many bytes.

        If that is less than all, ``ended`` does not count, and ``can_send`` is called once there is room. Views of a
        buffer that may change are copied, those of bytes are not. Empty data with ``ended`` always passes. A closed
        stream takes all.
        """
        size = len(data)
        if stream.sent_end or stream.closed:
            return size
        room = self._room(stream)
        if room < size:
            self._waiting[stream] = None
            if room <= 0:
                return 0
            data, size, ended = memoryview(data)[:room], room, False
        elif self._waiting:
            self._waiting.pop(stream, None)
        if isinstance(data, memoryview) and not data.readonly:
            data = bytes(data)
        if size <= MAX_FRAME:
            if size or ended:
                self._output += (_frame_header(0, size, DATA, END_STREAM if ended else 0, stream.id), data)
        else:
            self._write_frames(stream.id, memoryview(data), ended=ended)
        self._bodies += size
        self._send_window -= size
        stream.send_window -= size
        self._work += 1
        if ended:
            self._end(stream)
        return size

    def _write_frames(self, stream_id: int, data: memoryview, *, ended: bool) -> None:
        whole = len(data) // MAX_FRAME * MAX_FRAME
        full = _frame_header(0, MAX_FRAME, DATA, 0, stream_id)
        for at in range(0, whole, MAX_FRAME):
            self._output += (full, data[at : at + MAX_FRAME])
        if whole < len(data):
            self._output += (_frame_header(0, len(data) - whole, DATA, 0, stream_id), data[whole:])
        if ended:
            self._output[-2] = _frame_header(0, len(self._output[-1]), DATA, END_STREAM, stream_id)

    def _end(self, stream: Http2Stream) -> None:
        """This side has sent all."""
        stream.sent_end = True
        if stream.received_end:
            self._forget(stream)
            self._work += 1

    def _forget(self, stream: Http2Stream) -> None:
        """The stream is closed."""
        stream.closed = True
        del self.streams[stream.id]
        if self._waiting:
            self._waiting.pop(stream, None)
        if stream.target_window > self._stream_window:
            self._growth += stream.target_window - self._stream_window

    def consumed(self, stream: Http2Stream, size: int) -> None:
        """Bytes of ``data_received`` are dealt with: the peer may send as many again. Told to it in larger steps.

        For closed streams, too, it may be called.
        """
        stream.unconsumed -= size
        if stream.received_end or stream.closed:
            return
        target = stream.target_window
        increment = target - stream.receive_window - stream.unconsumed
        if 2 * increment < target:
            return
        if not stream.unconsumed:
            growth = min(target, self._limits.max_stream_window - target, self._growth)
            if growth > 0:
                self._growth -= growth
                stream.target_window += growth
                increment += growth
        stream.receive_window += increment
        self._write(window_frame(stream.id, increment))

    def reset(self, stream: Http2Stream, code: int) -> None:
        """End a stream at once with RST_STREAM. Nothing more is told about it.

        NO_ERROR after a whole response: the rest of the request is not needed. It is written on its own: of what comes
        with one read, curl 7.88 heeds the reset and drops the response, while it is sending.
        """
        if stream.closed:
            return
        self._forget(stream)
        if stream.sent_end and code == ErrorCode.NO_ERROR:
            self._remember(stream.id, by_us=True)
            self._afterwards.append(reset_frame(stream.id, code))
        else:
            self._reset_number(stream.id, code)

    def _reset_number(self, stream_id: int, code: int) -> None:
        self._remember(stream_id, by_us=True)
        self._write(reset_frame(stream_id, code))

    def _remember(self, stream_id: int, *, by_us: bool) -> None:
        """Remember that a stream was reset."""
        resets = self._resets
        if len(resets) >= _MAX_REMEMBERED:
            oldest = next(iter(resets))
            del resets[oldest]
            self._forgotten = max(self._forgotten, oldest)
        resets[stream_id] = by_us

    def _write(self, frame: bytes) -> None:
        self._output.append(frame)
        self._answers += len(frame)

    def _serve_waiting(self) -> None:
        """Let streams send that wait for room: the most urgent first, equal ones in turn."""
        waiting, most = self._waiting, self._max_output
        while waiting and self._send_window > 0 and self._bodies < most:
            ready = [stream for stream in waiting if stream.send_window > 0]
            if not ready:
                return
            stream = min(ready, key=_urgency)
            del waiting[stream]
            self._receiver.can_send(stream)


def _urgency(stream: Http2Stream) -> int:
    return stream.urgency
