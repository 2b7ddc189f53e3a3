"""What keeps a balancer from being ready: pools that have no server for a new client.

Decisions without I/O, over running pools; :class:`Readiness` wakes whoever waits for a change.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from lb.pools.pool import Pool

__all__ = ["Readiness", "out_of_service", "unproven", "without_server"]


class Readiness:
    """Says when the readiness of a balancer may have changed."""

    def __init__(self) -> None:
        self.next_change = trio.Event()
        """Is set at the next change. Take it before looking at the pools: then no change is missed."""

    def changed(self) -> None:
        """Wake those who wait."""
        self.next_change.set()
        self.next_change = trio.Event()


def without_server(pools: Mapping[str, Pool]) -> list[str]:
    """Return the pools that have no available server. ``/readyz`` is 200 if there are none."""
    return [name for name, pool in pools.items() if not any(backend.available for backend in pool.backends.values())]


def out_of_service(pools: Mapping[str, Pool]) -> list[str]:
    """Return the pools that have no available server, where a full one counts as available.

    A balancer that is busy must not leave the traffic to the others, which are as busy.
    """
    return [name for name, pool in pools.items() if not any(backend.in_service for backend in pool.backends.values())]


def unproven(pools: Mapping[str, Pool]) -> list[str]:
    """Return the pools with active checks of whose servers none has passed a check since this process started."""
    return [
        name
        for name, pool in pools.items()
        if pool.spec.health is not None and not any(backend.has_passed for backend in pool.backends.values())
    ]
