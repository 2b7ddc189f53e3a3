"""Error codes of HTTP/2 (RFC 9113, section 7), and the error that ends a connection."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ErrorCode", "Http2Error"]


class ErrorCode(IntEnum):
    """Codes of RST_STREAM and GOAWAY. A peer may send others, which mean INTERNAL_ERROR."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Http2Error(Exception):
    """The peer has broken the protocol or a limit: the connection is at its end. A GOAWAY is in the output.

    ``code`` is what the GOAWAY says: ENHANCE_YOUR_CALM for floods. The text is for records.
    """

    def __init__(self, code: ErrorCode, problem: str) -> None:
        super().__init__(problem)
        self.code = code
