"""Human-readable text of a whole configuration (``lb check``) and of single values (``lb diff``)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch

import attrs

from lb.config.forward_text import forward_values
from lb.config.media_text import media_specs, media_values
from lb.config.route_text import ANY, route_values, routes_of
from lb.model import (
    AnnounceSpec,
    BandwidthSpec,
    CacheSpec,
    CertificateSpec,
    CheckSpec,
    ClusterSpec,
    Config,
    DnsSource,
    EtcdSource,
    ForwardSettings,
    HealthSpec,
    HttpPoolSpec,
    HttpSettings,
    KubernetesSource,
    ListenerSpec,
    ListenerTlsSpec,
    LiveSpec,
    OptionalProxies,
    OutlierSpec,
    PassiveSpec,
    PemSpec,
    PluginSpec,
    PoolSpec,
    PoolTlsSpec,
    ProxyLogin,
    RouteSpec,
    ServerSpec,
    Share,
    StickySpec,
    TcpSettings,
    UsersSpec,
    VodSpec,
)
from lb.model.address import Networks
from lb.model.http import Rate, StatusRange
from lb.model.values import byte_size_text, duration_text

__all__ = ["describe", "listener_text", "media_text", "route_text", "server_text", "value_text"]


def describe(config: Config) -> str:
    """Return a summary: the process, listeners with routes, pools with servers, users, caches, media, addresses.

    And the cluster. No final newline.
    """
    workers, user, group = config.process.workers, config.process.user, config.process.group
    lines = [] if workers == 1 else [f"workers: {'one per CPU' if workers == 'auto' else workers}"]
    if user:
        lines.append(f"user: {user}, group {group}" if group else f"user: {user}")
    if config.process.watch:
        lines.append("watch: a changed file is loaded")
    for listener in config.listeners.values():
        lines.append(f"listener {listener.name}: {listener_text(listener)}")
        lines += _below({route.name: route_text(route) for route in routes_of(listener)})
    for pool in config.written_pools.values():
        lines.append(f"pool {pool.name}: {', '.join(_pool(pool))}")
        lines += _below({server.name: server_text(server) for server in pool.servers})
        lines += [f"  discovered: {source}" for source in _sources(pool)]
    lines += [f"users {users.name}: {value_text(users)}" for users in config.users.values()]
    lines += [f"cache {cache.name}: {value_text(cache)}" for cache in config.caches.values()]
    if config.cluster is not None:
        lines.append(f"cluster {config.cluster.name}: {value_text(config.cluster)}")
    lines += [f"{subject}: {media_text(spec)}" for subject, spec in media_specs(config.media).items()]
    if config.announce is not None:
        lines.append(f"announce: {value_text(config.announce)}")
    return "\n".join(lines)


def _below(texts: dict[str, str]) -> list[str]:
    """Return indented lines of names and texts."""
    width = max(map(len, texts), default=0)
    return [f"  {name:{width}}  {text}" for name, text in texts.items()]


def listener_text(listener: ListenerSpec) -> str:
    """Return addresses, TLS, pools and conditions: ``127.0.0.1:8080, [::1]:8080 -> pool web``."""
    secured = f", TLS {value_text(listener.tls)}" if listener.tls is not None else ""
    binds = ", ".join(map(str, listener.bind))
    return f"{binds}{secured}{_destinations(listener)}{''.join(_conditions(listener))}"


def _destinations(listener: ListenerSpec) -> str:
    settings = listener.settings
    if listener.mode == "rtmp":
        return ", mode rtmp -> live streams"
    if isinstance(settings, TcpSettings):
        routes = "".join(f"{name} -> pool {pool}, " for name, pool in settings.sni or ())
        if settings.no_tls:
            routes += f"without TLS -> pool {settings.no_tls}, "
        others = ": " + routes + "others " if routes else " "
        return f"{others}-> pool {settings.pool}"
    if isinstance(settings, HttpSettings):
        count = len(settings.routes)
        routes = f" -> {count} route{'' if count == 1 else 's'}, others" if count else ""
        return f", mode http{routes} -> {f'pool {settings.pool}' if settings.pool else '404'}"
    if isinstance(settings, ForwardSettings):
        parents = f" -> pool {settings.parents}" if settings.parents else ""
        return f", mode forward ({value_text(settings.protocols)}){parents}"
    return f", mode {listener.mode} -> {', '.join(f'pool {pool}' for pool in settings.pools) or 'no pool'}"


def _conditions(listener: ListenerSpec) -> Iterator[str]:
    """Yield the conditions that a client must meet."""
    if listener.accept_proxy:
        sources = f" from {listener.accept_proxy}" if isinstance(listener.accept_proxy, Networks) else ""
        others = ", others without" if isinstance(listener.accept_proxy, OptionalProxies) else ""
        yield f"; PROXY header{sources}{others}"
    if listener.allow:
        yield f"; allow {listener.allow}"
    if listener.deny:
        yield f"; deny {listener.deny}"
    if listener.max_per_source:
        yield f"; at most {listener.max_per_source} connections from one source"
    if listener.rate_per_source:
        yield f"; at most {listener.rate_per_source} a second from one source"
    if listener.freebind:
        yield "; binds addresses that are not here yet"
    if listener.bandwidth:
        yield f"; at most {value_text(listener.bandwidth)}"
    if isinstance(listener.settings, TcpSettings) and listener.settings.explain_sample:
        yield f"; explains {value_text(listener.settings.explain_sample)} of the connections"
    if isinstance(listener.settings, ForwardSettings):
        told = ("protocols", "parents")
        values = forward_values(listener.settings)
        yield from (f"; {key} {value_text(value)}" for key, value in values.items() if key not in told)


def route_text(route: RouteSpec) -> str:
    """Return ``path /a, pool web, compress true``: the keys as in the file, with their values."""
    values = route_values(route)
    return ", ".join(f"{key} {value_text(value)}" for key, value in values.items() if value != ANY)


def media_text(spec: LiveSpec | VodSpec) -> str:
    """Return ``segment 2s, window 6, publish show``: what is always of interest, then what differs from the default."""
    return ", ".join(f"{key} {value_text(value)}" for key, value in media_values(spec).items())


def server_text(server: ServerSpec) -> str:
    """Return ``10.0.0.1:80, weight 2, backup``: the address, then the settings that differ from the defaults."""
    return ", ".join([server.address.text, *_settings(server)])


def _settings(server: ServerSpec | DnsSource) -> Iterator[str]:
    if server.weight != 1:
        yield f"weight {server.weight}"
    if server.backup:
        yield "backup"
    if server.max_connections:
        yield f"at most {server.max_connections} connections"
    if place := _place(server.check_address if isinstance(server, ServerSpec) else "", server.check_port):
        yield f"checked{place}"


def _sources(pool: PoolSpec) -> Iterator[str]:
    """Yield the sources of discovered servers."""
    for source in pool.dns:
        parts = [f"dns {source}", *_settings(source)]
        if source.family != "any":
            parts.append(source.family)
        if source.hold is not None:
            parts.append(f"hold {duration_text(source.hold)}")
        if pool.nameservers:
            parts.append(f"nameservers {value_text(pool.nameservers)}")
        yield ", ".join(parts)
    if pool.servers_file:
        yield f"file {pool.servers_file}"
    if pool.etcd:
        yield value_text(pool.etcd)
    if pool.kubernetes:
        yield value_text(pool.kubernetes)


def _pool(pool: PoolSpec) -> Iterator[str]:
    yield value_text(pool.strategy)
    yield value_text(pool.health) if pool.health else "no active checks"
    if pool.passive.failures:
        yield f"ejects after {value_text(pool.passive)}"
    if pool.outlier is not None:
        yield value_text(pool.outlier)
    if pool.source:
        yield f"from {value_text(pool.source)}"
    if pool.send_proxy != "off":
        yield " with ".join(
            [f"sends PROXY {pool.send_proxy}", *([value_text(pool.proxy_tlvs)] if pool.proxy_tlvs else [])]
        )
    if pool.tls is not None:
        yield f"TLS {value_text(pool.tls)}"
    if pool.when_all_down != "reject":
        yield f"when all are down: {pool.when_all_down}"
    if pool.slow_start:
        yield f"slow start {duration_text(pool.slow_start)}"
    if pool.queue:
        yield f"when all are full: {pool.queue} wait {duration_text(pool.queue_timeout)}"
    yield from _for_http(pool)


def _for_http(pool: PoolSpec) -> Iterator[str]:
    if pool.http != HttpPoolSpec():
        yield f"http {value_text(pool.http)}"
    if pool.sticky is not None:
        yield f"sticky {value_text(pool.sticky)}"
    if pool.proxy is not None:
        yield f"proxy {value_text(pool.proxy)}"


def _checks(health: HealthSpec) -> str:
    if not health.checks:
        return f"probe {value_text(health.all_checks[0])}"
    return f"{health.require} of {value_text(health.all_checks)}"


def _place(address: str, port: int) -> str:
    """Return where checks connect to, if it is not the server's own address and port."""
    return (f" at {address}" if address else "") + (f" on port {port}" if port else "")


