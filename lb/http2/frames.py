"""Frames of HTTP/2 as bytes (RFC 9113, sections 4 and 6; RFC 9218, section 7.1)."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "FRAME_HEADER",
    "FRAME_WORD",
    "GOAWAY",
    "HEADERS",
    "HEADER_SIZE",
    "MAX_FRAME",
    "MAX_STREAM_ID",
    "MAX_WINDOW",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FIELDS",
    "PRIORITY_UPDATE",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTING",
    "SETTINGS",
    "SETTINGS_ACK",
    "WINDOW_UPDATE",
    "goaway_frame",
    "header_frames",
    "ping_frame",
    "reset_frame",
    "settings_frame",
    "window_frame",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first: RFC 9113, section 3.4."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FIELDS = 0x20

HEADER_SIZE = 9
MAX_STREAM_ID = MAX_WINDOW = 2**31 - 1
MAX_FRAME = 16_384
"""Bytes of a payload that every peer takes. This side takes no more, and sends no more."""

FRAME_HEADER = Struct(">BHBBL")
"""The length in two parts, type, flags, stream."""
FRAME_WORD = Struct(">L")
SETTING = Struct(">HL")
_FRAME_OF_WORD = Struct(">BHBBLL")
_GOAWAY = Struct(">BHBBLLL")


SETTINGS_ACK = FRAME_HEADER.pack(0, 0, SETTINGS, ACK, 0)


def reset_frame(stream_id: int, code: int) -> bytes:
    return _FRAME_OF_WORD.pack(0, 4, RST_STREAM, 0, stream_id, code)


def window_frame(stream_id: int, increment: int) -> bytes:
    return _FRAME_OF_WORD.pack(0, 4, WINDOW_UPDATE, 0, stream_id, increment)


def goaway_frame(last_stream: int, code: int, debug: bytes) -> bytes:
    return _GOAWAY.pack(0, 8 + len(debug), GOAWAY, 0, 0, last_stream, code) + debug


def ping_frame(data: bytes, flags: int) -> bytes:
    return FRAME_HEADER.pack(0, 8, PING, flags, 0) + data


def settings_frame(settings: Iterable[tuple[int, int]]) -> bytes:
    payload = b"".join([SETTING.pack(*setting) for setting in settings])
    return FRAME_HEADER.pack(0, len(payload), SETTINGS, 0, 0) + payload


def header_frames(stream_id: int, block: bytes, flags: int) -> bytes:
    """Return a header block that is too long for one frame as HEADERS and CONTINUATION. ``flags``: of HEADERS."""
    parts = [block[at : at + MAX_FRAME] for at in range(0, len(block), MAX_FRAME)]
    kinds = [HEADERS] + [CONTINUATION] * (len(parts) - 1)
    all_flags = [flags] + [0] * (len(parts) - 2) + [END_HEADERS]
    return b"".join(
        [
            FRAME_HEADER.pack(0, len(part), kind, flag, stream_id) + part
            for part, kind, flag in zip(parts, kinds, all_flags, strict=True)
        ]
    )
