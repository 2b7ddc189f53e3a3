"""Frames on their way to one who plays a stream, or to a server that it is pushed to."""

from __future__ import annotations

from collections import deque
from typing import Protocol, TypeAlias

import trio

from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata, TrackConfig

__all__ = ["PLAYER_QUEUE", "MediaSender", "PlayedItem", "Player", "send_in_time"]

PlayedItem: TypeAlias = RtmpFrame | TrackConfig | StreamMetadata

PLAYER_QUEUE = 4 << 20
"""Bytes that wait for a player. Then it misses frames until the next key frame."""
_ITEM_BYTES = 300
"""Memory of an item beside its bytes: frames of silence have three."""
_METADATA_BYTES = 1 << 20
"""Likewise of metadata, however short: of the longest message, objects become about as many bytes."""
_SEND_TIMEOUT = 20.0
"""Seconds that a peer may take none of what is sent to it."""


class MediaSender(Protocol):
    """A session of RTMP that sends a stream."""

    def send_metadata(self, metadata: StreamMetadata) -> None: ...

    def send_config(self, config: TrackConfig) -> None: ...

    def send_frame(self, frame: RtmpFrame) -> None: ...

    def outgoing(self) -> bytes: ...


class Player:
    """The queue of one player. Whoever has the stream fills it, with :meth:`send`; the connection empties it, with
    :meth:`run`.
    """

    def __init__(self, session: MediaSender) -> None:
        self._session = session
        self._items: deque[PlayedItem] = deque()
        self._queued = 0
        self._has_video = True
        self._awaits_key = True
        self._held: dict[str, PlayedItem] = {}
        """What comes before the next frame: of each track the newest configuration, so that they need no room."""
        self._wanted = trio.Event()
        self.ended = ""
        """Why the stream has ended, once it has."""

    def send(self, item: PlayedItem) -> None:
        """Queue a frame, or what comes before frames."""
        is_full = self._queued > PLAYER_QUEUE
        if isinstance(item, RtmpFrame):
            self._awaits_key |= is_full
            if is_full or (self._awaits_key and not self._may_begin(item)):
                return
            self._awaits_key = False
            for held in self._held.values():
                self._put(held)
            self._held.clear()
        elif is_full or self._held:
            self._held[item.track if isinstance(item, TrackConfig) else "metadata"] = item
            return
        elif isinstance(item, TrackConfig) and item.track == "video":
            self._has_video = True
        self._put(item)

    def without_video(self) -> None:
        """The stream has no video, as far as is known: any frame may be the first."""
        self._has_video = False

    def end(self, why: str) -> None:
        """The stream has ended."""
        self.ended = why
        self._wanted.set()

    async def run(self, stream: trio.abc.SendStream) -> None:
        """Send what is queued, until the stream has ended. Raises OSError, BrokenResourceError."""
        while not self.ended:
            await self._wanted.wait()
            self._wanted = trio.Event()
            while self._items:
                item = self._items.popleft()
                self._queued -= _size(item)
                if isinstance(item, RtmpFrame):
                    self._session.send_frame(item)
                elif isinstance(item, TrackConfig):
                    self._session.send_config(item)
                else:
                    self._session.send_metadata(item)
                await send_in_time(stream, self._session.outgoing())

    def _may_begin(self, frame: RtmpFrame) -> bool:
        return frame.key and (frame.track == "video" or not self._has_video)

    def _put(self, item: PlayedItem) -> None:
        self._items.append(item)
        self._queued += _size(item)
        self._wanted.set()


def _size(item: PlayedItem) -> int:
    """Return about how much memory an item needs."""
    if isinstance(item, RtmpFrame):
        return _ITEM_BYTES + len(item.data)
    return _ITEM_BYTES + len(item.record) if isinstance(item, TrackConfig) else _METADATA_BYTES


async def send_in_time(stream: trio.abc.SendStream, data: bytes) -> None:
    """Send all of it. Raises TimeoutError if the peer takes none of it for long."""
    if not data:
        return
    with trio.move_on_after(_SEND_TIMEOUT) as scope:
        await stream.send_all(data)
    if scope.cancelled_caught:
        raise TimeoutError("the peer takes nothing")
