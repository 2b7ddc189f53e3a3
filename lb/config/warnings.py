"""Warnings of a valid configuration: what works, but hardly as intended. ``lb check`` prints them.

Each warning is one function in :data:`CHECKS`, from a configuration as it is written to complaints. Pure: the date is
passed in; what only the machine knows (users, names) is in :mod:`lb.console.check`.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import attrs

from lb.config.listeners import pool_path
from lb.config.media_text import media_specs
from lb.config.route_text import routes_of
from lb.model import (
    Config,
    DnsSource,
    ForwardSettings,
    HttpPoolSpec,
    HttpSettings,
    LiveSpec,
    PoolSpec,
    RouteSpec,
    ServerSpec,
    TcpSettings,
    ToMedia,
)
from lb.model.address import Address
from lb.model.announce import InterfaceAddress
from lb.model.media import LIVE_POOL, RTMP_POOL, VOD_POOL
from lb.model.reachability import has_none_reachable
from lb.model.rtmp_address import RtmpAddress
from lb.model.table import Complaint, join
from lb.model.values import duration_text
from strategies import registry
from strategies.ignored import ignored

__all__ = ["CHECKS", "EXPIRES_SOON", "Written", "warnings"]

EXPIRES_SOON = timedelta(days=30)
"""How long before its end a certificate is warned of. Let's Encrypt renews 30 days before."""


@attrs.frozen
class Written:
    """A configuration, and where its parts are written."""

    config: Config
    """With the servers of its ``servers_file``."""
    content: Mapping[str, Any]
    """The file that it was read from, as TOML tables."""
    today: date

    def pool(self, pool: str, key: str = "") -> str:
        """Return the path of a pool, or of a key of it. A pool of a listener's own is written in the listener."""
        path = pool_path(pool, self.content)
        return join(path, key) if key else path

    def server(self, pool: str, server: ServerSpec) -> str:
        """Return the path of a server; that of its file, of etcd or of Kubernetes if it is from there."""
        for path, entry in self._entries(pool):
            name = entry.get("name", entry.get("address")) if isinstance(entry, dict) else entry
            if name == server.name:
                return path
        spec = self.config.pools[pool]
        return self.pool(pool, "servers_file" if spec.servers_file else "etcd" if spec.etcd else "kubernetes")

    def dns(self, pool: str, source: DnsSource) -> str:
        """Return the path of a name whose servers are discovered in DNS."""
        return next(
            path
            for path, entry in self._entries(pool)
            if isinstance(entry, dict) and (entry.get("dns"), entry.get("port", 0)) == (source.dns, source.port)
        )

    def _entries(self, pool: str) -> list[tuple[str, Any]]:
        """Return the entries of the list ``servers``, each with its path."""
        pools = self.content.get("pools", {})
        table = pools[pool] if pool in pools else self.content["listeners"][pool]
        return [
            (f"{self.pool(pool, 'servers')}[{index}]", entry) for index, entry in enumerate(table.get("servers", []))
        ]


def warnings(written: Written) -> list[Complaint]:
    """Return all warnings."""
    return [complaint for check in CHECKS for complaint in check(written)]


def _unused_pools(written: Written) -> Iterator[Complaint]:
    used = {pool for listener in written.config.listeners.values() for pool in listener.settings.pools}
    for pool in written.config.written_pools:
        if pool not in used:
            yield Complaint(written.pool(pool), "no listener uses this pool")


def _pools_named_as_those_of_media(written: Written) -> Iterator[Complaint]:
    for pool in written.config.written_pools.keys() & {RTMP_POOL, LIVE_POOL, VOD_POOL}:
        yield Complaint(written.pool(pool), "[media] has a pool of this name: together with it, the file is invalid")


def _unreachable_media(written: Written) -> Iterator[Complaint]:
    """Yield applications that nobody can watch, or nobody can publish to."""
    config = written.config
    routes = [route for listener in config.listeners.values() for route in routes_of(listener)]
    served = {route.target.media for route in routes if isinstance(route.target, ToMedia)}
    has_rtmp = any(listener.mode == "rtmp" for listener in config.listeners.values())
    for name, app in media_specs(config.media).items():
        if app.name not in served and not (isinstance(app, LiveSpec) and app.push):
            yield Complaint(name, f"no route serves it: none has 'media = {app.name}'")
        if isinstance(app, LiveSpec) and not has_rtmp and app.pull is None:
            yield Complaint(name, "no listener takes publishers: none has mode 'rtmp'")
        if isinstance(app, LiveSpec):
            yield from _without_source(name, app)


