"""Predict a pick without making it: the server that a client would get, and the reason for each other server."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import Literal

import attrs

from lb.model import Server
from lb.model.address import Client
from lb.model.decision import Considered, Decision, Factors, ServerVerdict, count
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.pools.priority_group import PriorityGroup
from strategies.base import View
from strategies.driver import finish

__all__ = ["expected_share", "explain", "explained", "otherwise"]

OF_TURNS = ("turn", "credit", "deadline")
"""Factors that only have a meaning in the process that makes the picks."""


def explain(pool: Pool, client: Client, tried: Collection[Server] = ()) -> Decision:
    """Return the pool's next pick for a client, without side effects. Costs O(n log n); not for every connection."""
    return finish(explained(pool, client, tried))


def explained(
    pool: Pool, client: Client, tried: Collection[Server] = (), *, without: Collection[str] = (), here: bool = True
) -> Generator[None, None, Decision]:
    """Do the same with yields between slices of under a millisecond; the servers may change meanwhile.

    Only the call of the strategy is one slice: up to 2 ms for a thousand servers.

    ``without`` names servers to assume down. ``here`` is true if this process picks, and so knows the turns.
    """
    if not here:
        yield from _refresh_loads(pool)
    assumed_down = {backend for backend in pool.backends.values() if backend.name in without}
    excluded = {*tried, *assumed_down}
    group, candidates = _group(pool, _eligible(pool, excluded))
    held = group.held_back & candidates
    if held == candidates:
        held = set()  # no other server is left
    candidates -= held
    yield
    view = group.explain(client, candidates)
    yield
    chosen = _predicted(pool, view, candidates, here=here)
    pick = _Pick(tried, assumed_down, candidates, held, chosen)
    figures: Mapping[Server, Factors] = dict(view.order)
    places = {server: place for place, server in enumerate(figures)}
    servers = []
    for backend in sorted(pool.backends.values(), key=lambda backend: places.get(backend, len(places))):
        factors, weight = _known(figures.get(backend, {}), here=here), backend.spec.effective_weight
        servers.append(Considered(backend.name, *pick.verdict(backend), weight, backend.active, factors))
        yield
    return Decision(
        pool.spec.strategy.name,
        view.decides,
        view.key,
        chosen.name if chosen is not None else None,
        "" if candidates else otherwise(pool, excluded),
        tuple(servers),
        count(servers),
    )


def expected_share(pool: Pool, backend: Backend) -> float | None:
    """Return a server's part of the new connections, 0 to 1, in the long run and if all last alike; None if unknown.

    That depends on the weights and on which servers are up, not on the connections that are open now.
    """
    in_service = {each for each in pool.backends.values() if each.health.serving and not each.closed}
    group, candidates = _group(pool, in_service)
    shares = group.expected_shares(candidates)
    return shares.get(backend, 0.0) if shares or not candidates else None


def _refresh_loads(pool: Pool) -> Iterator[None]:
    """Update the loads in the strategies of this process, as workers hold the leases."""
    primary, backups = pool.groups
    for backend in tuple(pool.backends.values()):
        if backend.spec.weight > 0:
            (backups if backend.spec.backup else primary).load_changed(backend)
        yield


def otherwise(pool: Pool, excluded: Collection[Server]) -> Literal["reject", "hold", "queue"]:
    """Return what happens to a client if no server is available; ``excluded`` cannot be chosen."""
    if pool.may_queue(excluded):
        return "queue"
    return "hold" if pool.spec.when_all_down == "hold" else "reject"


def _eligible(pool: Pool, excluded: Collection[Server]) -> set[Backend]:
    """Return the servers that may be chosen; with ``when_all_down = "any"`` unhealthy ones, if no other is left."""
    remaining = {backend for backend in pool.backends.values() if backend not in excluded}
    eligible = {backend for backend in remaining if backend.available}
    if not eligible and pool.spec.when_all_down == "any" and not pool.may_queue(excluded):
        eligible = {backend for backend in remaining if backend.open_to_new}
    return eligible


def _group(pool: Pool, eligible: Collection[Backend]) -> tuple[PriorityGroup, set[Backend]]:
    """Return the priority group that picks, and its candidates. Primaries come before backups."""
    primary, backups = pool.groups
    primaries = {backend for backend in eligible if not backend.spec.backup}
    return (backups, set(eligible)) if eligible and not primaries else (primary, primaries)


def _predicted(pool: Pool, view: View, candidates: Collection[Server], *, here: bool) -> Server | None:
    """Return the server that the strategy would choose; None if it cannot be predicted."""
    if len(candidates) == 1 and view.decides != "unknown":
        return next(iter(candidates))
    order = [(server, figures) for server, figures in view.order if server in candidates]
    known = view.decides in ("client", "request", "order") or (here and view.decides in ("turn", "load"))
    if order and (known or (view.decides == "load" and _has_least(pool, order))):
        return order[0][0]
    return None


def _has_least(pool: Pool, order: Sequence[tuple[Server, Factors]]) -> bool:
    """Return whether the first server alone has the lowest load. Every worker picks it then, except in slow start."""
    loads = [figures.get("load", math.inf) for _, figures in order]
    return len(loads) > 1 and loads[0] < min(loads[1:]) and not pool.spec.slow_start


def _known(figures: Factors, *, here: bool) -> Factors:
    return figures if here else {name: figure for name, figure in figures.items() if name not in OF_TURNS}


@attrs.frozen
class _Pick:
    """The situation of the servers at one pick."""

    tried: Collection[Server]
    assumed_down: Collection[Server]
    candidates: Collection[Server]
    held: Collection[Server]
    chosen: Server | None

    def verdict(self, backend: Backend) -> tuple[ServerVerdict, str]:
        """Return the verdict on a server, and its reason."""
        if backend in self.tried:
            return "tried", ""
        if backend in self.assumed_down and backend.available:
            return "down", "assumed"
        if backend in self.candidates:
            return "chosen" if backend is self.chosen else "candidate", backend.health.reason
        if backend in self.held:
            return "slow start", f"at {backend.ramp:.0%} of its weight"
        return _unavailable(backend)


def _unavailable(backend: Backend) -> tuple[ServerVerdict, str]:
    """Return why a server is no candidate, for reasons that do not depend on the connection."""
    if backend.state == "draining":
        return "draining", "weight 0" if backend.spec.effective_weight == 0 else "by its agent check"
    if backend.state != "up":
        return backend.state, backend.health.reason
    if backend.full:
        return "full", f"{backend.active} of {backend.spec.max_connections} connections"
    return ("backup" if backend.spec.backup else "candidate"), ""  # the latter if it became available meanwhile
