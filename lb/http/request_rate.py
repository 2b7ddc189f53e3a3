"""``rate``: at most so many requests a second of each client."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable

from lb.http.steps import ExchangeView
from lb.model.address import SEEN_ADDRESSES, address_of
from lb.proxy.source_limits import Cells, SourceLimits

__all__ = ["RequestRate"]


class RequestRate:
    """Lets ``burst`` requests of a client pass at once, and ``rate`` a second on average. Implements Step.

    A client is an IPv4 address, or the first 64 bits of an IPv6 address. All workers count together. Clients without an
    address, of unix sockets, are not limited. ``key`` tells the routes of a process apart.
    """

    def __init__(
        self,
        key: str,
        rate: float,
        burst: int,
        sources: SourceLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._sources = sources
        self._clock = clock
        """A clock in seconds that all processes share."""

        @functools.lru_cache(SEEN_ADDRESSES)
        def cells(host: str) -> Cells | None:
            address = address_of(host)
            return None if address is None else sources.cells(key, address)

        self._cells = cells

    def begin(self, exchange: ExchangeView) -> bool:
        cells = self._cells(exchange.client.host)
        if cells is None:
            return True
        wait = self._sources.wait(cells, self._rate, self._burst, self._clock())
        if not wait:
            return True
        exchange.fail(429, "rate", ((b"Retry-After", b"%d" % math.ceil(wait)),))
        return False
