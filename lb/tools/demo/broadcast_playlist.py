"""What a viewer reads in a playlist, and how much of it a player has yet to play. No I/O."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from datetime import datetime

import attrs

__all__ = ["ListedSegment", "Playback", "last_seconds", "listed_segments", "media_playlists"]

SECONDS_BEHIND = 6.0
"""A player begins so long before the end: three segments of usual length, as RFC 8216, section 6.3.3, wants it."""
_URI = re.compile(r'URI="([^"]+)"')


@attrs.frozen
class ListedSegment:
    """A complete segment of a media playlist."""

    number: int
    uri: str
    seconds: float
    begins: float
    """Unix time of its first picture."""


def media_playlists(master: str) -> list[str]:
    """Return the URIs of the media playlists in a master playlist."""
    found = [uri[1] for line in master.splitlines() if line.startswith("#EXT-X-MEDIA:") and (uri := _URI.search(line))]
    return [line for line in master.splitlines() if line and not line.startswith("#")] + found


def listed_segments(playlist: str) -> list[ListedSegment]:
    """Return the segments of a media playlist, each of which has a date."""
    found: list[ListedSegment] = []
    number, seconds, begins = 0, 0.0, 0.0
    for line in playlist.splitlines():
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-MEDIA-SEQUENCE":
            number = int(value)
        elif tag == "#EXT-X-PROGRAM-DATE-TIME":
            begins = datetime.fromisoformat(value).timestamp()
        elif tag == "#EXTINF":
            seconds = float(value.rstrip(","))
        elif line and not line.startswith("#"):
            found.append(ListedSegment(number, line, seconds, begins))
            number, begins = number + 1, begins + seconds
    return found


def last_seconds(segments: Sequence[ListedSegment]) -> list[ListedSegment]:
    """Return those at the end that a player begins with."""
    found: deque[ListedSegment] = deque()
    for segment in reversed(segments):
        if sum(each.seconds for each in found) >= SECONDS_BEHIND:
            break
        found.appendleft(segment)
    return list(found)


class Playback:
    """A player's buffer: segments that were fetched, played one after the other.

    Times are those of one monotonic clock. It begins once it has some seconds. Without anything more to play it
    stalls, and goes on with the next segment.
    """

    def __init__(self) -> None:
        self.stalls = 0
        self._segments: deque[ListedSegment] = deque()
        self._moment: float | None = None
        """When the first segment of the buffer begins, or began, to be played; None: not begun."""
        self._is_stalled = False

    @property
    def began(self) -> bool:
        return self._moment is not None

    def restart(self) -> None:
        """Another player begins."""
        self._segments.clear()
        self._moment, self._is_stalled = None, False

    def fetched(self, segment: ListedSegment, now: float) -> None:
        """A segment has come."""
        self.look(now)
        self._segments.append(segment)
        if self._is_stalled or (self._moment is None and self.buffered(now) >= SECONDS_BEHIND):
            self._is_stalled, self._moment = False, now

    def look(self, now: float) -> None:
        """Drop what was played until now."""
        while self._moment is not None and self._segments and now - self._moment >= self._segments[0].seconds:
            self._moment += self._segments.popleft().seconds
        if self.began and not self._segments and not self._is_stalled:
            self._is_stalled = True
            self.stalls += 1

    def buffered(self, now: float) -> float:
        """Return the seconds that are still to be played."""
        self.look(now)
        played = now - self._moment if self._moment is not None and self._segments else 0.0
        return sum(segment.seconds for segment in self._segments) - played

    def latency(self, now: float, wall_clock: float) -> float | None:
        """Return how old the picture is that is shown; None if none is. ``wall_clock`` is in Unix time."""
        self.look(now)
        if self._moment is None or not self._segments:
            return None
        return wall_clock - (self._segments[0].begins + now - self._moment)
