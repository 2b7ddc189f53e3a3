"""What ends a connection through the peer's fault."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["FaultReason", "ProtocolError"]

FaultReason: TypeAlias = Literal["handshake", "protocol", "limit", "codec"]


class ProtocolError(Exception):
    """The peer sent what is not RTMP, is more than a limit allows, or is in a codec that is not supported.

    ``reason`` tells which; ``handshake`` also means that the peer asked for no stream in time.
    """

    def __init__(self, text: str, reason: FaultReason = "protocol") -> None:
        super().__init__(text)
        self.reason: FaultReason = reason
