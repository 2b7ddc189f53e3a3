"""Messages between the balancer and its media processes."""

from __future__ import annotations

import attrs

from lb.events import Event
from lb.model import MediaSpec
from lb.model.stream_status import MediaSnapshot

__all__ = [
    "AskMedia",
    "ConfigureMedia",
    "EndMedia",
    "MediaAlive",
    "MediaAnswer",
    "MediaNews",
    "NumbersUsed",
    "PingMedia",
    "StopMedia",
]


@attrs.frozen
class NumbersUsed:
    """From a process: how far the numbers of a live stream are, before anybody sees them; to the one after it."""

    stream: str
    """``live/show``: application and name."""
    number: int
    """The greatest one."""
    breaks: int
    """Discontinuities so far."""


@attrs.frozen
class ConfigureMedia:
    """To a process: the configuration from now on. The first message."""

    spec: MediaSpec
    used: tuple[NumbersUsed, ...] = ()
    """In the first message: by the processes before."""


@attrs.frozen
class StopMedia:
    """To a process: end the publishers and players, and let nobody in any more."""


@attrs.frozen
class EndMedia:
    """To a process that is not configured any more: end, once its events are sent."""


@attrs.frozen
class AskMedia:
    """To a process: tell what there is. The next question comes after the answer."""


@attrs.frozen
class MediaAnswer:
    """From a process: what there is, and what it has counted in its life."""

    snapshot: MediaSnapshot


@attrs.frozen
class MediaNews:
    """From a process: an event."""

    event: Event


@attrs.frozen
class PingMedia:
    """To a process: say that you are alive."""


@attrs.frozen
class MediaAlive:
    """From a process: the answer to a ping."""
