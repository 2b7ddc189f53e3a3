"""SETTINGS of both sides (RFC 9113, section 6.5; RFC 8441; RFC 9218)."""

from __future__ import annotations

from lb.http2.errors import ErrorCode, Http2Error
from lb.http2.frames import MAX_WINDOW, SETTING
from lb.http2.limits import Http2Limits

__all__ = ["FIRST_WINDOW", "PeerSettings", "own_settings"]

FIRST_WINDOW = 65_535
"""Bytes that each side may send on a connection, and on a stream, before anything was said."""
_FIRST_MAX_STREAMS = 100
"""Streams that are opened before the peer's SETTINGS are known: RFC 9113 recommends that no peer allows less."""

(
    _ENABLE_PUSH,
    _MAX_CONCURRENT_STREAMS,
    _INITIAL_WINDOW_SIZE,
    _MAX_FRAME_SIZE,
    _MAX_HEADER_LIST_SIZE,
    _ENABLE_CONNECT_PROTOCOL,
    _NO_RFC7540_PRIORITIES,
) = (2, 3, 4, 5, 6, 8, 9)
_FLAGS = frozenset((_ENABLE_PUSH, _ENABLE_CONNECT_PROTOCOL, _NO_RFC7540_PRIORITIES))
_FRAME_SIZES = range(2**14, 2**24)


class PeerSettings:
    """What the peer has said in SETTINGS.

    Its table size and its frame size are not kept: this side uses no dynamic table, and frames that every peer takes.
    Nor is the size of a header list: it is advice, and who sends a head has no other one.
    """

    __slots__ = ("allows_connect", "initial_window", "is_known", "max_streams")

    def __init__(self) -> None:
        self.is_known = False
        """Its first SETTINGS have come."""
        self.max_streams = _FIRST_MAX_STREAMS
        self.initial_window = FIRST_WINDOW
        self.allows_connect = False
        """It takes extended CONNECT: RFC 8441."""

    def apply(self, payload: bytes, *, from_server: bool) -> None:
        """Take the payload of a SETTINGS frame. Raises Http2Error."""
        if not self.is_known:
            self.is_known, self.max_streams = True, MAX_WINDOW
        for setting, value in SETTING.iter_unpack(payload):
            _judge(setting, value, from_server=from_server)
            if setting == _INITIAL_WINDOW_SIZE:
                self.initial_window = value
            elif setting == _MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            elif setting == _ENABLE_CONNECT_PROTOCOL:
                if self.allows_connect and not value:
                    raise Http2Error(ErrorCode.PROTOCOL_ERROR, "extended CONNECT taken back")
                self.allows_connect = bool(value)


def _judge(setting: int, value: int, *, from_server: bool) -> None:
    if (setting in _FLAGS and value > 1) or (setting == _ENABLE_PUSH and value and from_server):
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a setting that is neither 0 nor 1, or push from a server")
    if setting == _MAX_FRAME_SIZE and value not in _FRAME_SIZES:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a frame size that is not allowed")
    if setting == _INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
        raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "an initial window that is too large")


def own_settings(limits: Http2Limits, *, is_client: bool) -> list[tuple[int, int]]:
    """Return what this side says: numbers and values."""
    settings = [(_ENABLE_PUSH, 0)] if is_client else [(_MAX_CONCURRENT_STREAMS, limits.max_streams)]
    settings += [(_INITIAL_WINDOW_SIZE, limits.stream_window), (_MAX_HEADER_LIST_SIZE, limits.max_header_list)]
    if not is_client:
        settings.append((_NO_RFC7540_PRIORITIES, 1))
        if limits.extended_connect:
            settings.append((_ENABLE_CONNECT_PROTOCOL, 1))
    return settings
