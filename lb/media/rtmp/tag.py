"""The body of one message of audio or video: what all forms of FLV say in their own ways."""

from __future__ import annotations

import attrs

from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.tracks import RtmpCodec

__all__ = ["MediaTag", "TagBytes", "check_length"]


@attrs.frozen
class MediaTag:
    """``data`` is a track's configuration, or a frame."""

    codec: RtmpCodec
    data: bytes
    is_config: bool = False
    key: bool = True
    composition: int = 0
    """Milliseconds from the frame's DTS to its PTS."""


def check_length(data: bytes, least: int) -> None:
    """Raise ProtocolError if there are fewer bytes."""
    if len(data) < least:
        raise ProtocolError("a message of audio or video is cut short")


class TagBytes:
    """Bytes that are read from left to right."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Return the next bytes. Raises ProtocolError if there are fewer."""
        check_length(self._data, self._at + size)
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def number(self, size: int) -> int:
        """Return a number of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def composition(self) -> int:
        """Return a time of three bytes with a sign."""
        return int.from_bytes(self.take(3), "big", signed=True)

    def rest(self) -> bytes:
        """Return all that has not been read."""
        return self.take(self.left)
