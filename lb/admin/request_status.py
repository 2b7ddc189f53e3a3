"""The requests of each listener in the status document: totals, and rates and percentiles of the last minute."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import attrs

from lb.dataplane.requests import STATUS_CLASSES, Durations, RequestsByRoute, RouteRequests
from lb.net.cooperate import in_turns

__all__ = ["requests_of"]

SLOWEST = 5
"""Maximum routes of a listener in the list of the slowest."""


@attrs.define
class _Listener:
    """The requests of a listener: all, those since ``began``, and the latter by route."""

    total: RouteRequests = attrs.field(factory=RouteRequests)
    recent: RouteRequests = attrs.field(factory=RouteRequests)
    routes: list[tuple[float, str, RouteRequests]] = attrs.field(factory=list)
    """With the 90th percentile in seconds first."""

    def add(self, route: str, requests: RouteRequests, before: RouteRequests | None) -> None:
        self.total.add(requests)
        recent = requests if before is None else requests.since(before)
        slow = recent.took.quantile(0.9)
        if slow is not None:
            self.recent.add(recent)
            self.routes.append((slow, route, recent))

    def document(self, seconds: float) -> dict[str, object]:
        """Return the values for the status. ``seconds``: the time of what is recent."""
        slowest = heapq.nlargest(SLOWEST, self.routes, key=lambda entry: entry[0])
        return {
            "total": self.total.total,
            "statuses": dict(zip(STATUS_CLASSES, self.total.statuses, strict=True)),
            "last_minute": {
                "seconds": round(seconds, 3),
                "per_second": _rate(self.recent.total, seconds),
                "statuses": {
                    name: _rate(count, seconds)
                    for name, count in zip(STATUS_CLASSES, self.recent.statuses, strict=True)
                },
                **_percentiles(self.recent.took),
                "first_byte": _percentiles(self.recent.first_byte),
                "slowest_routes": [
                    {"route": route, "per_second": _rate(recent.total, seconds), **_percentiles(recent.took)}
                    for _, route, recent in slowest
                ],
            },
        }


async def requests_of(
    listeners: Iterable[str], requests: RequestsByRoute, before: RequestsByRoute, seconds: float
) -> dict[str, dict[str, object]]:
    """Return the ``requests`` of these listeners. ``before``: the counters as they were so many seconds ago."""
    found = {name: _Listener() for name in listeners}
    async for (name, route), each in in_turns(list(requests.items())):
        if name in found:
            found[name].add(route, each, before.get((name, route)))
    return {name: listener.document(seconds) for name, listener in found.items()}


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 3) if seconds > 0 else 0.0


def _percentiles(durations: Durations) -> dict[str, float | None]:
    """Return percentiles in milliseconds; None without a duration."""
    found = {f"p{share}_ms": durations.quantile(share / 100) for share in (50, 90, 99)}
    return {name: None if seconds is None else round(seconds * 1000, 3) for name, seconds in found.items()}
