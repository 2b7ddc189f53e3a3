"""A live stream as it is served: with its publisher, its players and what its viewers ask for."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping

import trio

from lb.events import Event, StreamJumped, StreamPublished, StreamUnpublished, UnpublishReason
from lb.media.frames import CodecConfig, MediaError
from lb.media.live_playlists import average_rate, target_duration
from lb.media.live_resources import HeldRequest, live_resource
from lb.media.live_stream import LiveStream
from lb.media.messages import NumbersUsed
from lb.media.open_segment import NoKeyFrameError
from lb.media.player import PlayedItem, Player
from lb.media.push import Push
from lb.media.responses import MediaResponse
from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata, TrackConfig
from lb.media.stream_recorder import StreamRecorder
from lb.model.address import Client
from lb.model.media_figures import StreamFigures
from lb.model.rtmp_address import RtmpAddress
from lb.model.stream_status import StreamStatus
from lb.net.gathering import gather

__all__ = ["LivePublication", "ServedStream"]

_MOST_CONFIGS, _CONFIGS_TIME = 20, 20.0
"""Configurations that a publisher may tell in so many seconds. Each begins a Period, and to open its track takes up to
0.2 s, in which all streams wait."""
_GOES_ON = 5
"""Moments of reading with new frames that show that a publisher has not left. A guess: the last ones come in two."""
_LEAVING = 2.0
"""Seconds after which a publisher whose end has not come has not left."""


class ServedStream:
    """A stream, with its publisher and its players: a :class:`lb.media.rtmp_server.Broadcast`."""

    stream: LiveStream
    recorder: StreamRecorder

    def __init__(
        self,
        name: str,
        emit: Callable[[Event], None],
        tell: Callable[[NumbersUsed], None],
        now: Callable[[], float],
        figures: StreamFigures,
    ) -> None:
        self.name = name
        self.emit = emit
        self._tell = tell
        self.now = now
        self.figures = figures
        self.publication: LivePublication | None = None
        self.players: set[Player] = set()
        self.pushes: dict[RtmpAddress, Push] = {}
        """While it has a publisher."""
        self.configs: dict[str, TrackConfig] = {}
        self.left_at = 0.0
        self._news = trio.Event()
        self._told = -1

    def tell_numbers(self) -> None:
        """Tell the balancer how far numbers are, for the process after this one: as soon as one is in use."""
        used = self.used_numbers
        self._told = used.number
        self._tell(used)

    @property
    def used_numbers(self) -> NumbersUsed:
        timeline = self.stream.timeline
        return NumbersUsed(self.name, timeline.numbers.highest, timeline.all_breaks())

    @property
    def has_new_numbers(self) -> bool:
        """Return whether the balancer does not know how far numbers are."""
        return self.stream.timeline.numbers.highest != self._told

    def changed(self) -> None:
        """There is something new: held requests look again."""
        self._news.set()
        self._news = trio.Event()

    async def resource(self, path: str, query: Mapping[str, str]) -> MediaResponse:
        asked = self.now()
        while True:
            now, news = self.now(), self._news
            found = live_resource(self.stream, path, query, asked, now)
            if not isinstance(found, HeldRequest):
                return found
            with trio.move_on_after(max(0.0, found.until - now)):
                await news.wait()

    def send_away(self, reason: UnpublishReason) -> None:
        """Send the publisher away, if there is one."""
        if self.publication is not None:
            self.publication.send_away(reason)

    async def left_or_goes_on(self) -> None:
        """Wait until the publisher has left, or has shown that it goes on. The end of one that has left may still come.

        To relay the end may take the balancer a while, but no longer than ``_LEAVING``.
        """
        publication, new = self.publication, 0
        with trio.move_on_after(_LEAVING):
            while self.publication is publication and new < _GOES_ON:
                before = self.figures.bytes_in
                await gather()
                new += self.figures.bytes_in > before

    def status(self) -> StreamStatus:
        """Return what operators see."""
        stream, publication = self.stream, self.publication
        listed = [stream.listed(track) for track in stream.tracks.values()]
        return StreamStatus(
            client=None if publication is None else str(publication.client),
            since=None if publication is None else publication.began,
            codecs=stream.codecs,
            bitrate=0 if publication is None else round(sum(map(average_rate, listed))),
            segments=max(map(len, listed), default=0),
            latest=max((segments[-1].number for segments in listed if segments), default=None),
            players=len(self.players),
            target=target_duration(stream),
            origin="" if publication is None else publication.origin,
            pushes=tuple(push.status for push in self.pushes.values()),
        )

    def join(self, player: Player) -> None:
        """Send a player the frames of the stream from now on."""
        self.players.add(player)
        self.greet(player)

    def leave(self, player: Player) -> None:
        self.players.discard(player)

    def greet(self, player: Player) -> None:
        """Send a player, or where it is pushed, what comes before frames."""
        if self.publication is not None:
            self.publication.greet(player)

    def send(self, item: PlayedItem) -> None:
        """Send to all who play it, and to where it is pushed."""
        for player in self.players:
            player.send(item)
        for push in self.pushes.values():
            push.send(item)

    def end_plays(self) -> None:
        """The publisher has left."""
        for player in self.players:
            player.end("the publisher has left")
        for push in self.pushes.values():
            push.stop()
        self.pushes.clear()


class LivePublication:
    """Implements :class:`lb.media.rtmp_server.Publication`."""

    def __init__(
        self,
        served: ServedStream,
        client: Client,
        scope: trio.CancelScope,
        *,
        key: str = "",
        origin: str = "",
        told_end: Callable[[], None] = lambda: None,
    ) -> None:
        """``origin``: where it is fetched from, if it is. ``told_end`` is called when it has ended."""
        self._served = served
        self.client = client
        self.key = key
        self._scope = scope
        self.began = served.now()
        self._bytes = 0
        self._is_announced = False
        self._metadata: StreamMetadata | None = None
        self._configured: deque[float] = deque([-math.inf] * _MOST_CONFIGS, maxlen=_MOST_CONFIGS)
        """When it has told its last configurations."""
        self.origin = origin
        self._told_end: Callable[[], None] = told_end
        served.publication = self
        served.configs = {}
        served.stream.published(self.began)

    def config(self, config: TrackConfig) -> None:
        served = self._served
        if served.publication is not self:
            return
        now = served.now()
        if now - self._configured[0] < _CONFIGS_TIME:
            self.send_away("bad_stream")
            return
        self._configured.append(now)
        served.configs[config.track] = config
        try:
            served.stream.configure(CodecConfig(config.codec, config.record), now)
        except MediaError as error:
            self._cannot_go_on(error)
            return
        served.send(config)

    def frame(self, frame: RtmpFrame) -> None:
        served, stream = self._served, self._served.stream
        if served.publication is not self:
            return
        self._bytes += len(frame.data)
        served.figures.bytes_in += len(frame.data)
        now = served.now()
        try:
            jumps = stream.frame(frame.track, frame.dts, frame.pts, now, key=frame.key, data=frame.data)
        except MediaError as error:
            self._cannot_go_on(error)
            return
        for seconds in jumps:
            served.emit(StreamJumped(served.name, seconds))
        if served.has_new_numbers:
            served.tell_numbers()
        if not self._is_announced and stream.run_number >= 0:
            self._is_announced = True
            served.emit(StreamPublished(served.name, str(self.client), stream.run_number, stream.codecs))
        served.send(frame)

    def metadata(self, metadata: StreamMetadata) -> None:
        if self._served.publication is self:
            self._metadata = metadata
            self._served.send(metadata)

    def greet(self, player: Player) -> None:
        """Send a new player what it needs before frames."""
        if self._metadata is not None:
            player.send(self._metadata)
        for config in self._served.configs.values():
            player.send(config)
        if "video" not in self._served.configs:
            player.without_video()

    def _cannot_go_on(self, error: MediaError) -> None:
        self.send_away("no_keyframe" if isinstance(error, NoKeyFrameError) else "bad_stream")

    def send_away(self, reason: UnpublishReason) -> None:
        self.ended(reason)
        self._scope.cancel()

    def ended(self, reason: UnpublishReason) -> None:
        served = self._served
        if served.publication is not self:
            return
        served.publication = None
        now = served.left_at = served.now()
        served.stream.unpublished(now)
        served.tell_numbers()
        served.recorder.end()
        served.end_plays()
        served.emit(StreamUnpublished(served.name, reason, round(now - self.began, 3), self._bytes))
        self._told_end()
