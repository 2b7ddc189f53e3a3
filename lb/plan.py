"""What a reload does: two configurations in, their difference out, as a value that is printed or applied.

Identity is the name: of a listener, of a pool, and of a server within its pool. Everything that keeps its name is
changed in place, so it keeps its sockets, health, counters and connections; nothing else is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar

import attrs

from lb.address import Address
from lb.describe import listener_text, server_text, value_text
from lb.key_moves import keys_moved
from lb.model import (
    AdminSpec,
    Config,
    HealthSpec,
    ListenerSpec,
    ListenerTlsSpec,
    OutlierSpec,
    PassiveSpec,
    PoolSpec,
    PoolTlsSpec,
    ServerSpec,
)

__all__ = ["FIXED", "KeyChange", "ListenerChange", "Plan", "PoolChange", "ServerChange", "plan"]

Spec = TypeVar("Spec", ListenerSpec, PoolSpec, ServerSpec)
TABLES = (HealthSpec, PassiveSpec, OutlierSpec, ListenerTlsSpec, PoolTlsSpec)
Step: TypeAlias = tuple[str, str, str]  # a line of `lb diff`: what is done, to whom, in detail

FIXED = {"workers": "upgrade or restart", "user": "restart", "group": "restart"}
"""Keys of ``process`` that a reload refuses to change, and what does it instead."""


@attrs.frozen
class KeyChange:
    """One key with another value; ``key`` is its path below what changes, as in the file: ``health.interval``."""

    key: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.key} {value_text(self.old)} -> {value_text(self.new)}"


@attrs.frozen
class ServerChange:
    """A server that stays, with other settings."""

    old: ServerSpec
    new: ServerSpec

    @property
    def keys(self) -> tuple[KeyChange, ...]:
        return _keys(self.old, self.new)

    @property
    def is_reweight(self) -> bool:
        """Only the weight differs."""
        return attrs.evolve(self.old, weight=self.new.weight) == self.new


@attrs.frozen
class ListenerChange:
    """A listener that stays, with other settings. A bind that is in both keeps its socket."""

    old: ListenerSpec
    new: ListenerSpec

    @property
    def binds_added(self) -> tuple[Address, ...]:
        return tuple(bind for bind in self.new.bind if bind not in self.old.bind)

    @property
    def binds_removed(self) -> tuple[Address, ...]:
        return tuple(bind for bind in self.old.bind if bind not in self.new.bind)

    @property
    def keys(self) -> tuple[KeyChange, ...]:
        return _keys(self.old, self.new)


@attrs.frozen
class PoolChange:
    """A pool that stays, with other settings or other servers."""

    old: PoolSpec
    new: PoolSpec

    @property
    def servers_added(self) -> tuple[ServerSpec, ...]:
        return _missing(self.new.servers, self.old.servers)

    @property
    def servers_removed(self) -> tuple[ServerSpec, ...]:
        return _missing(self.old.servers, self.new.servers)

    @property
    def servers_changed(self) -> tuple[ServerChange, ...]:
        before = {server.name: server for server in self.old.servers}
        pairs = [(before[server.name], server) for server in self.new.servers if server.name in before]
        return tuple(ServerChange(old, new) for old, new in pairs if old != new)

    @property
    def is_reordered(self) -> bool:
        """The servers that stay stand in another order: a matter of turns and of equal points, not of identity."""
        before, after = ([server.name for server in pool.servers] for pool in (self.old, self.new))
        stay = set(before) & set(after)
        return [name for name in before if name in stay] != [name for name in after if name in stay]

    @property
    def keys(self) -> tuple[KeyChange, ...]:
        """Of everything but ``servers``."""
        return _keys(self.old, self.new, without="servers")


@attrs.frozen
class Plan:
    """The steps of a reload. Names that are in none of them stay as they are."""

    listeners_added: tuple[ListenerSpec, ...] = ()
    listeners_removed: tuple[ListenerSpec, ...] = ()
    listeners_changed: tuple[ListenerChange, ...] = ()
    pools_added: tuple[PoolSpec, ...] = ()
    pools_removed: tuple[PoolSpec, ...] = ()
    pools_changed: tuple[PoolChange, ...] = ()
    process: tuple[KeyChange, ...] = ()
    log: tuple[KeyChange, ...] = ()
    admin: tuple[KeyChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self == Plan()

    @property
    def added(self) -> tuple[str, ...]:
        """Listeners, and servers as ``pool/server``, for ``config.applied``; likewise the next two."""
        servers = [(pool.name, pool.servers) for pool in self.pools_added]
        servers += [(change.new.name, change.servers_added) for change in self.pools_changed]
        return (*(listener.name for listener in self.listeners_added), *_paths(servers))

    @property
    def removed(self) -> tuple[str, ...]:
        servers = [(pool.name, pool.servers) for pool in self.pools_removed]
        servers += [(change.new.name, change.servers_removed) for change in self.pools_changed]
        return (*(listener.name for listener in self.listeners_removed), *_paths(servers))

    @property
    def changed(self) -> tuple[str, ...]:
        """Reweighted servers too, and by its bare name a pool whose own settings or order changed."""
        names = [change.new.name for change in self.listeners_changed]
        for change in self.pools_changed:
            if change.keys or change.is_reordered:
                names.append(change.new.name)
            names += _paths([(change.new.name, [server.new for server in change.servers_changed])])
        return tuple(dict.fromkeys(names))

    def lines(self) -> tuple[str, ...]:
        """One readable line for each step; ``no changes`` if there is none.

        Builds the tables of hash pools to tell how many keys move, so it can take seconds for large ones.
        """
        steps = [*self._listener_steps(), *self._pool_steps(), *self._process_steps()]
        steps += [*_changed("log", self.log), *_changed("admin", self.admin)]
        if not steps:
            return ("no changes",)
        width = max(len(subject) for _, subject, _ in steps)
        return tuple(f"{verb:10}  {subject:{width}}  {detail}" for verb, subject, detail in steps)

    def _listener_steps(self) -> Iterator[Step]:
        for listener in self.listeners_added:
            yield "added", f"listener {listener.name}", listener_text(listener)
        for listener in self.listeners_removed:
            yield "removed", f"listener {listener.name}", listener_text(listener)
        for change in self.listeners_changed:
            yield from _changed(f"listener {change.new.name}", change.keys)

    def _pool_steps(self) -> Iterator[Step]:
        for pool in self.pools_added:
            yield "added", f"pool {pool.name}", value_text(pool.strategy)
            yield from _servers("added", pool.name, pool.servers)
        for pool in self.pools_removed:
            yield "removed", f"pool {pool.name}", value_text(pool.strategy)
            yield from _servers("removed", pool.name, pool.servers)
        for change in self.pools_changed:
            yield from _pool_change(change)

    def _process_steps(self) -> Iterator[Step]:
        for change in self.process:
            if change.key in FIXED:
                yield "refused", "process", f"{change}: a reload cannot change it; {FIXED[change.key]}"
            else:
                yield "changed", "process", str(change)


def plan(old: Config, new: Config) -> Plan:
    """What leads from ``old`` to ``new``: quick, and pure."""
    return Plan(
        listeners_added=_missing(new.listeners.values(), old.listeners.values()),
        listeners_removed=_missing(old.listeners.values(), new.listeners.values()),
        listeners_changed=tuple(ListenerChange(*pair) for pair in _differing(old.listeners, new.listeners)),
        pools_added=_missing(new.pools.values(), old.pools.values()),
        pools_removed=_missing(old.pools.values(), new.pools.values()),
        pools_changed=tuple(PoolChange(*pair) for pair in _differing(old.pools, new.pools)),
        process=_keys(old.process, new.process),
        log=_keys(old.log, new.log),
        admin=_admin_keys(old.admin, new.admin),
    )


def _missing(specs: Iterable[Spec], others: Iterable[Spec]) -> tuple[Spec, ...]:
    """Those whose names the others do not have."""
    names = {other.name for other in others}
    return tuple(spec for spec in specs if spec.name not in names)


def _differing(old: Mapping[str, Spec], new: Mapping[str, Spec]) -> Iterator[tuple[Spec, Spec]]:
    return ((old[name], spec) for name, spec in new.items() if name in old and old[name] != spec)


def _keys(old: attrs.AttrsInstance, new: attrs.AttrsInstance, without: str = "") -> tuple[KeyChange, ...]:
    """The keys whose values differ, those of tables inside one by one."""
    changes: list[KeyChange] = []
    for field in attrs.fields(type(new)):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after or field.name == without:
            continue
        if isinstance(before, TABLES) and after:
            changes += (attrs.evolve(change, key=f"{field.name}.{change.key}") for change in _keys(before, after))
        else:
            changes.append(KeyChange(field.name, before, after))
    return tuple(changes)


def _admin_keys(old: AdminSpec | None, new: AdminSpec | None) -> tuple[KeyChange, ...]:
    if old is not None and new is not None:
        return _keys(old, new)
    return (KeyChange("bind", old and old.bind, new and new.bind),) if old is not new else ()


def _paths(servers: Iterable[tuple[str, Iterable[ServerSpec]]]) -> list[str]:
    return [f"{pool}/{server.name}" for pool, members in servers for server in members]


def _changed(subject: str, keys: Iterable[KeyChange]) -> Iterator[Step]:
    return (("changed", subject, str(key)) for key in keys)


def _servers(verb: str, pool: str, servers: Iterable[ServerSpec]) -> Iterator[Step]:
    return ((verb, f"{pool}/{server.name}", server_text(server)) for server in servers)


def _pool_change(change: PoolChange) -> Iterator[Step]:
    pool = change.new.name
    yield from _changed(f"pool {pool}", change.keys)
    if change.is_reordered:
        yield "changed", f"pool {pool}", "order of its servers"
    yield from _servers("added", pool, change.servers_added)
    yield from _servers("removed", pool, change.servers_removed)
    for server in change.servers_changed:
        subject = f"{pool}/{server.new.name}"
        if server.is_reweight:
            yield "reweighted", subject, f"{server.old.weight} -> {server.new.weight}"
        else:
            yield from _changed(subject, server.keys)
    moved = keys_moved(change.old, change.new)
    if moved is not None:
        yield "moves", f"pool {pool}", f"{moved:.1%} of the keys"
