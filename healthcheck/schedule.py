"""Start times of health checks, spread so that the checks of many servers never burst. Pure functions, in seconds.

Servers start at different points of the interval. Jitter keeps them apart later: without it, servers that were slow at
the same time (a network outage) would be checked at the same time from then on.
"""

from __future__ import annotations

import hashlib
from random import Random

__all__ = ["first_delay", "next_start", "soon"]

_JITTER = 0.1  # fraction of the interval, both ways; an estimate: HAProxy recommends 2 % to 5 %, Envoy nothing


def first_delay(server: str, interval: float, rng: Random) -> float:
    """Return the delay before the first check of ``server`` (``pool/name``): its own point in the interval.

    The point is a hash of the name, so it is the same after a restart, and many tasks started at once are spread.
    The jitter keeps several balancers apart.
    """
    digest = hashlib.blake2b(server.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * _jittered(interval, rng)


def next_start(started: float, interval: float, rng: Random) -> float:
    """Return the start of the next check after one that started at ``started``.

    Intervals run from start to start. If the check took longer, the time is in the past and the next check starts at
    once.
    """
    return started + _jittered(interval, rng)


def soon(now: float, interval: float, rng: Random) -> float:
    """Return a start within an interval from now, for one of many servers whose checks become due together: spread."""
    return now + interval * rng.random()


def _jittered(interval: float, rng: Random) -> float:
    return interval * rng.uniform(1 - _JITTER, 1 + _JITTER)