def _unused_users(written: Written) -> Iterator[Complaint]:
    used = {spec.auth.name for spec in _requests(written.config) if spec.auth is not None}
    for users in written.config.users:
        if users not in used:
            yield Complaint(join("users", users), "no listener uses these users")


def _unused_caches(written: Written) -> Iterator[Complaint]:
    used = {spec.cache.zone.name for spec in _requests(written.config) if spec.cache is not None}
    for cache in written.config.caches:
        if cache not in used:
            yield Complaint(join("caches", cache), "no listener uses this cache")


def _requests(config: Config) -> Iterator[RouteSpec | ForwardSettings]:
    """Yield what has users and a cache of its own."""
    for listener in config.listeners.values():
        if isinstance(listener.settings, ForwardSettings):
            yield listener.settings
        yield from routes_of(listener)


def _settings_for_http(written: Written) -> Iterator[Complaint]:
    """Yield what pools have for HTTP where only listeners of other modes use them."""
    listeners = written.config.listeners.values()
    used = {pool for listener in listeners for pool in listener.settings.pools}
    for_requests = (HttpSettings, ForwardSettings)
    used -= {pool for each in listeners if isinstance(each.settings, for_requests) for pool in each.settings.pools}
    for pool in written.config.pools.values():
        for key in _keys_for_http(pool) if pool.name in used else ():
            at = f"{written.pool(pool.name)}.{key}"
            yield Complaint(at, "has no effect: no listener of mode 'http' uses this pool")


def _keys_for_http(pool: PoolSpec) -> Iterator[str]:
    if pool.http != HttpPoolSpec():
        yield "http"
    if pool.sticky is not None:
        yield "sticky"
    if pool.passive.statuses:
        yield "passive.statuses"


def _logins_at_servers(written: Written) -> Iterator[Complaint]:
    """Yield logins at the proxies of pools whose servers are used as something else."""
    settings = [listener.settings for listener in written.config.listeners.values()]
    parents = {each.parents for each in settings if isinstance(each, ForwardSettings)}
    used = {pool for each in settings for pool in each.pools}
    for pool in written.config.pools.values():
        if pool.proxy is not None and pool.name in used - parents:
            at = written.pool(pool.name, "proxy")
            yield Complaint(at, "has no effect: no listener of mode 'forward' has this pool as its parents")


def _private_targets(written: Written) -> Iterator[Complaint]:
    """Yield rules that allow addresses that stay refused."""
    for name, listener in written.config.listeners.items():
        settings = listener.settings
        if not isinstance(settings, ForwardSettings) or settings.private:
            continue
        for rule in settings.allow_to:
            if rule.network is not None and has_none_reachable(rule.network):
                index = written.content["listeners"][name]["allow_to"].index(rule.text)
                at = f"{join(join('listeners', name), 'allow_to')}[{index}]"
                yield Complaint(
                    at, f"{rule.text!r} stays refused: it is not globally reachable, and 'private' is false"
                )


def _pools_behind_routes(written: Written) -> Iterator[Complaint]:
    """Yield the pools for requests that no route takes, where a route takes all."""
    for name, listener in written.config.listeners.items():
        all_taken = next(filter(_takes_all, routes_of(listener)), None)
        key = next((key for key in ("pool", "servers") if key in written.content["listeners"][name]), None)
        if all_taken is not None and key is not None:
            at = join(join("listeners", name), key)
            yield Complaint(at, f"gets no requests: the route {all_taken.name!r} takes all that others leave")


def _takes_all(route: RouteSpec) -> bool:
    return not (route.hosts or route.methods or route.exact) and route.path == "/"


def _zero_weights(written: Written) -> Iterator[Complaint]:
    for pool in written.config.pools.values():
        members: list[ServerSpec | DnsSource] = [*pool.servers, *pool.dns]
        if members and not any(member.weight for member in members):
            yield Complaint(written.pool(pool.name), "all servers have weight 0, so none gets a connection")


def _ignored_settings(written: Written) -> Iterator[Complaint]:
    for pool in written.config.pools.values():
        strategy = pool.strategy.name
        for setting in ignored(pool):
            if setting == "weight":
                text = f"{strategy!r} ignores weights, and those of the servers differ"
                yield Complaint(written.pool(pool.name, "strategy"), text)
            else:
                yield Complaint(written.pool(pool.name, setting), f"the strategy {strategy!r} ignores it")


