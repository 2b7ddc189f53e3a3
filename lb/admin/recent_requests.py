"""The counters of requests as they were a minute ago: samples, taken beside the traffic."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn

import attrs
import trio

from lb.control.balancer import Balancer
from lb.dataplane.requests import RequestsByRoute
from lb.model.cache_figures import CacheFigures
from lb.model.forward import ForwardSettings
from lb.model.http import HttpSettings

__all__ = ["RecentRequests", "http_listeners"]

SAMPLE_PERIOD = 5.0
"""Seconds between two samples. A guess: a sample costs as much as a status."""
SAMPLES = 12
"""Samples kept, the oldest of which is up to a minute old."""


@attrs.define
class RecentRequests:
    """The counters of the last minute."""

    _caches: deque[Mapping[str, CacheFigures]] = attrs.field(factory=lambda: deque(maxlen=SAMPLES))
    _samples: deque[tuple[float, RequestsByRoute]] = attrs.field(factory=lambda: deque(maxlen=SAMPLES))

    def sample(
        self, now: float, requests: RequestsByRoute, caches: Mapping[str, CacheFigures] = MappingProxyType({})
    ) -> None:
        """Keep the counters of this moment. They must not change afterwards."""
        self._samples.append((now, requests))
        self._caches.append(caches)

    @property
    def oldest_caches(self) -> Mapping[str, CacheFigures]:
        """The figures of the caches, by zone, of the oldest sample; none before there is one."""
        return self._caches[0] if self._caches else {}

    def oldest(self, now: float, requests: RequestsByRoute) -> tuple[float, RequestsByRoute]:
        """Return the oldest sample with its time; before there is one, what is given: the state now."""
        return self._samples[0] if self._samples else (now, requests)

    async def run(self, balancer: Balancer) -> NoReturn:
        """Take samples while there is a listener that serves requests."""
        while True:
            if http_listeners(balancer):
                stats = await balancer.data_plane.stats()
                self.sample(trio.current_time(), stats.figures.requests, stats.caches)
            else:
                self._samples.clear()
                self._caches.clear()
            await trio.sleep(SAMPLE_PERIOD)


def http_listeners(balancer: Balancer) -> list[str]:
    """Return the names of the listeners that serve requests."""
    specs = balancer.config.listeners.items()
    return [name for name, spec in specs if isinstance(spec.settings, HttpSettings | ForwardSettings)]