@singledispatch
def value_text(value: object) -> str:
    """Return a value of the model, spelled nearly as in the file. Floats are durations."""
    return str(value) or "none"


@value_text.register
def _(_value: None) -> str:
    return "off"


@value_text.register
def _(value: bool) -> str:
    return "true" if value else "false"


@value_text.register
def _(value: float) -> str:
    return duration_text(value)


@value_text.register
def _(value: Share) -> str:
    return f"{100 * value:.10g} %"


@value_text.register
def _(value: tuple) -> str:  # type: ignore[type-arg]  # singledispatch needs a plain class
    return ", ".join(map(value_text, value)) or "none"


@value_text.register
def _(value: frozenset) -> str:  # type: ignore[type-arg]  # likewise
    return ", ".join(sorted(map(value_text, value))) or "none"


@value_text.register
def _(value: PluginSpec) -> str:
    options = ", ".join(
        f"{key}={option.path if isinstance(option, PemSpec) else option!r}" for key, option in value.options
    )
    return f"{value.name} ({options})" if options else value.name


@value_text.register
def _(value: HealthSpec) -> str:
    return f"{_checks(value)} every {duration_text(value.interval)}"


@value_text.register
def _(value: CheckSpec) -> str:
    name = f"{value.name}: " if value.name else ""
    tls = "" if value.tls is None else f" over TLS ({value_text(value.tls)})" if value.tls else " without TLS"
    return f"{name}{value_text(value.probe)}{_place(value.address, value.port)}{tls}"


