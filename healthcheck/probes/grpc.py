"""The grpc probe: asks a gRPC server about its health, as the protocol ``grpc.health.v1`` says.

The exchange is one request of HTTP/2 (RFC 9113), of which this needs a few frames only. Source:
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError

from healthcheck.conversation import Conversation, Script, Steps, quoted
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import ProbeFailed
from healthcheck.probes import options
from healthcheck.result import one_line

__all__ = ["GrpcProbe"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 6, 7, 9
_END_STREAM = _ACK = 0x1
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_STREAM = 1
"""The first stream of a client."""
_FRAME_HEAD = struct.Struct(">HBBBI")
"""Length (24 bits), type, flags, stream."""
_LONGEST_FRAME = 16_384
_MESSAGE_HEAD = struct.Struct(">BI")
"""Whether the message is compressed, and its length."""
_MOST_FRAMES = 256
"""Frames of an answer: an estimate, as it takes about ten."""
_SETTINGS_SENT = struct.pack(">HIHI", 1, 0, 2, 0)
"""HEADER_TABLE_SIZE and ENABLE_PUSH are 0."""
_VERDICTS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING = 1
_CODES = {
    "1": "CANCELLED",
    "2": "UNKNOWN",
    "4": "DEADLINE_EXCEEDED",
    "5": "NOT_FOUND",
    "7": "PERMISSION_DENIED",
    "8": "RESOURCE_EXHAUSTED",
    "12": "UNIMPLEMENTED",
    "13": "INTERNAL",
    "14": "UNAVAILABLE",
    "16": "UNAUTHENTICATED",
}


class _Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


class GrpcProbe(ConversationProbe):
    """Call ``grpc.health.v1.Health/Check`` and expect SERVING.

    ``service`` is the service to ask about; empty = the whole server. ``host`` is sent as ``:authority``, by default
    the checked address.
    """

    def __init__(self, service: str = "", host: str = "") -> None:
        self._request = _message(_string(options.text("service", service)))
        self._host = options.text("host", host)
        if not re.fullmatch(r"[!-~]*", host):
            raise ValueError(f"host: must hold no spaces or non-ASCII, not {host!r}")

    def talk(self, conversation: Conversation) -> Script:
        session = conversation.tls
        if session is not None and session.selected_alpn_protocol() != "h2":
            raise ProbeFailed("does not agree to h2 (ALPN)")
        conversation.closing_message = _frame(_GOAWAY, 0, 0, bytes(8))
        conversation.send(_PREFACE + _frame(_SETTINGS, 0, 0, _SETTINGS_SENT) + self._call(conversation))
        fields, body = yield from _answer(conversation)
        if fields.get(":status") != "200":
            raise ProbeFailed(f"HTTP {one_line(fields.get(':status', 'without a status'))}")
        _judge_status(fields)
        verdict = _verdict(body)
        if verdict != _SERVING:
            raise ProbeFailed(_VERDICTS.get(verdict, f"status {verdict}"))
        return "SERVING"

    def _call(self, conversation: Conversation) -> bytes:
        """Return the frames of the call."""
        address = conversation.target.address
        fields = [
            (":method", "POST"),
            (":scheme", "http" if conversation.tls is None else "https"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", self._host or ("localhost" if address.is_unix else address.text)),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "trio-lb"),
        ]
        encoder = Encoder()
        encoder.header_table_size = 0  # each check has a connection of its own
        head = _frame(_HEADERS, _END_HEADERS, _STREAM, encoder.encode(fields))
        return head + _frame(_DATA, _END_STREAM, _STREAM, self._request)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload)
    return _FRAME_HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def _string(text: str) -> bytes:
    """Return a message of protobuf whose field 1 is a text; an empty one is left out."""
    data = text.encode()
    return b"\x0a" + _varint(len(data)) + data if data else b""


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _message(data: bytes) -> bytes:
    return _MESSAGE_HEAD.pack(0, len(data)) + data


def _answer(conversation: Conversation) -> Steps[tuple[Mapping[str, str], bytes]]:
    """Read the answer to its end. Return the fields of its head and its trailers together, and its body.

    Raises ProbeFailed.
    """
    decoder = Decoder()
    decoder.max_allowed_table_size = 0
    fields: dict[str, str] = {}
    body = bytearray()
    ended = False
    for number in range(_MOST_FRAMES):
        frame = yield from _next_frame(conversation, first=not number)
        if frame.stream == _STREAM and frame.kind == _HEADERS:
            block = yield from _whole_block(conversation, frame)
            fields |= _decoded(decoder, block)
            ended = bool(frame.flags & _END_STREAM)
        elif frame.stream == _STREAM and frame.kind == _DATA:
            body += _unpadded(frame, 0)
            ended = bool(frame.flags & _END_STREAM)
        else:
            _heed(conversation, frame)
        if ended:
            return fields, bytes(body)
    raise ProbeFailed(f"more than {_MOST_FRAMES} frames before the end of its answer")


def _heed(conversation: Conversation, frame: _Frame) -> None:
    """Do what a frame besides those of the answer asks for. Raises ProbeFailed if there will be no answer."""
    if frame.kind == _RST_STREAM:
        raise ProbeFailed(f"reset the request (error {int.from_bytes(frame.payload[:4], 'big')})")
    if frame.kind == _GOAWAY and int.from_bytes(frame.payload[:4], "big") < _STREAM:
        raise ProbeFailed(f"refused the request (GOAWAY, error {int.from_bytes(frame.payload[4:8], 'big')})")
    if frame.kind in (_SETTINGS, _PING) and not frame.flags & _ACK:
        conversation.send(_frame(frame.kind, _ACK, 0, frame.payload if frame.kind == _PING else b""))


def _next_frame(conversation: Conversation, *, first: bool = False) -> Steps[_Frame]:
    """Read a frame. The ``first`` one of a server is SETTINGS. Raises ProbeFailed."""
    while len(conversation.unread) < _FRAME_HEAD.size:
        yield from conversation.more()
    high, low, kind, flags, stream = _FRAME_HEAD.unpack_from(conversation.unread)
    length = high << 8 | low
    if length > _LONGEST_FRAME or (first and kind != _SETTINGS):
        raise ProbeFailed(f"not an answer of HTTP/2: {quoted(conversation.unread)}")
    conversation.take(_FRAME_HEAD.size)
    payload = yield from conversation.exactly(length)
    return _Frame(kind, flags, stream & 0x7FFFFFFF, payload)


def _whole_block(conversation: Conversation, frame: _Frame) -> Steps[bytes]:
    """Return the fields of a head or of trailers, encoded, with those of the frames that continue it."""
    block = _unpadded(frame, 5 if frame.flags & _PRIORITY else 0)
    flags = frame.flags
    for _ in range(_MOST_FRAMES):
        if flags & _END_HEADERS:
            return block
        more = yield from _next_frame(conversation)
        if more.kind != _CONTINUATION:
            break
        block += more.payload
        flags = more.flags
    raise ProbeFailed("a head that does not end")


def _unpadded(frame: _Frame, before: int) -> bytes:
    """Return the payload without padding, and without the ``before`` first bytes of what it stands around."""
    payload = frame.payload
    if frame.flags & _PADDED:
        payload = payload[1 : len(payload) - payload[0]] if payload else b""
    return payload[before:]


def _decoded(decoder: Decoder, block: bytes) -> dict[str, str]:
    try:
        fields = decoder.decode(block, raw=True)
    except HPACKError as error:
        raise ProbeFailed("a head that cannot be decoded") from error
    return {bytes(name).decode(errors="replace"): bytes(value).decode(errors="replace") for name, value in fields}


def _judge_status(fields: Mapping[str, str]) -> None:
    """Raises ProbeFailed unless the call has succeeded."""
    status = fields.get("grpc-status")
    if status is None:
        raise ProbeFailed("not an answer of gRPC: it has no grpc-status")
    if status != "0":
        code = _CODES.get(status) or one_line(status)
        text = one_line(unquote(fields.get("grpc-message", "")))
        raise ProbeFailed(f"{code}: {text}" if text else code)


def _verdict(body: bytes) -> int:
    """Return field 1 of the message, the status; a field that is 0 is left out. Raises ProbeFailed."""
    if len(body) < _MESSAGE_HEAD.size:
        raise ProbeFailed("an answer without a message")
    compressed, length = _MESSAGE_HEAD.unpack_from(body)
    message = body[_MESSAGE_HEAD.size :]
    if compressed or len(message) != length or (message and (len(message) != 2 or message[0] != 0x08)):
        raise ProbeFailed(f"not an answer of grpc.health.v1: {quoted(message)}")
    return message[1] if message else 0
