"""The live streams, for ``GET /api/v1/streams`` and the status."""

from __future__ import annotations

import time

import attrs
import trio

from lb.admin.utc_text import utc_text
from lb.control.balancer import Balancer
from lb.dataplane.stats import StatsSnapshot
from lb.dataplane.viewers import viewers_of
from lb.model import MediaSpec
from lb.model.stream_status import MediaSnapshot, StreamStatus

__all__ = ["figures_of", "streams_of", "viewers"]


async def figures_of(balancer: Balancer) -> tuple[StatsSnapshot, MediaSnapshot]:
    """Return what the data plane and the media processes tell. Each has two seconds, at the same time."""
    found: list[StatsSnapshot] = []

    async def ask() -> None:
        found.append(await balancer.data_plane.stats())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        media = await balancer.media_snapshot()
    return found[0], media


def viewers(media: MediaSpec, stats: StatsSnapshot, snapshot: MediaSnapshot) -> dict[str, int]:
    """Return the number of viewers now, by ``app/name``; streams without any may be missing."""
    targets = {name: float(each.target) for name, each in snapshot.streams.items() if each.target}
    return viewers_of(stats.watched, media, targets, time.monotonic())


def streams_of(media: MediaSpec, stats: StatsSnapshot, snapshot: MediaSnapshot) -> dict[str, object]:
    """Return the document of each stream, by ``app/name``."""
    watching = viewers(media, stats, snapshot)
    return {name: _stream(each, watching.get(name, 0)) for name, each in snapshot.streams.items()}


def _stream(stream: StreamStatus, watching: int) -> dict[str, object]:
    return {
        "live": stream.live,
        "client": stream.client,
        "since": None if stream.since is None else utc_text(stream.since),
        "codecs": list(stream.codecs),
        "bitrate": stream.bitrate,
        "viewers": watching,
        "players": stream.players,
        "segments": stream.segments,
        "latest": stream.latest,
        "origin": stream.origin or None,
        "push": [attrs.asdict(push) for push in stream.pushes],
        "ladder": list(stream.ladder),
    }