def _keys_without_requests(written: Written) -> Iterator[Complaint]:
    """Yield listeners without requests whose pool chooses by requests."""
    for listener in written.config.listeners.values():
        if not isinstance(listener.settings, TcpSettings):
            continue
        for pool in map(written.config.pools.__getitem__, listener.settings.pools):
            if registry.create(pool.strategy).reads_requests:
                text = f"the strategy of pool {pool.name!r} chooses by requests, and mode {listener.mode!r} reads none"
                yield Complaint(join("listeners", listener.name), text)


def _long_timeouts(written: Written) -> Iterator[Complaint]:
    for pool in written.config.pools.values():
        health = pool.health
        if health is not None and health.timeout > health.interval:
            yield Complaint(
                join(written.pool(pool.name, "health"), "timeout"),
                f"{duration_text(health.timeout)} is longer than the interval of {duration_text(health.interval)}: "
                "checks of a server that does not answer follow each other without a pause",
            )


def _overlapping_binds(written: Written) -> Iterator[Complaint]:
    """Yield addresses of the same port of which one is in the other: ``:80`` and ``127.0.0.1:80``."""
    config = written.config
    places = [
        (join(join("listeners", name), "bind"), bind) for name, spec in config.listeners.items() for bind in spec.bind
    ]
    if config.admin is not None:
        places.append(("admin.bind", config.admin.bind))
    by_port: defaultdict[int, list[tuple[str, Address]]] = defaultdict(list)
    told: set[tuple[str, str]] = set()
    for path, bind in places:
        if bind.port:
            for other_path, other in by_port[bind.port]:
                if _overlap(bind, other) and (path, other_path) not in told:  # one line for two ranges of ports
                    told.add((path, other_path))
                    yield Complaint(path, f"{bind.text!r} overlaps with {other.text!r} in {other_path}")
            by_port[bind.port].append((path, bind))


def _overlap(one: Address, other: Address) -> bool:
    """Return whether both have an address in common, as far as it is known without a lookup."""
    hosts = {one.host, other.host}
    if "" in hosts or len(hosts) == 1:
        return True
    if one.is_name or other.is_name or (":" in one.host) != (":" in other.host):
        return False
    return any(ipaddress.ip_address(host).is_unspecified for host in hosts)


def _announced(written: Written) -> Iterator[Complaint]:
    """Yield what keeps an announced address from being served, or from being left in an orderly way."""
    announce, config = written.config.announce, written.config
    if announce is None:
        return
    if not config.process.stop_delay:
        text = "without it, a stop closes the listeners before routers have heard that the addresses are gone"
        yield Complaint("process.stop_delay", f"{text}: give it some seconds")
    hosts = [bind.host for listener in config.listeners.values() for bind in listener.bind if not bind.is_unix]
    for number, address in enumerate(announce.addresses):
        if not any(_listens_within(host, address) for host in hosts):
            yield Complaint(f"announce.addresses[{number}]", f"no listener listens on {address.ip}")


def _listens_within(host: str, address: InterfaceAddress) -> bool:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:  # a name, which may be this address; or empty: all addresses
        return True
    return found in address.network or found.is_unspecified


def _cookies_of_one_node(written: Written) -> Iterator[Complaint]:
    """Yield sticky cookies that mean nothing to the other balancers, where there are some."""
    config = written.config
    if config.cluster is None and config.announce is None:
        return
    for pool in config.pools.values():
        if pool.sticky is not None and pool.sticky.secret is None:
            path = written.pool(pool.name, "sticky")
            yield Complaint(path, "other balancers do not know its cookies: give all of them the same 'secret_file'")


def _last_sets_in_one_file(written: Written) -> Iterator[Complaint]:
    """Yield pools that keep servers of different prefixes in one file: a start without etcd finds those of one."""
    first: dict[str, PoolSpec] = {}
    for pool in written.config.pools.values():
        if pool.etcd is not None and pool.etcd.file:
            other = first.setdefault(pool.etcd.file, pool)
            if other.etcd is not None and other.etcd.etcd.prefix != pool.etcd.etcd.prefix:
                path = join(written.pool(pool.name, "etcd"), "file")
                yield Complaint(path, f"the pool {other.name!r} has this file already")


def _own_listeners(written: Written) -> Iterator[Complaint]:
    """Yield servers that are listeners of the same configuration."""
    binds: defaultdict[str | int, list[tuple[str, Address]]] = defaultdict(list)
    """Listeners and their addresses by path or port: a range of ports has many addresses."""
    for listener in written.config.listeners.values():
        for bind in listener.bind:
            if bind.path or bind.port:
                binds[bind.path or bind.port].append((listener.name, bind))
    for pool in written.config.pools.values():
        for server in pool.servers:
            near = binds.get(server.address.path or server.address.port, [])
            for name in dict.fromkeys(name for name, bind in near if _reaches(server.address, bind)):
                yield Complaint(
                    written.server(pool.name, server),
                    f"{server.address.text!r} is the listener {name!r} of this configuration: connects to it will fail",
                )


