"""Who would get a client, and why not each other server: what a pick would go by, without picking."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import Literal

import attrs

from lb.address import Client
from lb.backend import Backend
from lb.explain.decision import Considered, Decision, Figures, Verdict, count
from lb.model import Server
from lb.pool import Pool
from lb.strategy_drive import finish
from lb.tier import Tier
from strategies.base import View

__all__ = ["explain", "explained", "otherwise"]

OF_TURNS = ("turn", "credit", "picks_ago")
"""Figures that mean nothing but in the process that takes the turns."""


def explain(pool: Pool, client: Client, tried: Collection[Server] = ()) -> Decision:
    """What the pool's next pick would be; changes nothing about it. O(n log n), so not for every connection."""
    return finish(explained(pool, client, tried))


def explained(
    pool: Pool, client: Client, tried: Collection[Server] = (), *, without: Collection[str] = (), here: bool = True
) -> Generator[None, None, Decision]:
    """The same with a yield between slices of under a millisecond, in which things may happen to the servers.

    Only the strategy is asked in one go: up to 2 ms for a thousand servers.

    ``without`` names servers that are taken for down. ``here``: this process picks, so it knows whose turn it is.
    """
    if not here:
        yield from _look_at_loads(pool)
    supposed = {backend for backend in pool.backends.values() if backend.name in without}
    passed = {*tried, *supposed}
    tier, candidates = _level(pool, _fit(pool, passed))
    held = tier.held_back & candidates
    if held == candidates:
        held = set()  # there is nobody else
    candidates -= held
    yield
    view = tier.explain(client, candidates)
    yield
    chosen = _foreseen(pool, view, candidates, here=here)
    sight = _Sight(tried, supposed, candidates, held, chosen)
    figures: Mapping[Server, Figures] = dict(view.order)
    places = {server: place for place, server in enumerate(figures)}
    servers = []
    for backend in sorted(pool.backends.values(), key=lambda backend: places.get(backend, len(places))):
        seen = _told(figures.get(backend, {}), here=here)
        servers.append(Considered(backend.name, *sight.verdict(backend), backend.weight, backend.active, seen))
        yield
    return Decision(
        pool.spec.strategy.name,
        view.decides,
        view.key,
        chosen.name if chosen is not None else None,
        "" if candidates else otherwise(pool, passed),
        tuple(servers),
        count(servers),
    )


def _look_at_loads(pool: Pool) -> Iterator[None]:
    """Other processes take the leases, and nobody has told the strategies of this one."""
    primary, backups = pool.tiers
    for backend in tuple(pool.backends.values()):
        if backend.spec.weight > 0:
            (backups if backend.spec.backup else primary).load_changed(backend)
        yield


def otherwise(pool: Pool, passed: Collection[Server]) -> Literal["reject", "hold", "queue"]:
    """What becomes of a client for whom there is no server."""
    if pool.may_queue(passed):
        return "queue"
    return "hold" if pool.spec.when_all_down == "hold" else "reject"


def _fit(pool: Pool, passed: Collection[Server]) -> set[Backend]:
    """All that may be chosen; health aside, if the pool's policy is so."""
    left = {backend for backend in pool.backends.values() if backend not in passed}
    fit = {backend for backend in left if backend.available}
    if not fit and pool.spec.when_all_down == "any" and not pool.may_queue(passed):
        fit = {backend for backend in left if backend.open_to_new}
    return fit


def _level(pool: Pool, fit: Collection[Backend]) -> tuple[Tier, set[Backend]]:
    """Primaries come first: those who choose, and among whom."""
    primary, backups = pool.tiers
    primaries = {backend for backend in fit if not backend.spec.backup}
    return (backups, set(fit)) if fit and not primaries else (primary, primaries)


def _foreseen(pool: Pool, view: View, candidates: Collection[Server], *, here: bool) -> Server | None:
    """Whom the strategy would choose, if that can be told."""
    if len(candidates) == 1 and view.decides != "unknown":
        return next(iter(candidates))
    order = [(server, figures) for server, figures in view.order if server in candidates]
    told = view.decides == "client" or (here and view.decides in ("turn", "load"))
    if order and (told or (view.decides == "load" and _has_least(pool, order))):
        return order[0][0]
    return None


def _has_least(pool: Pool, order: Sequence[tuple[Server, Figures]]) -> bool:
    """The first has less load than all others: so it is in each process, unless these give servers a slow start."""
    loads = [figures.get("load", math.inf) for _, figures in order]
    return len(loads) > 1 and loads[0] < min(loads[1:]) and not pool.spec.slow_start


def _told(figures: Figures, *, here: bool) -> Figures:
    return figures if here else {name: figure for name, figure in figures.items() if name not in OF_TURNS}


@attrs.frozen
class _Sight:
    """How it stands with the servers at one pick."""

    tried: Collection[Server]
    supposed: Collection[Server]
    candidates: Collection[Server]
    held: Collection[Server]
    chosen: Server | None

    def verdict(self, backend: Backend) -> tuple[Verdict, str]:
        """What becomes of this one, and why."""
        if backend in self.tried:
            return "tried", ""
        if backend in self.supposed and backend.available:
            return "down", "supposed"
        if backend in self.candidates:
            return "chosen" if backend is self.chosen else "candidate", backend.health.reason
        if backend in self.held:
            return "slow start", f"at {backend.ramp:.0%} of its weight"
        return _out(backend)


def _out(backend: Backend) -> tuple[Verdict, str]:
    """Why it is no candidate, apart from what the connection has to do with it."""
    if backend.state == "draining":
        return "draining", "weight 0" if backend.weight == 0 else "as its agent asks"
    if backend.state != "up":
        return backend.state, backend.health.reason
    if backend.full:
        return "full", f"{backend.active} of {backend.spec.max_connections} connections"
    return ("backup" if backend.spec.backup else "candidate"), ""  # the latter only since it was looked for them
