"""Events of live streams and films. Import them from :mod:`lb.events`."""

from __future__ import annotations

from typing import Literal, TypeAlias

from lb.events.base import Event, frozen_event

__all__ = [
    "MediaProcessRestarted",
    "RefusalReason",
    "StreamHookFailed",
    "StreamJumped",
    "StreamPublished",
    "StreamPullFailed",
    "StreamPushFailed",
    "StreamPushed",
    "StreamRecordFailed",
    "StreamRecorded",
    "StreamRefused",
    "StreamUnpublished",
    "TitleRefused",
    "UnpublishReason",
]

UnpublishReason: TypeAlias = Literal[
    "left", "reset", "idle", "no_keyframe", "bad_stream", "replaced", "stopped", "removed", "unwatched"
]
RefusalReason: TypeAlias = Literal["key", "busy", "hook", "handshake", "protocol", "limit"]


@frozen_event
class StreamPublished(Event):
    """A publisher has begun a stream, and its codecs are known."""

    name = "stream.published"
    stream: str
    """``live/show``: application and name."""
    client: str
    run: int
    """The number of its first segment."""
    codecs: tuple[str, ...]
    """As RFC 6381 writes them."""


@frozen_event
class StreamUnpublished(Event):
    """A publisher has ended."""

    name = "stream.unpublished"
    stream: str
    reason: UnpublishReason
    seconds: float
    bytes: int


@frozen_event
class StreamRefused(Event):
    """A publisher was refused."""

    name = "stream.refused"
    level = "warning"
    stream: str
    """Empty if it has not said which."""
    client: str
    reason: RefusalReason


@frozen_event
class StreamJumped(Event):
    """The timestamps of a publisher have jumped. The stream goes on as if they had not."""

    name = "stream.jumped"
    level = "warning"
    stream: str
    seconds: float


@frozen_event
class StreamPushed(Event):
    """A stream is sent to a target: from the begin, or again."""

    name = "stream.pushed"
    stream: str
    target: str
    """``rtmp://host/app``: what follows may be a key."""


@frozen_event
class StreamPushFailed(Event):
    """A stream cannot be sent to a target, or no longer. More attempts follow; ``stream.pushed`` tells of success."""

    name = "stream.push_failed"
    level = "warning"
    stream: str
    target: str
    error: str


@frozen_event
class StreamPullFailed(Event):
    """An origin does not let streams be fetched. Emitted once until one is fetched again."""

    name = "stream.pull_failed"
    level = "warning"
    stream: str
    """That was asked for."""
    origin: str
    error: str


@frozen_event
class StreamHookFailed(Event):
    """A hook has not answered, or with neither yes nor no. A publisher who waits for its answer is refused."""

    name = "stream.hook_failed"
    level = "warning"
    stream: str
    hook: Literal["on_publish", "on_publish_done"]
    error: str


@frozen_event
class StreamRecorded(Event):
    """A recording is complete."""

    name = "stream.recorded"
    stream: str
    file: str
    seconds: float
    bytes: int


@frozen_event
class StreamRecordFailed(Event):
    """A recording has ended because of an error. The stream goes on."""

    name = "stream.record_failed"
    level = "error"
    stream: str
    error: str


@frozen_event
class TitleRefused(Event):
    """A film cannot be served. Emitted once for each state of its file."""

    name = "media.title_refused"
    level = "warning"
    title: str
    reason: str


@frozen_event
class MediaProcessRestarted(Event):
    """A process of media has ended, and is started again."""

    name = "media.process_restarted"
    level = "error"
    process: Literal["live", "vod"]
    status: str
    """How it has ended: ``exit code 1``, ``killed by SIGKILL``."""
