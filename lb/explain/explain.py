"""Who would get a client, and why not each other server: what a pick would go by, without picking."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import attrs

from lb.address import Client
from lb.backend import Backend
from lb.explain.decision import Considered, Decision, Figures, Verdict, count
from lb.model import Server
from lb.pool import Pool
from lb.tier import Tier
from strategies.base import View

__all__ = ["explain", "otherwise"]

OF_TURNS = ("turn", "credit", "picks_ago")
"""Figures that mean nothing but in the process that takes the turns."""


def explain(
    pool: Pool, client: Client, tried: Collection[Server] = (), *, without: Collection[str] = (), here: bool = True
) -> Decision:
    """What the pool's next pick would be; changes nothing about it. O(n log n), so not for every connection.

    ``without`` names servers that are taken for down. ``here``: this process picks, so it knows whose turn it is.
    """
    supposed = {backend for backend in pool.backends.values() if backend.name in without}
    passed = {*tried, *supposed}
    tier, candidates = _level(pool, _fit(pool, passed))
    held = tier.held_back & candidates
    if held == candidates:
        held = set()  # there is nobody else
    candidates -= held
    if not here:
        for backend in candidates:
            tier.load_changed(backend)  # other processes take the leases, and nobody has told the strategy
    view = tier.explain(client, candidates)
    chosen = _foreseen(view, candidates, here=here)
    sight = _Sight(tried, supposed, candidates, held, chosen)
    figures: Mapping[Server, Figures] = dict(view.order)
    places = {server: place for place, server in enumerate(figures)}
    servers = tuple(
        Considered(backend.name, *sight.verdict(backend), backend.weight, backend.active, seen)
        for backend in sorted(pool.backends.values(), key=lambda backend: places.get(backend, len(places)))
        for seen in [_told(figures.get(backend, {}), here=here)]
    )
    return Decision(
        pool.spec.strategy.name,
        view.decides,
        view.key,
        chosen.name if chosen is not None else None,
        "" if candidates else otherwise(pool, passed),
        servers,
        count(servers),
    )


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


def _foreseen(view: View, candidates: Collection[Server], *, here: bool) -> Server | None:
    """Whom the strategy would choose, if that can be told."""
    if len(candidates) == 1 and view.decides != "unknown":
        return next(iter(candidates))
    if view.decides == "client" or (here and view.decides in ("turn", "load")):
        return next((server for server, _ in view.order if server in candidates), None)
    return None


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
    return "backup", ""
