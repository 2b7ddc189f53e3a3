"""When checks start, so that those of many servers never burst. Pure: times and intervals are seconds.

Servers start at different points of the interval, and jitter keeps them from falling into step later: servers that
were slow together (a pause of the network) would otherwise be checked together from then on.
"""

from __future__ import annotations

import hashlib
from random import Random

__all__ = ["first_delay", "next_start", "soon"]

_JITTER = 0.1  # of the interval, to either side; a guess: HAProxy's spread-checks advises 2 % to 5 %, Envoy's is free


def first_delay(server: str, interval: float, rng: Random) -> float:
    """How long to wait for the first check of ``server`` (``pool/name``): a point in the interval that is its own.

    The point comes from a hash, so that it stays the same over restarts and the servers are spread however many tasks
    start at once; the jitter keeps several balancers apart.
    """
    digest = hashlib.blake2b(server.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * _jittered(interval, rng)


def next_start(started: float, interval: float, rng: Random) -> float:
    """When to start the next check after one that started at ``started``.

    Counted from start to start; the time may be past already if that check took long, the next then follows at once.
    """
    return started + _jittered(interval, rng)


def soon(now: float, fast_interval: float, rng: Random) -> float:
    """When to check a server that real traffic has just ejected: spread, as many may be ejected together."""
    return now + fast_interval * rng.random()


def _jittered(interval: float, rng: Random) -> float:
    return interval * rng.uniform(1 - _JITTER, 1 + _JITTER)
