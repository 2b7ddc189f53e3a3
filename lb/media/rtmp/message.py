"""A message of RTMP, and the kinds of messages."""

from __future__ import annotations

import enum

import attrs

__all__ = ["MessageKind", "RtmpMessage"]


class MessageKind(enum.IntEnum):
    """The kinds that are known. Messages of others are ignored."""

    SET_CHUNK_SIZE = 1
    ABORT = 2
    ACKNOWLEDGEMENT = 3
    USER_CONTROL = 4
    WINDOW_SIZE = 5
    PEER_BANDWIDTH = 6
    AUDIO = 8
    VIDEO = 9
    DATA_AMF3 = 15
    COMMAND_AMF3 = 17
    DATA = 18
    COMMAND = 20
    AGGREGATE = 22


@attrs.frozen
class RtmpMessage:
    """``stream`` is the message stream: 0 = the connection itself."""

    kind: int
    stream: int
    timestamp: int
    """Milliseconds, modulo 2^32."""
    payload: bytes
