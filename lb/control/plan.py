"""The difference between two configurations: the steps of a reload, to print or to apply.

Listeners, pools and servers (within their pool) are identified by name. An object that keeps its name is changed in
place and keeps its sockets, health, counters and connections. Unchanged objects are not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar

import attrs

from lb.config.describe import listener_text, media_text, route_text, server_text, value_text
from lb.config.forward_text import forward_differences
from lb.config.media_text import media_differences, media_specs
from lb.config.route_text import route_differences, routes_of
from lb.explain.disruption import keys_moved
from lb.model import (
    AdminSpec,
    AnnounceSpec,
    CacheSpec,
    ClusterSpec,
    Config,
    EtcdSpec,
    ForwardSettings,
    HealthSpec,
    HttpPoolSpec,
    HttpSettings,
    ListenerSpec,
    ListenerTlsSpec,
    MediaSpec,
    OutlierSpec,
    PassiveSpec,
    PoolSpec,
    PoolTlsSpec,
    ProxyLogin,
    RouteSpec,
    ServerSpec,
    StickySpec,
    UsersSpec,
)
from lb.model.address import Address
from lb.model.binds import BindingChanges, binding_changes, binds_of

__all__ = [
    "FIXED",
    "CacheChange",
    "KeyChange",
    "ListenerChange",
    "MediaChange",
    "Plan",
    "PoolChange",
    "RouteChange",
    "ServerChange",
    "UsersChange",
    "plan",
]

Spec = TypeVar("Spec", ListenerSpec, PoolSpec, ServerSpec, RouteSpec, UsersSpec, CacheSpec)
SUBTABLES = (
    HealthSpec, PassiveSpec, OutlierSpec, ListenerTlsSpec, PoolTlsSpec, HttpPoolSpec, StickySpec, ProxyLogin, EtcdSpec,
)  # fmt: skip
MOST_NAMES = 5
"""Users that a line names. A file may have thousands."""
DiffLine: TypeAlias = tuple[str, str, str]  # a line of `lb diff`: action, subject, details

FIXED = {"workers": "upgrade or restart", "user": "restart", "group": "restart"}
"""Keys of ``process`` that a reload cannot change, and the way to change them."""


@attrs.frozen
class KeyChange:
    """A changed key. ``key`` is its path in the table, as in the file: ``health.interval``."""

    key: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.key} {value_text(self.old)} -> {value_text(self.new)}"


@attrs.frozen
class ServerChange:
    """A server with changed settings."""

    old: ServerSpec
    new: ServerSpec

    @property
    def keys(self) -> tuple[KeyChange, ...]:
        return _keys(self.old, self.new)

    @property
    def is_reweight(self) -> bool:
        """Whether only the weight differs."""
        return attrs.evolve(self.old, weight=self.new.weight) == self.new


@attrs.frozen
class RouteChange:
    """A route with changed settings."""

    old: RouteSpec
    new: RouteSpec

    @property
    def keys(self) -> tuple[KeyChange, ...]:
        """The changed keys as in the file: ``path``, ``request_headers.set.X-A``.

        None if only its users or its zone changed.
        """
        return tuple(KeyChange(*difference) for difference in route_differences(self.old, self.new))


@attrs.frozen
class ListenerChange:
    """A listener with changed settings. An unchanged address keeps its socket."""

    old: ListenerSpec
    new: ListenerSpec

    @property
    def binds_added(self) -> tuple[Address, ...]:
        return tuple(bind for bind in self.new.bind if bind not in self.old.bind)

    @property
    def binds_removed(self) -> tuple[Address, ...]:
        return tuple(bind for bind in self.old.bind if bind not in self.new.bind)

    @property
    def routes_added(self) -> tuple[RouteSpec, ...]:
        return _missing(routes_of(self.new), routes_of(self.old))

    @property
    def routes_removed(self) -> tuple[RouteSpec, ...]:
        return _missing(routes_of(self.old), routes_of(self.new))

    @property
    def routes_changed(self) -> tuple[RouteChange, ...]:
        old, new = ({route.name: route for route in routes_of(spec)} for spec in (self.old, self.new))
        return tuple(RouteChange(*pair) for pair in _differing(old, new))

    @property
    def keys(self) -> tuple[KeyChange, ...]:
        """The changed keys, without ``routes``."""
        return _keys(self.old, self.new)


@attrs.frozen
class PoolChange:
    """A pool with changed settings or servers."""

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
        return tuple(ServerChange(old, new) for old, new in pairs if old is not new and old != new)

    @property
    def is_reordered(self) -> bool:
        """Whether the remaining servers are in another order, which affects round-robin turns and ties."""
        before, after = ([server.name for server in pool.servers] for pool in (self.old, self.new))
        stay = set(before) & set(after)
        return [name for name in before if name in stay] != [name for name in after if name in stay]

    @property
    def keys(self) -> tuple[KeyChange, ...]:
        """The changed keys, without ``servers``."""
        return _keys(self.old, self.new, without="servers")


@attrs.frozen
class UsersChange:
    """A table of users that has changed, or its file."""

    old: UsersSpec
    new: UsersSpec

    def texts(self) -> Iterator[str]:
        """Yield the changed keys, then who came and went. Passwords are not shown."""
        yield from map(str, _keys(self.old, self.new, without="hashes"))
        before, after = dict(self.old.hashes), dict(self.new.hashes)
        changed = [user for user, password in after.items() if user in before and before[user] != password]
        for what, users in (
            ("added", [user for user in after if user not in before]),
            ("removed", [user for user in before if user not in after]),
            ("another password", changed),
        ):
            if users:
                more = f" and {len(users) - MOST_NAMES} more" if len(users) > MOST_NAMES else ""
                yield f"{what}: {', '.join(users[:MOST_NAMES])}{more}"


@attrs.frozen
class CacheChange:
    """A cache with changed settings."""

    old: CacheSpec
    new: CacheSpec

    @property
    def keys(self) -> tuple[KeyChange, ...]:
        return _keys(self.old, self.new)


@attrs.frozen
class MediaChange:
    """The live streams and films before and after."""

    old: MediaSpec
    new: MediaSpec

    @property
    def added(self) -> tuple[str, ...]:
        """Added applications: ``media.live.NAME``."""
        return tuple(name for name in media_specs(self.new) if name not in media_specs(self.old))

    @property
    def removed(self) -> tuple[str, ...]:
        return tuple(name for name in media_specs(self.old) if name not in media_specs(self.new))

    @property
    def changed(self) -> tuple[str, ...]:
        old, new = media_specs(self.old), media_specs(self.new)
        return tuple(name for name, spec in new.items() if name in old and old[name] != spec)

    def steps(self) -> Iterator[DiffLine]:
        old, new = media_specs(self.old), media_specs(self.new)
        for name in self.added:
            yield "added", name, media_text(new[name])
        for name in self.removed:
            yield "removed", name, media_text(old[name])
        for name in self.changed:
            yield from _changed(name, [KeyChange(*each) for each in media_differences(old[name], new[name])])
        yield from _changed("media", _keys(_without_apps(self.old), _without_apps(self.new)))


def _without_apps(media: MediaSpec) -> MediaSpec:
    return attrs.evolve(media, live=(), vod=())


@attrs.frozen
class Plan:
    """The steps of a reload. Objects that are in no step stay unchanged."""

    listeners_added: tuple[ListenerSpec, ...] = ()
    listeners_removed: tuple[ListenerSpec, ...] = ()
    listeners_changed: tuple[ListenerChange, ...] = ()
    pools_added: tuple[PoolSpec, ...] = ()
    pools_removed: tuple[PoolSpec, ...] = ()
    pools_changed: tuple[PoolChange, ...] = ()
    bindings: BindingChanges = BindingChanges()
    """Changes of listening sockets."""
    process: tuple[KeyChange, ...] = ()
    log: tuple[KeyChange, ...] = ()
    admin: tuple[KeyChange, ...] = ()
    announce: tuple[KeyChange, ...] = ()
    cluster: tuple[KeyChange, ...] = ()
    users_added: tuple[UsersSpec, ...] = ()
    users_removed: tuple[UsersSpec, ...] = ()
    users_changed: tuple[UsersChange, ...] = ()
    caches_added: tuple[CacheSpec, ...] = ()
    caches_removed: tuple[CacheSpec, ...] = ()
    caches_changed: tuple[CacheChange, ...] = ()
    media: MediaChange = attrs.field(factory=lambda: MediaChange(MediaSpec(), MediaSpec()))

    @property
    def is_empty(self) -> bool:
        return attrs.evolve(self, media=Plan().media) == Plan() and self.media.old == self.media.new

    @property
    def added(self) -> tuple[str, ...]:
        """Added listeners, and servers as ``pool/server``, for ``config.applied``."""
        servers = [(pool.name, pool.servers) for pool in self.pools_added]
        servers += [(change.new.name, change.servers_added) for change in self.pools_changed]
        return (*(listener.name for listener in self.listeners_added), *_paths(servers), *self.media.added)

    @property
    def removed(self) -> tuple[str, ...]:
        """Removed listeners, and servers as ``pool/server``."""
        servers = [(pool.name, pool.servers) for pool in self.pools_removed]
        servers += [(change.new.name, change.servers_removed) for change in self.pools_changed]
        return (*(listener.name for listener in self.listeners_removed), *_paths(servers), *self.media.removed)

    @property
    def changed(self) -> tuple[str, ...]:
        """Changed listeners, servers (also reweighted ones), and pools with changed settings or order."""
        names = [change.new.name for change in self.listeners_changed]
        for change in self.pools_changed:
            if change.keys or change.is_reordered:
                names.append(change.new.name)
            names += _paths([(change.new.name, [server.new for server in change.servers_changed])])
        return tuple(dict.fromkeys([*names, *self.media.changed]))

    def lines(self) -> tuple[str, ...]:
        """Return one line per step, or ``no changes``.

        Builds the tables of hash pools to count moved keys, which can take seconds for large pools.
        """
        steps = [*self._listener_steps(), *self._pool_steps(), *self._user_steps(), *self._cache_steps()]
        steps += self.media.steps()
        steps += [*self._process_steps(), *_changed("log", self.log), *_changed("admin", self.admin)]
        steps += _changed("announce", self.announce)
        steps += _changed("cluster", self.cluster)
        if not steps:
            return ("no changes",)
        width = max(len(subject) for _, subject, _ in steps)
        return tuple(f"{verb:10}  {subject:{width}}  {detail}" for verb, subject, detail in steps)

    def _listener_steps(self) -> Iterator[DiffLine]:
        for listener in self.listeners_added:
            yield "added", f"listener {listener.name}", listener_text(listener)
            yield from _routes("added", listener.name, routes_of(listener))
        for listener in self.listeners_removed:
            yield "removed", f"listener {listener.name}", listener_text(listener)
            yield from _routes("removed", listener.name, routes_of(listener))
        for change in self.listeners_changed:
            yield from _changed(f"listener {change.new.name}", change.keys)
            yield from _route_changes(change)
        for (listener_name, address), giver in self.bindings.moved:
            yield "moves", f"listener {listener_name}", f"{address} with its socket from listener {giver}"

    def _pool_steps(self) -> Iterator[DiffLine]:
        for pool in self.pools_added:
            yield "added", f"pool {pool.name}", value_text(pool.strategy)
            yield from _servers("added", pool.name, pool.servers)
        for pool in self.pools_removed:
            yield "removed", f"pool {pool.name}", value_text(pool.strategy)
            yield from _servers("removed", pool.name, pool.servers)
        for change in self.pools_changed:
            yield from _pool_change(change)

    def _user_steps(self) -> Iterator[DiffLine]:
        for verb, tables in (("added", self.users_added), ("removed", self.users_removed)):
            for users in tables:
                yield verb, f"users {users.name}", value_text(users)
        for change in self.users_changed:
            for text in change.texts():
                yield "changed", f"users {change.new.name}", text

    def _cache_steps(self) -> Iterator[DiffLine]:
        for verb, caches in (("added", self.caches_added), ("removed", self.caches_removed)):
            for cache in caches:
                yield verb, f"cache {cache.name}", value_text(cache)
        for change in self.caches_changed:
            yield from _changed(f"cache {change.new.name}", change.keys)

    def _process_steps(self) -> Iterator[DiffLine]:
        for change in self.process:
            if change.key in FIXED:
                yield "refused", "process", f"{change}: a reload cannot change it; {FIXED[change.key]}"
            else:
                yield "changed", "process", str(change)


def plan(old: Config, new: Config) -> Plan:
    """Return the steps from ``old`` to ``new``. Fast, without side effects."""
    return Plan(
        listeners_added=_missing(new.listeners.values(), old.listeners.values()),
        listeners_removed=_missing(old.listeners.values(), new.listeners.values()),
        listeners_changed=tuple(ListenerChange(*pair) for pair in _differing(old.listeners, new.listeners)),
        pools_added=_missing(new.written_pools.values(), old.written_pools.values()),
        pools_removed=_missing(old.written_pools.values(), new.written_pools.values()),
        pools_changed=tuple(PoolChange(*pair) for pair in _differing(old.written_pools, new.written_pools)),
        bindings=binding_changes(binds_of(old), binds_of(new)),
        process=_keys(old.process, new.process),
        log=_keys(old.log, new.log),
        admin=_admin_keys(old.admin, new.admin),
        announce=_announce_keys(old.announce, new.announce),
        cluster=_cluster_keys(old.cluster, new.cluster),
        users_added=_missing(new.users.values(), old.users.values()),
        users_removed=_missing(old.users.values(), new.users.values()),
        users_changed=tuple(UsersChange(*pair) for pair in _differing(old.users, new.users)),
        caches_added=_missing(new.caches.values(), old.caches.values()),
        caches_removed=_missing(old.caches.values(), new.caches.values()),
        caches_changed=tuple(CacheChange(*pair) for pair in _differing(old.caches, new.caches)),
        media=MediaChange(old.media, new.media),
    )


def _missing(specs: Iterable[Spec], others: Iterable[Spec]) -> tuple[Spec, ...]:
    """Return the specs whose names are not in ``others``."""
    names = {other.name for other in others}
    return tuple(spec for spec in specs if spec.name not in names)


def _differing(old: Mapping[str, Spec], new: Mapping[str, Spec]) -> Iterator[tuple[Spec, Spec]]:
    return ((old[name], spec) for name, spec in new.items() if name in old and old[name] != spec)


def _keys(old: attrs.AttrsInstance, new: attrs.AttrsInstance, without: str = "") -> tuple[KeyChange, ...]:
    """Return the keys whose values differ; nested tables key by key."""
    changes: list[KeyChange] = []
    for field in attrs.fields(type(new)):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after or field.name == without:
            continue
        if field.name == "settings" and type(before) is not type(after):
            continue  # another mode, which is a key itself
        if isinstance(before, ForwardSettings) and isinstance(after, ForwardSettings):
            changes += (KeyChange(*difference) for difference in forward_differences(before, after))
            continue
        if field.name == "settings" and attrs.has(type(after)):  # its keys stand beside the listener's own
            changes += _keys(before, after, without="routes" if isinstance(after, HttpSettings) else "")
            continue
        if isinstance(before, SUBTABLES) and after:
            changes += (attrs.evolve(change, key=f"{field.name}.{change.key}") for change in _keys(before, after))
        else:
            changes.append(KeyChange(field.name, before, after))
    return tuple(changes)


def _admin_keys(old: AdminSpec | None, new: AdminSpec | None) -> tuple[KeyChange, ...]:
    if old is not None and new is not None:
        return _keys(old, new)
    return (KeyChange("bind", old and old.bind, new and new.bind),) if old is not new else ()


def _announce_keys(old: AnnounceSpec | None, new: AnnounceSpec | None) -> tuple[KeyChange, ...]:
    if old is not None and new is not None:
        return _keys(old, new)
    addresses = (old and old.addresses, new and new.addresses)
    return (KeyChange("addresses", *addresses),) if old is not new else ()


def _cluster_keys(old: ClusterSpec | None, new: ClusterSpec | None) -> tuple[KeyChange, ...]:
    if old is not None and new is not None:
        return _keys(old, new)
    return (KeyChange("name", old and old.name, new and new.name),) if old is not new else ()


def _paths(servers: Iterable[tuple[str, Iterable[ServerSpec]]]) -> list[str]:
    return [f"{pool}/{server.name}" for pool, members in servers for server in members]


def _changed(subject: str, keys: Iterable[KeyChange]) -> Iterator[DiffLine]:
    return (("changed", subject, str(key)) for key in keys)


def _servers(verb: str, pool: str, servers: Iterable[ServerSpec]) -> Iterator[DiffLine]:
    return ((verb, f"{pool}/{server.name}", server_text(server)) for server in servers)


def _routes(verb: str, listener: str, routes: Iterable[RouteSpec]) -> Iterator[DiffLine]:
    return ((verb, f"{listener} route {route.name}", route_text(route)) for route in routes)


def _route_changes(change: ListenerChange) -> Iterator[DiffLine]:
    listener = change.new.name
    yield from _routes("added", listener, change.routes_added)
    yield from _routes("removed", listener, change.routes_removed)
    for route in change.routes_changed:
        yield from _changed(f"{listener} route {route.new.name}", route.keys)


def _pool_change(change: PoolChange) -> Iterator[DiffLine]:
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