@value_text.register
def _(value: OutlierSpec) -> str:
    return f"{'reports' if value.dry_run else 'ejects'} servers {value.factor} times slower than the median"


@value_text.register
def _(value: BandwidthSpec) -> str:
    limits = {"connection": value.connection, "source": value.source, "listener": value.listener}
    return ", ".join(f"{_size(rate)}/s per {scope}" for scope, rate in limits.items() if rate) or "none"


@value_text.register
def _(value: Rate) -> str:
    """Return a rate in the syntax of the file."""
    if not value:
        return "0"
    counts = {unit: round(value * seconds, 6) for unit, seconds in (("s", 1), ("m", 60), ("h", 3600))}
    unit = next((unit for unit, count in counts.items() if count.is_integer()), "h")
    return f"{counts[unit]:.10g}/{unit}"


@value_text.register
def _(value: PassiveSpec) -> str:
    statuses = f" or statuses {value_text(value.statuses)}" if value.statuses else ""
    return f"{value.failures} failed connects{statuses}"


@value_text.register
def _(value: StatusRange) -> str:
    return str(value)


@value_text.register
def _(value: HttpPoolSpec) -> str:
    fields = [field for field in attrs.fields(HttpPoolSpec) if getattr(value, field.name) != field.default]
    return ", ".join(f"{field.name} {value_text(getattr(value, field.name))}" for field in fields) or "defaults"


@value_text.register
def _(value: KubernetesSource) -> str:
    port = f", port {value.port}" if value.port else ""
    zone = "$LB_ZONE" if value.prefer_zone is True else value.prefer_zone
    family = "" if value.family == "any" else f", {value.family}"
    place = f" at {value.api}" if value.api else ""
    return f"{value}{place}{port}{family}{f', prefers zone {zone}' if zone else ''}, hold {duration_text(value.hold)}"


@value_text.register
def _(value: EtcdSource) -> str:
    user = f", user {value.etcd.user}" if value.etcd.user else ""
    return f"{value} at {value_text(value.etcd.endpoints)}{user}, hold {duration_text(value.hold)}"


@value_text.register
def _(value: StickySpec) -> str:
    return f"cookie {value.cookie}"


@value_text.register
def _(value: ProxyLogin) -> str:
    return f"user {value.user}"


@value_text.register
def _(value: UsersSpec) -> str:
    return f"{len(value.hashes)} of {value.file}"


@value_text.register
def _(value: CacheSpec) -> str:
    disk = [f"{value.path} up to {_size(value.max_size)}"] if value.path else []
    memory = [f"memory up to {_size(value.memory)}"] if value.memory else []
    return ", ".join([*disk, *memory, f"inactive after {duration_text(value.inactive)}"])


@value_text.register
def _(value: AnnounceSpec) -> str:
    addresses = ", ".join(map(str, value.addresses))
    return f"{addresses} on {value.interface}, after {duration_text(value.rise)}"


@value_text.register
def _(value: ClusterSpec) -> str:
    return f"node {value.node}, etcd {value_text(value.etcd.endpoints)}, keys {value.etcd.prefix}"


def _size(count: int) -> str:
    """Return a number of bytes, with its unit."""
    text = byte_size_text(count)
    return f"{text} bytes" if text.isdigit() else text


# Certificates: names and expiry date. Files: path only.


@value_text.register
def _(value: ListenerTlsSpec) -> str:
    return value_text(value.certificates)


@value_text.register
def _(value: PoolTlsSpec) -> str:
    return "verified" if value.verify else "not verified"


@value_text.register
def _(value: CertificateSpec) -> str:
    return f"{value.chain.path} ({', '.join(value.names)}; until {value.until})"


@value_text.register
def _(value: PemSpec) -> str:
    return value.path