def _reaches(server: Address, bind: Address) -> bool:
    """Return whether a connect to the server reaches the listener, as far as that is evident on any machine."""
    if server.is_unix or bind.is_unix:
        return server.path == bind.path
    if server.port not in (0, bind.port):  # 0: the port that the client came to
        return False
    same_host = server.host == bind.host or (server.is_local and bind.host == "localhost")
    return same_host or (_overlap(server, bind) and (server.is_local or _is_unspecified(server)))


def _is_unspecified(address: Address) -> bool:
    return not address.is_name and ipaddress.ip_address(address.host).is_unspecified


def _without_source(name: str, app: LiveSpec) -> Iterator[Complaint]:
    if not app.publish and app.on_publish is None and app.pull is None:
        yield Complaint(name, "nobody may publish: it has no 'publish', 'on_publish' or 'pull'")
    if app.pull is not None and app.pull.of_stream("", "a") == app.pull.of_stream("", "b"):
        yield Complaint(f"{name}.pull", "has no {name} in it: whatever name is asked for is this one stream")


def _streams_in_circles(written: Written) -> Iterator[Complaint]:
    """Yield targets of streams that are this file's own listeners, if the stream comes back to its application."""
    config = written.config
    pushed = {app.name: {_own_app(config, app.name, target) for target in app.push} for app in config.media.live}
    for app in config.media.live:
        for number, target in enumerate(app.push):
            if app.name in _all_behind(_own_app(config, app.name, target), pushed):
                yield Complaint(f"{join('media.live', app.name)}.push[{number}]", "brings a stream back to where it is")
        if app.pull is not None and _own_app(config, app.name, app.pull) == app.name:
            yield Complaint(join(join("media.live", app.name), "pull"), "fetches a stream from where it is not")


def _own_app(config: Config, app: str, target: RtmpAddress) -> str | None:
    """Return the application that a target of this one is; None if it is not of this file."""
    binds = [bind for each in config.listeners.values() if each.mode == "rtmp" for bind in each.bind]
    return target.of_stream(app, "").app if any(_reaches(target.server, bind) for bind in binds) else None


def _all_behind(app: str | None, pushed: Mapping[str, set[str | None]]) -> set[str | None]:
    """Return the applications that a stream of this one gets to, this one too."""
    found, left = set[str | None](), [app]
    while left:
        each = left.pop()
        if each is not None and each not in found:
            found.add(each)
            left += pushed.get(each, ())
    return found


def _certificates(written: Written) -> Iterator[Complaint]:
    for path, until in _certificate_ends(written):
        end = date.fromisoformat(until)
        days = (end - written.today).days
        if days < 0:
            yield Complaint(path, f"has expired on {until}")
        elif end <= written.today + EXPIRES_SOON:
            yield Complaint(
                path, f"expires on {until}, {f'in {days} days' if days > 1 else 'in a day' if days else 'today'}"
            )


def _certificate_ends(written: Written) -> Iterator[tuple[str, str]]:
    """Yield the path and the last day of each certificate."""
    for name, listener in written.config.listeners.items():
        if listener.tls is not None:
            table = join(join("listeners", name), "tls")
            listed = "certificates" in written.content["listeners"][name]["tls"]
            for index, certificate in enumerate(listener.tls.certificates):
                own = f"{table}.certificates[{index}]" if listed else table
                yield join(own, "certificate"), certificate.until
    for pool in written.config.pools.values():
        if pool.tls is not None and pool.tls.certificate is not None:
            yield join(written.pool(pool.name, "tls"), "certificate"), pool.tls.certificate.until


CHECKS: tuple[Callable[[Written], Iterator[Complaint]], ...] = (
    _unused_pools,
    _pools_named_as_those_of_media,
    _unreachable_media,
    _unused_users,
    _unused_caches,
    _settings_for_http,
    _logins_at_servers,
    _private_targets,
    _pools_behind_routes,
    _zero_weights,
    _ignored_settings,
    _keys_without_requests,
    _long_timeouts,
    _overlapping_binds,
    _announced,
    _cookies_of_one_node,
    _last_sets_in_one_file,
    _own_listeners,
    _streams_in_circles,
    _certificates,
)
"""All checks. A check yields the path of what it warns of, and why."""
