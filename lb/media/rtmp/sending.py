"""What the sessions of both sides do alike: they send a stream's metadata, its configurations and its frames."""

from __future__ import annotations

from typing import ClassVar

from lb.media.rtmp.connection import RtmpConnection
from lb.media.rtmp.media_writer import write_config, write_frame, write_metadata
from lb.media.rtmp.tracks import RtmpCodec, RtmpFrame, RtmpTrack, StreamMetadata, TrackConfig

__all__ = ["SendingSession"]


class SendingSession:
    """A session that sends a stream to its peer, if the stream goes that way."""

    publishes: ClassVar[bool]
    """The peer is asked to keep the metadata."""

    def __init__(self, connection: RtmpConnection) -> None:
        self._connection = connection
        self._stream = 0
        """The message stream that is published or played."""
        self._codecs: dict[RtmpTrack, RtmpCodec] = {}
        self._sent_until = 0

    def outgoing(self) -> bytes:
        """Return what is to be sent to the peer since the last call."""
        return self._connection.outgoing()

    def send_metadata(self, metadata: StreamMetadata) -> None:
        """Send metadata."""
        self._connection.send(write_metadata(metadata, self._stream, publishing=self.publishes))

    def send_config(self, config: TrackConfig) -> None:
        """Send the configuration of a track, before the frames that need it."""
        self._codecs[config.track] = config.codec
        message = write_config(config, self._sent_until, self._stream)
        if message is not None:
            self._connection.send(message)

    def send_frame(self, frame: RtmpFrame) -> None:
        """Send a frame. Its track's configuration was sent."""
        self._sent_until = frame.dts
        self._connection.send(write_frame(frame, self._codecs[frame.track], self._stream))
