"""Reuse the objects of the configuration in use in a new one, so that a reload compares most of it by identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import attrs

from lb.model.config import Config
from lb.model.forward import ForwardSettings
from lb.model.http import HttpSettings, UsersSpec
from lb.model.listener import ListenerSpec
from lb.model.pool import PoolSpec
from lb.model.server import ServerSpec

__all__ = ["reused"]

T = TypeVar("T")


def reused(new: Config, old: Config) -> Config:
    """Return a configuration equal to ``new`` that has the parts of ``old`` where they are equal.

    These are pools with their servers and health checks, listeners, and users, of which routes may have thousands.

    A comparison of attrs objects costs a microsecond, of identical ones almost nothing. Call it in a thread.
    """
    pools = {name: _pool(spec, old.pools[name]) if name in old.pools else spec for name, spec in new.pools.items()}
    users = {name: _same(spec, old.users.get(name, spec)) for name, spec in new.users.items()}
    listeners = {
        name: _same(_with_users(spec, users), old.listeners.get(name, spec)) for name, spec in new.listeners.items()
    }
    return attrs.evolve(new, pools=pools, users=users, listeners=listeners)


def _with_users(listener: ListenerSpec, users: Mapping[str, UsersSpec]) -> ListenerSpec:
    """Return the listener with these objects as its users, or those of its routes."""
    settings = listener.settings
    if isinstance(settings, ForwardSettings) and settings.auth is not None:
        return attrs.evolve(listener, settings=attrs.evolve(settings, auth=users[settings.auth.name]))
    if not isinstance(settings, HttpSettings):
        return listener
    routes = (
        route if route.auth is None else attrs.evolve(route, auth=users[route.auth.name]) for route in settings.routes
    )
    return attrs.evolve(listener, settings=attrs.evolve(settings, routes=tuple(routes)))


def _pool(new: PoolSpec, old: PoolSpec) -> PoolSpec:
    known = {server.name: server for server in old.servers}

    def server(spec: ServerSpec) -> ServerSpec:
        return _same(spec, known.get(spec.name, spec))

    pool = attrs.evolve(
        new,
        servers=tuple(map(server, new.servers)),
        health=_same(new.health, old.health),
        passive=_same(new.passive, old.passive),
        tls=_same(new.tls, old.tls),
    )
    return _same(pool, old)


def _same(new: T, old: T) -> T:
    return old if new == old else new
