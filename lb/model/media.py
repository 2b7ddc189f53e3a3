"""Live streams and video on demand, as configured."""

from __future__ import annotations

from typing import Literal

import attrs

from lb.model.plugin import Secret
from lb.model.rtmp_address import RtmpAddress

__all__ = ["LIVE_POOL", "MEDIA_KEY", "RTMP_POOL", "VOD_POOL", "LiveSpec", "MediaSpec", "PublishKey", "VodSpec"]

RTMP_POOL, LIVE_POOL, VOD_POOL = "media-rtmp", "media-live", "media-vod"
"""The names of the internal pools: each has one server, a process that makes segments."""
MEDIA_KEY = "{scheme}{host}{path}{argument:_HLS_msn}{argument:_HLS_part}"
"""The key of media in a cache: of a query, it has what asks for a playlist that is not there yet."""


@attrs.frozen
class PublishKey:
    """Who publishes a stream must know the key. ``name`` ``*`` is any stream that has no key of its own."""

    name: str
    key: Secret


@attrs.frozen
class LiveSpec:
    """A table ``[media.live.NAME]``: an application, whose streams are published by RTMP. Times are in seconds."""

    name: str
    segment: float = 2.0
    window: int = 6
    """Segments that are listed."""
    keep: int = 12
    """Segments that are served, at least those listed."""
    part: float = 0.0
    """Length of the parts of segments for low latency; 0 = none."""
    linger: float = 60.0
    """How long a stream outlives its publisher."""
    max_gop: float = 20.0
    """Without a key frame for so long, the publisher is closed."""
    publish: tuple[PublishKey, ...] = ()
    """Empty = nobody publishes, or whom ``on_publish`` lets in."""
    on_publish: Secret | None = None
    """A URL that is asked who may publish. It may hold a login."""
    on_publish_done: Secret | None = None
    """A URL that is told when a publisher has ended."""
    second_publisher: Literal["refuse", "replace"] = "refuse"
    ladder: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Streams that are the renditions of one, by its name."""
    dvr: float = 0.0
    """How far back viewers may go, on disk; 0: as far as ``window``."""
    push: tuple[RtmpAddress, ...] = ()
    """Where each stream is sent to; with variables."""
    pull: RtmpAddress | None = None
    """Where streams are fetched from that nobody publishes; with variables."""
    record: str = ""
    """The path of recordings below ``directory``, with ``{app}``, ``{name}`` and ``{start}``; empty = none."""
    play: bool = True
    """RTMP players are served, too."""

    @property
    def window_seconds(self) -> float:
        """How far back viewers may go."""
        return max(self.window * self.segment, self.dvr)


@attrs.frozen
class VodSpec:
    """A table ``[media.vod.NAME]``: MP4 files of a directory, as HLS and DASH."""

    name: str
    root: str
    """An absolute path."""
    segment: float = 6.0
    titles: int = 256
    """Titles that are open at a time."""


@attrs.frozen
class MediaSpec:
    """The table ``[media]``."""

    directory: str = ""
    """Where recordings and segments of ``dvr`` are kept: an absolute path; empty = there are none."""
    memory: int = 1 << 30
    """Bytes of all live segments together."""
    live: tuple[LiveSpec, ...] = ()
    vod: tuple[VodSpec, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.live or self.vod)

    @property
    def pools(self) -> tuple[str, ...]:
        """The internal pools that it needs."""
        return (*((RTMP_POOL, LIVE_POOL) if self.live else ()), *((VOD_POOL,) if self.vod else ()))
