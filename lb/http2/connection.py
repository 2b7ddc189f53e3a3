"""A connection of HTTP/2 without its socket: the states of its streams, in both roles (RFC 9113)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from lb.http2.errors import ErrorCode, Http2Error
from lb.http2.field_section import FieldSection, SectionKind
from lb.http2.floods import FloodBudget
from lb.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    FRAME_WORD,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    MAX_FRAME,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FIELDS,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    goaway_frame,
    ping_frame,
    settings_frame,
    window_frame,
)
from lb.http2.hpack_reader import EMPTY_TABLE, DynamicTable, FieldSections
from lb.http2.limits import Http2Limits
from lb.http2.receiver import Http2Receiver
from lb.http2.sending import SendingHalf
from lb.http2.settings import FIRST_WINDOW, own_settings
from lb.http2.stream import Http2Stream
from lb.http2.urgency import read_urgency

__all__ = ["Http2Connection"]

_CONNECTION_WINDOW = 16 * 1024 * 1024
"""Given back as bytes come. What is held is bounded by the windows of the streams, so that none holds up another."""
_MAX_ANSWERS = 64 * 1024
"""Bytes of frames without bodies in the output: with more, the peer must read before it is read from."""
_MAX_CONTINUATIONS = 32
"""Frames of a header block. Those of real peers are full: a header list of 32 KiB takes three."""
_MAX_SETTINGS = 6 * 64
"""Bytes of a SETTINGS frame. There are a dozen settings."""
_MAX_URGENCIES = 100
"""Streams to come whose urgency is remembered, and gaps in the numbers of streams."""
_HEAD_SHARE = 8
"""A head counts as so many other frames in a turn."""
_BYTES_SHARE = 8
"""So many bytes of a block that did not come before count as a frame: each takes up to 1 µs."""
_SHORT_BLOCK = 64
"""Bytes that do not count."""
_DRAIN_PING = b"lb drain"

_CONTROL_BURST, _CONTROL_RATE = 1000, 100
"""Frames that bring nothing, without a pause and a second: pings, settings, priorities, windows, empty bodies, unknown
ones. A guess."""
_EARNED_BY_WORK = 10
"""Such frames that go with each frame of a body and each stream, as Envoy allows window updates."""
_RESET_BURST, _RESET_RATE = 1000, 33
"""Streams that are begun for nothing, as nghttp2 allows them."""


class Http2Connection(SendingHalf):
    """Takes what the peer sends, and gives what to send to it. No socket, no clock.

    The owner's loop: after each group of calls, if nothing waits for the socket: ``take_output`` and write it; once all
    of that is written, :meth:`resume`, and again, until there is no output. It reads from the socket unless
    :attr:`paused`.

    Guaranteed: no call makes the connection invalid for the peer, calls for a closed stream do nothing, and every
    buffer and table is bounded by ``limits``.
    """

    __slots__ = (
        "_at",
        "_block",
        "_block_flags",
        "_block_stream",
        "_control_budget",
        "_data",
        "_expected",
        "_final",
        "_gaps",
        "_left",
        "_peer_going",
        "_receive_window",
        "_reset_budget",
        "_table",
        "_urgencies",
        "_wants_preface",
        "closed",
        "draining",
        "heads_in_turn",
        "last_stream",
        "more",
        "now",
        "sections",
    )

    def __init__(
        self, receiver: Http2Receiver, limits: Http2Limits, sections: FieldSections, *, is_client: bool
    ) -> None:
        """Begin a connection. Its preface and SETTINGS are in the output.

        ``is_client``: this side opens the streams, the peer is a server.
        """
        super().__init__(receiver, limits, is_client=is_client)
        self.sections = sections
        """May be replaced at any time, as after a reload."""
        self.last_stream = 0
        """The highest number of a stream of the peer's that was let in."""
        self.draining = False
        """:meth:`drain` or :meth:`go_away` was called, or the peer has sent GOAWAY: no streams are to be opened."""
        self.closed = False
        """No call comes any more: :meth:`feed` has raised, or :meth:`close` was called."""
        self.more = False
        """Complete frames were held because a turn has its share: call :meth:`resume` in the next one."""
        self.heads_in_turn = limits.max_heads_in_turn
        """May be lowered for the next :meth:`feed` or :meth:`resume`; with 0, these read no frames."""
        self.now = 0.0  # of the last ``feed`` or ``resume``
        self._final = self._peer_going = False
        self._data, self._at = b"", 0
        """What has come, and where the next frame begins in it."""
        self._left, self._wants_preface = 0, not is_client  # ``_left``: frames of a turn's share
        self._expected = SETTINGS  # the type that the next frame must have; -1 = any
        self._table: DynamicTable = EMPTY_TABLE
        self._block: list[bytes] = []  # of a header block that is not complete
        self._block_stream = self._block_flags = 0
        self._receive_window = _CONNECTION_WINDOW
        self._urgencies: dict[int, int] = {}  # what PRIORITY_UPDATE has said of streams to come
        self._gaps: list[range] = []
        """Numbers that the peer has left out lately."""
        self._control_budget = FloodBudget(_CONTROL_BURST, _CONTROL_RATE)
        self._reset_budget = FloodBudget(_RESET_BURST, _RESET_RATE)
        self._write(
            (PREFACE if is_client else b"")
            + settings_frame(own_settings(limits, is_client=is_client))
            + window_frame(0, _CONNECTION_WINDOW - FIRST_WINDOW)
        )

    # What the peer sends

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes of the peer, of any length. ``now``: seconds of a clock that never goes back.

        Raises Http2Error if the peer has broken the protocol or a limit: write the output, which ends with a GOAWAY,
        and close. No call follows; the streams of :attr:`streams` are the owner's to end.
        """
        if self.closed:
            return
        at = self._at
        self._data = data if at == len(self._data) else self._data[at:] + data
        self._at = 0
        self.resume(now)

    def resume(self, now: float) -> None:
        """Go on with what was held: bytes of the peer, and streams that wait for room (``can_send``).

        Call it when the output was written, and in a later turn of the loop while :attr:`more`. Raises Http2Error as
        :meth:`feed` does.
        """
        self.now = now
        if self.closed:
            return
        try:
            self._read_frames()
        except Http2Error as error:
            self.go_away(error.code, str(error).encode())
            self.close()
            raise
        if self._waiting:
            self._serve_waiting()

    @property
    def paused(self) -> bool:
        """Do not read from the socket: frames are held until a turn goes on, or until the peer reads its answers."""
        return self.more or self._answers > _MAX_ANSWERS

    @property
    def in_head(self) -> bool:
        """A part of a head has come, and not all of it."""
        return bool(self._block) or self._data[self._at + 3 : self._at + 4] == b"\x01"  # the type of the frame

    def close(self) -> None:
        """The connection ends: no call comes any more, and nothing can be sent but the output."""
        self.closed = True
        self.more = False
        self._data, self._at = b"", 0
        self._waiting.clear()
        for stream in self.streams.values():
            stream.closed = True

    def _read_frames(self) -> None:
        if self._wants_preface and not self._read_preface():
            return
        data, at, end = self._data, self._at, len(self._data)
        self._left = self.heads_in_turn * _HEAD_SHARE
        self.more = False
        while end - at >= HEADER_SIZE:
            high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(data, at)
            start, stop = at + HEADER_SIZE, at + HEADER_SIZE + low + (high << 16)
            if stop - start > MAX_FRAME:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a frame that is too large")
            if stop > end or self._answers > _MAX_ANSWERS:
                return
            if self._left <= 0:
                self.more = True
                return
            if self._expected not in (-1, kind):
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a frame in place of SETTINGS or CONTINUATION")
            self._at = at = stop
            if kind == HEADERS:
                self._left -= _HEAD_SHARE
                self._on_headers(stream_id & MAX_STREAM_ID, flags, start, stop)
            else:
                self._left -= 1
                handler = self._handlers.get(kind, Http2Connection._on_unknown_type)
                handler(self, stream_id & MAX_STREAM_ID, flags, start, stop)
            if self.closed:
                return

    def spend_turn(self, heads: int) -> None:
        """The owner's work for what it was told last was that of so many usual heads more: the turn ends earlier."""
        self._left -= heads * _HEAD_SHARE

    def _read_preface(self) -> bool:
        """Return True if the client's preface has come."""
        begin = self._data[: len(PREFACE)]
        if not PREFACE.startswith(begin):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "no preface of HTTP/2")
        if len(begin) < len(PREFACE):
            return False
        self._wants_preface, self._at = False, len(PREFACE)
        return True

    def _unpadded(self, flags: int, start: int, stop: int) -> tuple[int, int]:
        """Return where the content of a frame begins and ends."""
        if flags & PADDED:
            if start == stop:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without the length of its padding")
            padding, start = self._data[start], start + 1
            stop -= padding
            if start > stop:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "padding that is longer than the frame")
        return start, stop

    # Heads and trailers

    def _on_headers(self, stream_id: int, flags: int, start: int, stop: int) -> None:
        if flags & (PADDED | PRIORITY_FIELDS):
            start, stop = self._unpadded(flags, start, stop)
            if flags & PRIORITY_FIELDS:
                start += 5
                if start > stop:
                    raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "HEADERS that is too short for its priority")
        if flags & END_HEADERS:
            self._read_block(stream_id, self._data[start:stop], ended=bool(flags & END_STREAM))
            return
        self._expected, self._block = CONTINUATION, [self._data[start:stop]]
        self._block_stream, self._block_flags = stream_id, flags

    def _on_continuation(self, stream_id: int, flags: int, start: int, stop: int) -> None:
        if not self._block or stream_id != self._block_stream:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block.append(self._data[start:stop])
        if len(self._block) > _MAX_CONTINUATIONS or sum(map(len, self._block)) > self._limits.max_header_list:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "a header block that is too large")
        if flags & END_HEADERS:
            block, self._block, self._expected = b"".join(self._block), [], -1
            self._read_block(stream_id, block, ended=bool(self._block_flags & END_STREAM))

    def _read_block(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        table, sections = self._table, self.sections
        known = sections.known.get(table.mark + block)
        if known is None:
            self._left -= max(0, len(block) - _SHORT_BLOCK) // _BYTES_SHARE
            known = sections.read(table, block, self._limits.max_header_list)
        section, self._table = known
        stream = self.streams.get(stream_id)
        if stream is None:
            self._begin_stream(stream_id, section, ended=ended)
        elif stream.received_end:
            self._stream_error(stream, ErrorCode.STREAM_CLOSED)
        elif stream.head_received:
            self._take_trailers(stream, section, ended=ended)
        else:
            self._take_response(stream, section, ended=ended)

    def _begin_stream(self, stream_id: int, section: FieldSection, *, ended: bool) -> None:
        """Take a request."""
        usual = stream_id == self.last_stream + 2 and stream_id & 1 and not (self._final or self.is_client)
        if not (usual or self._may_begin(stream_id)):
            return
        self.last_stream = stream_id
        if len(self.streams) >= self._limits.max_streams:
            self._refuse(stream_id, ErrorCode.REFUSED_STREAM)
            return
        stream = Http2Stream(stream_id, self.peer.initial_window, self._stream_window)
        stream.head_received, stream.received_end = True, ended
        stream.expected, stream.urgency = section.length, section.urgency
        if self._urgencies:
            stream.urgency = self._urgencies.pop(stream_id, section.urgency)
        if not section.plain:
            if section.kind is SectionKind.TOO_LARGE:
                self.streams[stream_id] = stream
                self._receiver.head_too_large(stream, ended=ended)
                return
            problem = self._problem(section, ended=ended)
            if problem:
                stream.closed = True
                self._receiver.stream_malformed(stream, problem)
                self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR)
                return
        self.streams[stream_id] = stream
        self._receiver.head_received(stream, section, ended=ended)

    def _may_begin(self, stream_id: int) -> bool:
        """Judge the number of a stream that is not open. Return True if it is a new one."""
        if self.is_client or stream_id <= self.last_stream or not stream_id & 1:
            self._on_unknown(stream_id, is_head=True)
            return False
        if self._final:
            return False
        if stream_id > self.last_stream + 2:
            self._gaps = [*self._gaps[-_MAX_URGENCIES:], range(self.last_stream + 1, stream_id)]
        return True

    def _problem(self, section: FieldSection, *, ended: bool) -> str:
        """Return why a section is no request that this side takes; empty if it is one."""
        if section.kind is not SectionKind.REQUEST:
            return section.problem or "no pseudo-headers of a request"
        if section.protocol and not self._limits.extended_connect:
            return "an extended CONNECT that was not offered"
        return "a body that is shorter than its length" if ended and section.length > 0 else ""

    def _take_response(self, stream: Http2Stream, section: FieldSection, *, ended: bool) -> None:
        if section.kind is SectionKind.TOO_LARGE:
            stream.head_received = True
            self._too_large(stream, ended=ended)
            return
        status = section.status
        if section.kind is not SectionKind.RESPONSE or (status < 200 and ended):
            self._stream_error(stream, ErrorCode.PROTOCOL_ERROR)
            return
        if status >= 200:
            stream.head_received = True
            stream.expected = 0 if stream.bodiless or status in (204, 304) else section.length
            if ended and not self._receive_end(stream):
                return
        else:
            self._spend_control("interim heads")
        self._receiver.head_received(stream, section, ended=ended)

    def _take_trailers(self, stream: Http2Stream, section: FieldSection, *, ended: bool) -> None:
        if section.kind is SectionKind.TOO_LARGE and ended:
            self._too_large(stream, ended=True)
        elif section.kind is not SectionKind.TRAILERS or not ended:
            self._stream_error(stream, ErrorCode.PROTOCOL_ERROR)
        elif self._receive_end(stream):
            self._receiver.trailers_received(stream, section)

    def _too_large(self, stream: Http2Stream, *, ended: bool) -> None:
        stream.expected = -1
        if ended:
            self._receive_end(stream)
        self._receiver.head_too_large(stream, ended=ended)

    def _receive_end(self, stream: Http2Stream) -> bool:
        """The peer has sent all. Return False if that is less than it said: the stream is gone."""
        if stream.expected > 0:
            self._stream_error(stream, ErrorCode.PROTOCOL_ERROR)
            return False
        stream.received_end = True
        if stream.sent_end:
            self._forget(stream)
            self._work += 1
        return True

    # Bodies

    def _on_data(self, stream_id: int, flags: int, start: int, stop: int) -> None:
        size = stop - start
        self._take_from_window(size)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._on_unknown(stream_id)
            return
        if flags & PADDED:
            start, stop = self._unpadded(flags, start, stop)
        if not self._take_from_stream(stream, size, stop - start):
            return
        ended = bool(flags & END_STREAM)
        if ended:
            if not self._receive_end(stream):
                return
        elif start == stop:
            self._spend_control("empty DATA")
            self.consumed(stream, size)
            return
        self._work += 1
        self._receiver.data_received(stream, memoryview(self._data)[start:stop], ended=ended)
        if size > stop - start:
            self.consumed(stream, size - (stop - start))

    def _take_from_window(self, size: int) -> None:
        """Bytes have come: they are given back to the window of the connection."""
        self._receive_window -= size
        if self._receive_window < 0:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more than the window of the connection")
        if 2 * self._receive_window < _CONNECTION_WINDOW:
            self._write(window_frame(0, _CONNECTION_WINDOW - self._receive_window))
            self._receive_window = _CONNECTION_WINDOW

    def _take_from_stream(self, stream: Http2Stream, size: int, content: int) -> bool:
        """Count a DATA frame. Return False if the stream must not have it, and is gone."""
        if stream.received_end:
            self._stream_error(stream, ErrorCode.STREAM_CLOSED)
            return False
        if size > stream.receive_window:
            self._stream_error(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return False
        stream.receive_window -= size
        stream.unconsumed += size
        expected = stream.expected
        if not stream.head_received or 0 <= expected < content:
            self._stream_error(stream, ErrorCode.PROTOCOL_ERROR)
            return False
        if expected > 0:
            stream.expected = expected - content
        return True

    # Other frames

    def _on_priority(self, stream_id: int, _flags: int, start: int, stop: int) -> None:
        """Priorities of RFC 7540 are not heeded; not even a stream that depends on itself is an error any more."""
        if not stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PRIORITY of the connection")
        if stop - start != 5:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of another size than 5")
        self._spend_control("PRIORITY")

    def _on_priority_update(self, stream_id: int, _flags: int, start: int, stop: int) -> None:
        if stream_id or self.is_client:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PRIORITY_UPDATE of a stream, or from a server")
        if stop - start < 4:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY_UPDATE that is too short")
        self._spend_control("PRIORITY_UPDATE")
        prioritized = FRAME_WORD.unpack_from(self._data, start)[0] & MAX_STREAM_ID
        if not prioritized & 1:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PRIORITY_UPDATE of no request")
        urgency = read_urgency(self._data[start + 4 : stop])
        stream = self.streams.get(prioritized)
        if stream is not None:
            stream.urgency = urgency
        elif prioritized > self.last_stream and len(self._urgencies) < _MAX_URGENCIES:
            self._urgencies[prioritized] = urgency

    def _on_reset(self, stream_id: int, _flags: int, start: int, stop: int) -> None:
        code = self._word("RST_STREAM", start, stop)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._refuse_idle(stream_id)
            self._spend_control("RST_STREAM")
            return
        self._forget(stream)
        self._remember(stream_id, by_us=False)
        self._receiver.stream_reset(stream, code, by_peer=True)
        self._spend_reset()

    def _on_settings(self, stream_id: int, flags: int, start: int, stop: int) -> None:
        if stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        size = stop - start
        if size % 6 or (flags & ACK and size):
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a size that is not allowed")
        self._spend_control("SETTINGS")
        if flags & ACK:
            if self._expected == SETTINGS:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "an answer in place of SETTINGS")
            return
        if size > _MAX_SETTINGS:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "SETTINGS that are too many")
        self._expected = -1
        before = self.peer.initial_window
        self.peer.apply(self._data[start:stop], from_server=self.is_client)
        self._write(SETTINGS_ACK)
        if self.peer.initial_window != before:
            self._change_windows(self.peer.initial_window - before)
        self._receiver.settings_received()

    def _change_windows(self, change: int) -> None:
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > MAX_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "an initial window that makes another too large")

    def _on_push(self, _stream_id: int, _flags: int, _start: int, _stop: int) -> None:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE")

    def _on_ping(self, stream_id: int, flags: int, start: int, stop: int) -> None:
        if stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PING of a stream")
        if stop - start != 8:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "PING of another size than 8")
        self._spend_control("PING")
        data = self._data[start:stop]
        if not flags & ACK:
            self._write(ping_frame(data, ACK))
        elif data == _DRAIN_PING and self.draining and not self._final:
            self.go_away()

    def _on_goaway(self, stream_id: int, _flags: int, start: int, stop: int) -> None:
        if stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "GOAWAY of a stream")
        if stop - start < 8:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY that is too short")
        self._spend_control("GOAWAY")
        last = FRAME_WORD.unpack_from(self._data, start)[0] & MAX_STREAM_ID
        code = FRAME_WORD.unpack_from(self._data, start + 4)[0]
        self.draining = self._peer_going = True
        if self.is_client:
            for stream in [stream for stream in self.streams.values() if stream.id > last]:
                if not stream.closed:
                    self._forget(stream)
                    self._receiver.stream_reset(stream, ErrorCode.REFUSED_STREAM, by_peer=True)
        self._receiver.goaway_received(last, code, self._data[start + 8 : stop])

    def _on_window_update(self, stream_id: int, _flags: int, start: int, stop: int) -> None:
        increment = self._word("WINDOW_UPDATE", start, stop) & MAX_WINDOW
        self._spend_control("WINDOW_UPDATE")
        if not stream_id:
            if not increment:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self._send_window += increment
            if self._send_window > MAX_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window of the connection that is too large")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._refuse_idle(stream_id)
            return
        stream.send_window += increment
        if not increment:
            self._stream_error(stream, ErrorCode.PROTOCOL_ERROR)
        elif stream.send_window > MAX_WINDOW:
            self._stream_error(stream, ErrorCode.FLOW_CONTROL_ERROR)

    def _on_unknown_type(self, _stream_id: int, _flags: int, _start: int, _stop: int) -> None:
        """RFC 9113, section 4.1: it is ignored."""
        self._spend_control("frames of an unknown type")

    def _word(self, name: str, start: int, stop: int) -> int:
        """Return what a frame of 4 bytes says."""
        if stop - start != 4:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"{name} of another size than 4")
        word: int = FRAME_WORD.unpack_from(self._data, start)[0]
        return word

    # What breaks the protocol, or a limit

    def _is_idle(self, stream_id: int) -> bool:
        """Return True for a stream that was never opened."""
        if self.is_client:
            return not stream_id & 1 or stream_id >= self._next_stream
        return not stream_id & 1 or (stream_id > self.last_stream and not self._final)

    def _refuse_idle(self, stream_id: int) -> None:
        if self._is_idle(stream_id):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a frame of a stream that was not opened")

    def _on_unknown(self, stream_id: int, *, is_head: bool = False) -> None:
        """Judge a head or a part of a body of a stream that is not open: RFC 9113, section 5.1."""
        self._refuse_idle(stream_id)
        by_us = self._resets.get(stream_id)
        if by_us or (self._final and stream_id > self.last_stream):
            self._spend_control("frames of a stream that is no more")  # they were under way
        elif by_us is not None or stream_id <= self._forgotten:
            self._refuse(stream_id, ErrorCode.STREAM_CLOSED)
        elif is_head and any(stream_id in gap for gap in self._gaps):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a stream with a number that is lower than one before")
        else:
            raise Http2Error(ErrorCode.STREAM_CLOSED, "a frame of a stream that has ended")

    def _stream_error(self, stream: Http2Stream, code: ErrorCode) -> None:
        """The peer has broken the protocol on a stream."""
        self.reset(stream, code)
        self._receiver.stream_reset(stream, code, by_peer=False)
        self._spend_reset()

    def _refuse(self, stream_id: int, code: ErrorCode) -> None:
        self._reset_number(stream_id, code)
        self._spend_reset()

    def _spend_reset(self) -> None:
        """Count a stream that was begun for nothing, whoever reset it. Servers answer what this side has begun."""
        if not self.is_client and not self._spend(self._reset_budget):
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _spend_control(self, what: str) -> None:
        """Count a frame that brings nothing."""
        if not self._spend(self._control_budget):
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"too much of what brings nothing, at last {what}")

    def _spend(self, budget: FloodBudget) -> bool:
        if budget.spend(self.now):
            return True
        work, self._work = self._work, 0
        self._control_budget.earn(work * _EARNED_BY_WORK)
        self._reset_budget.earn(work)
        return budget.spend(self.now)

    # Streams of this side

    @property
    def room(self) -> int:
        """How many streams may be opened now: the peer's SETTINGS_MAX_CONCURRENT_STREAMS (100 until it is known), no
        GOAWAY, numbers left. Clients only."""
        if self.draining or self.closed:
            return 0
        numbers_left = (MAX_STREAM_ID + 2 - self._next_stream) // 2
        return max(0, min(self.peer.max_streams - len(self.streams), numbers_left))

    def open_stream(self, owner: object, *, bodiless: bool = False) -> Http2Stream:
        """Open a stream; its first ``send_headers`` must follow before another one is opened. Clients only.

        ``bodiless``: the request is HEAD. Raises ValueError if there is no :attr:`room`.
        """
        if not self.room:
            raise ValueError("the connection takes no further stream")
        stream = Http2Stream(self._next_stream, self.peer.initial_window, self._stream_window)
        stream.owner, stream.bodiless = owner, bodiless
        self._next_stream += 2
        self.streams[stream.id] = stream
        return stream

    # The end

    def drain(self) -> None:
        """Tell a client that no more streams will be taken, without a race: a first GOAWAY, and once a PING was
        answered the real one, with the last stream (RFC 9113, section 6.8). Streams under way go on.

        The connection is done when :attr:`drained`. Call :meth:`go_away` if it takes too long.
        """
        if self.is_client:
            self.go_away()
        elif not self.draining:
            self.draining = True
            self._write(goaway_frame(MAX_STREAM_ID, ErrorCode.NO_ERROR, b"") + ping_frame(_DRAIN_PING, 0))

    def go_away(self, code: ErrorCode = ErrorCode.NO_ERROR, debug: bytes = b"") -> None:
        """Send the last GOAWAY at once: streams that the peer opens from now on are ignored."""
        if not self.closed:
            self.draining = self._final = True
            self._write(goaway_frame(self.last_stream, code, debug))

    @property
    def drained(self) -> bool:
        """The last GOAWAY was sent or received, and no stream is open: write the output, and close."""
        return (self._final or self._peer_going) and not self.streams

    _handlers: ClassVar[Mapping[int, Callable[[Http2Connection, int, int, int, int], None]]] = {
        DATA: _on_data,
        HEADERS: _on_headers,
        PRIORITY: _on_priority,
        RST_STREAM: _on_reset,
        SETTINGS: _on_settings,
        PUSH_PROMISE: _on_push,
        PING: _on_ping,
        GOAWAY: _on_goaway,
        WINDOW_UPDATE: _on_window_update,
        CONTINUATION: _on_continuation,
        PRIORITY_UPDATE: _on_priority_update,
    }
    """By type. They get the number of the stream, the flags, and where the payload begins and ends."""
