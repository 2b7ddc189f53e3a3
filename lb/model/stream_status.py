"""A live stream as operators see it. Values only: no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from lb.model.media_figures import MediaFigures

__all__ = ["MediaSnapshot", "PushStatus", "StreamStatus", "ladder_status"]


@attrs.frozen
class PushStatus:
    """A target that a stream is pushed to."""

    target: str
    """``rtmp://host/app``: what follows may be a key."""
    state: Literal["connecting", "live", "failed"]
    error: str = ""
    """Why it has failed, if it has."""


@attrs.frozen
class StreamStatus:
    """A stream, or a ladder of streams, at one moment."""

    client: str | None = None
    """The address of its publisher; None: there is none, or it is a ladder."""
    since: float | None = None
    """When the publisher came, in seconds since 1970."""
    codecs: tuple[str, ...] = ()
    """Of the publisher, as RFC 6381 writes them."""
    bitrate: int = 0
    """Bits a second of the listed segments, while there is a publisher."""
    segments: int = 0
    """Listed segments of the track that has most."""
    latest: int | None = None
    """The number of the newest segment."""
    players: int = 0
    """RTMP players."""
    target: int = 0
    """The target duration of its playlists, in seconds."""
    origin: str = ""
    """Where the stream is fetched from, ``rtmp://host/app``; empty if somebody publishes it here."""
    pushes: tuple[PushStatus, ...] = ()
    """Of the publisher's stream."""
    ladder: tuple[str, ...] = ()
    """The streams that are its renditions; empty if it is no ladder."""

    @property
    def live(self) -> bool:
        return self.since is not None


def ladder_status(ladder: Sequence[str], members: Sequence[StreamStatus]) -> StreamStatus:
    """Return the status of a ladder. ``members`` are those of its streams that are known."""
    live = [member for member in members if member.since is not None]
    return StreamStatus(
        since=min((member.since for member in live if member.since is not None), default=None),
        codecs=tuple(dict.fromkeys(codec for member in live for codec in member.codecs)),
        bitrate=sum(member.bitrate for member in live),
        segments=max((member.segments for member in members), default=0),
        latest=max((member.latest for member in members if member.latest is not None), default=None),
        players=sum(member.players for member in members),
        target=max((member.target for member in members), default=0),
        ladder=tuple(ladder),
    )


@attrs.frozen
class MediaSnapshot:
    """What the media processes tell."""

    streams: Mapping[str, StreamStatus] = attrs.field(factory=dict)
    """By ``app/name``."""
    publishers: Mapping[str, int] = attrs.field(factory=dict)
    """By application."""
    figures: MediaFigures = attrs.field(factory=MediaFigures)
    answered: Mapping[str, bool] = attrs.field(factory=dict)
    """By process, ``live`` and ``vod``: whether it has told anything."""
