"""Metrics in the Prometheus text format, version 0.0.4, line by line, so that traffic is served in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from lb.dataplane.requests import REQUEST_BOUNDS, STATUS_CLASSES, Durations
from lb.dataplane.stats import CONNECT_BOUNDS, Counters
from lb.model.cache_figures import CacheFigures, CacheTier
from lb.model.media_figures import MediaHistogram
from lb.model.stream_status import MediaSnapshot

__all__ = ["ClusterFigures", "ServerFigures", "Values", "exposition"]

Sample: TypeAlias = tuple[str, float]
"""The labels as in the text, ``pool="web",server="a"`` or empty, and the value."""


@attrs.frozen
class ServerFigures:
    """The values of one server at one moment."""

    pool: str
    server: str
    up: bool
    state: str
    active: int
    weight: int


@attrs.frozen
class ClusterFigures:
    """The values of a cluster, as this node sees it."""

    nodes: int
    ready: int
    """Nodes that are ready."""
    joined: bool
    """This node is in the list, and etcd answers."""
    overrides: Mapping[str, int]
    """What operators said to this node, by whether etcd was told: ``told``, ``not_told``."""


@attrs.frozen
class Values:
    """All exposed values at one moment."""

    version: str
    figures: Counters
    handshakes_waiting: int
    descriptors_used: float
    """Share of those for connections, 0 to 1."""
    certificates: Mapping[str, float]
    """When each ends, in seconds of Unix time, by file."""
    kept_connections: Mapping[str, int]
    """Per pool."""
    caches: Mapping[str, CacheFigures]
    """Per zone."""
    media: MediaSnapshot
    viewers: Mapping[str, int]
    """Per stream; none = 0."""
    active: Mapping[str, int]
    """Open connections per listener."""
    pool_servers: Mapping[str, Mapping[str, int]]
    """Number of servers per pool and state."""
    servers: tuple[ServerFigures, ...]
    checks: Mapping[str, int]
    """Count per result."""
    late_checks: int
    reloads: Mapping[str, int]
    """Count per result."""
    discovery_failures: Mapping[str, int]
    """Count per pool."""
    announced: Mapping[str, int]
    """1 per announced address that stands, 0 per one that does not."""
    log_lines_dropped: int
    cluster: ClusterFigures | None
    """None without a cluster."""


def exposition(values: Values) -> Iterator[str]:
    """Yield the lines of the text. A line takes about a microsecond."""
    figures = values.figures
    yield from _gauge("lb_build_info", "Version of the balancer; always 1.", [(_labels(version=values.version), 1)])
    yield from _counter(
        "lb_connections_total",
        "Finished client connections.",
        (
            (_labels(listener=listener, pool=pool, reason=reason, server=server), count)
            for (listener, pool, server, reason), count in figures.connections.items()
        ),
    )
    yield from _gauge("lb_connections_active", "Open client connections.", _by("listener", values.active))
    moved = {"in": figures.bytes_in, "out": figures.bytes_out}
    yield from _counter(
        "lb_bytes_total", "Bytes of client connections; direction 'in' is from clients.", _by("direction", moved)
    )
    yield from _connects(figures)
    yield from _requests(figures)
    kept = _by("pool", values.kept_connections)
    yield from _gauge("lb_http_kept_connections", "Idle connections to servers, kept for further requests.", kept)
    yield from _caches(values.caches)
    yield from _media(values.media, values.viewers)
    yield from _pool_servers(values.pool_servers)
    yield from _servers(values.servers)
    yield from _process(values)
    if values.cluster is not None:
        yield from _cluster(values.cluster)


def _connects(figures: Counters) -> Iterator[str]:
    yield from _head("lb_connect_seconds", "histogram", "Duration of successful connects.")
    for pool, connects in figures.connects.items():
        labels = _labels(pool=pool)
        yield from _histogram("lb_connect_seconds", labels, CONNECT_BOUNDS, connects.buckets, connects.seconds)
    retries = {pool: connects.retries for pool, connects in figures.connects.items()}
    yield from _counter("lb_retries_total", "Retries after a failed connect.", _by("pool", retries))
    failed = ((_labels(pool=pool, server=server), count) for (pool, server), count in figures.failed_connects.items())
    yield from _counter("lb_failed_connects_total", "Failed connects.", failed)
    forwarded = (
        (_labels(listener=listener, protocol=protocol, result=result), count)
        for listener, each in figures.forwarded.items()
        for (protocol, result), count in each.results.items()
    )
    yield from _counter("lb_forward_total", "What forward proxies were asked for, by what became of it.", forwarded)


def _requests(figures: Counters) -> Iterator[str]:
    routes = [(_labels(listener=listener, route=route), each) for (listener, route), each in figures.requests.items()]
    statuses = (
        (f'{labels},status="{name}"', count)
        for labels, each in routes
        for name, count in zip(STATUS_CLASSES, each.statuses, strict=True)
    )
    yield from _counter("lb_http_requests_total", "HTTP requests, by class of the response's status.", statuses)
    took = ((labels, each.took) for labels, each in routes)
    yield from _durations("lb_http_request_seconds", "From a request's head to the end of its response.", took)
    first_byte = ((labels, each.first_byte) for labels, each in routes)
    yield from _durations("lb_http_first_byte_seconds", "From a request's head to its response's head.", first_byte)
    retries = _by("pool", figures.request_retries)
    yield from _counter("lb_http_retries_total", "Further attempts of requests after a failed one.", retries)


def _caches(caches: Mapping[str, CacheFigures]) -> Iterator[str]:
    def by(label: str, counts: Callable[[CacheFigures], Mapping[str, int]]) -> Iterator[Sample]:
        return (
            (_labels(zone=zone, **{label: key}), count)
            for zone, figures in caches.items()
            for key, count in counts(figures).items()
        )

    def by_tier(figure: Callable[[CacheTier], int]) -> Iterator[Sample]:
        for zone, figures in caches.items():
            yield _labels(zone=zone, tier="memory"), figure(figures.memory)
            if figures.disk is not None:
                yield _labels(zone=zone, tier="disk"), figure(figures.disk)

    requests = by("result", lambda figures: figures.requests)
    yield from _counter("lb_cache_requests_total", "Requests by what the cache did.", requests)
    yield from _gauge("lb_cache_bytes", "Bytes of what is stored.", by_tier(lambda tier: tier.bytes))
    yield from _gauge("lb_cache_objects", "Stored responses.", by_tier(lambda tier: tier.objects))
    fills = ((_labels(zone=zone), figures.fills) for zone, figures in caches.items())
    yield from _counter("lb_cache_fills_total", "Requests of the cache to servers.", fills)
    evictions = by("why", lambda figures: figures.evictions)
    yield from _counter("lb_cache_evictions_total", "Stored responses that were removed.", evictions)
    errors = by("kind", lambda figures: figures.errors)
    yield from _counter("lb_cache_errors_total", "Failures of the disk of a cache.", errors)


def _media(media: MediaSnapshot, viewers: Mapping[str, int]) -> Iterator[str]:
    figures = media.figures
    streams = [(_labels(stream=name), each) for name, each in figures.streams.items()]
    yield from _gauge("lb_media_publishers", "Publishers of live streams.", _by("app", media.publishers))
    live = {name: each.live for name, each in media.streams.items()}
    yield from _gauge("lb_media_live", "1 while somebody publishes the stream, else 0.", _by("stream", live))
    watching = {name: viewers.get(name, 0) for name in media.streams}
    yield from _gauge("lb_media_viewers", "Addresses that read a stream's playlists.", _by("stream", watching))
    received = ((labels, each.bytes_in) for labels, each in streams)
    yield from _counter("lb_media_bytes_in_total", "Bytes of frames from publishers.", received)
    segments = (
        (f'{labels},track="{track}"', count) for labels, each in streams for track, count in each.segments.items()
    )
    yield from _counter("lb_media_segments_total", "Complete segments of live streams.", segments)
    yield from _media_histogram("lb_media_segment_seconds", "Lengths of these segments.", figures.segment_lengths)
    jumps = figures.jumps
    yield from _counter("lb_media_jumps_total", "Jumps of the timestamps of publishers.", [("", jumps)])
    yield from _counter("lb_media_refused_total", "Refused publishers.", _by("reason", figures.refused))
    yield from _media_histogram("lb_media_vod_package_seconds", "Times to make a segment of a film.", figures.packaging)


def _media_histogram(name: str, documentation: str, each: MediaHistogram) -> Iterator[str]:
    yield from _head(name, "histogram", documentation)
    yield from _histogram(name, "", each.bounds, each.buckets, each.sum)


def _durations(name: str, documentation: str, series: Iterable[tuple[str, Durations]]) -> Iterator[str]:
    yield from _head(name, "histogram", documentation)
    for labels, each in series:
        yield from _histogram(name, labels, REQUEST_BOUNDS, each.buckets, each.seconds)


def _histogram(
    name: str, labels: str, bounds: Sequence[float], buckets: Sequence[int], seconds: float
) -> Iterator[str]:
    below = 0
    for bound, count in zip([*map(str, bounds), "+Inf"], buckets, strict=True):
        below += count
        yield _line(f"{name}_bucket", f'le="{bound}",{labels}'.rstrip(","), below)
    yield _line(f"{name}_count", labels, below)
    yield _line(f"{name}_sum", labels, seconds)


def _pool_servers(pools: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    counts = (
        (_labels(pool=pool, state=state), count) for pool, states in pools.items() for state, count in states.items()
    )
    yield from _gauge("lb_pool_servers", "Servers of the pool in this state.", counts)


def _servers(servers: Iterable[ServerFigures]) -> Iterator[str]:
    places: list[tuple[str, ServerFigures]] = []
    yield from _head("lb_server_up", "gauge", "1 if the health state allows traffic, else 0.")
    for server in servers:
        labels = _labels(pool=server.pool, server=server.server)
        places.append((labels, server))
        yield _line("lb_server_up", labels, server.up)
    states = ((f'{labels},state="{server.state}"', 1) for labels, server in places)
    yield from _gauge("lb_server_state", "1 for the current state.", states)
    active = ((labels, server.active) for labels, server in places)
    yield from _gauge("lb_server_connections_active", "Open connections.", active)
    weights = ((labels, server.weight) for labels, server in places)
    yield from _gauge("lb_server_weight", "Current weight.", weights)


def _process(values: Values) -> Iterator[str]:
    yield from _counter("lb_checks_total", "Health checks made.", _by("result", values.checks))
    yield from _counter("lb_checks_late_total", "Health checks that started late.", [("", values.late_checks)])
    yield from _counter("lb_reloads_total", "Configuration reloads.", _by("result", values.reloads))
    failures = _by("pool", values.discovery_failures)
    yield from _counter("lb_discovery_failures_total", "Failed discovery lookups.", failures)
    announced = _by("address", values.announced)
    yield from _gauge("lb_announced", "1 while the announced address stands on its interface, else 0.", announced)
    dropped = values.log_lines_dropped
    yield from _counter(
        "lb_log_lines_dropped_total", "Log lines dropped because their reader was too slow.", [("", dropped)]
    )
    batches, edges = values.figures.batches, values.figures.edges
    yield from _counter("lb_splicer_batches_total", "Batches of ready sockets handled.", [("", batches)])
    yield from _counter("lb_splicer_edges_total", "Ready sockets in these batches.", [("", edges)])
    waiting = values.handshakes_waiting
    yield from _gauge("lb_handshakes_waiting", "Steps of TLS handshakes that wait for the CPU.", [("", waiting)])
    used = "Share of the file descriptors for connections that is in use, in the process with the fewest left."
    yield from _gauge("lb_descriptors_used_ratio", used, [("", values.descriptors_used)])
    ends = _by("file", values.certificates)
    yield from _gauge("lb_certificate_end_timestamp_seconds", "When the certificate ends: 00:00 UTC of that day.", ends)


def _cluster(cluster: ClusterFigures) -> Iterator[str]:
    yield from _gauge("lb_cluster_nodes", "Nodes of the cluster that live, as this one knows.", [("", cluster.nodes)])
    yield from _gauge("lb_cluster_nodes_ready", "Those of them that are ready.", [("", cluster.ready)])
    joined = "1 if this node is in the list and etcd answers, else 0."
    yield from _gauge("lb_cluster_etcd_up", joined, [("", cluster.joined)])
    said = "Overrides by operators of this node, by whether the cluster was told."
    yield from _counter("lb_cluster_overrides_total", said, _by("result", cluster.overrides))


def _gauge(name: str, documentation: str, samples: Iterable[Sample]) -> Iterator[str]:
    return _family(name, "gauge", documentation, samples)


def _counter(name: str, documentation: str, samples: Iterable[Sample]) -> Iterator[str]:
    return _family(name, "counter", documentation, samples)


def _family(name: str, kind: str, documentation: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield from _head(name, kind, documentation)
    for labels, value in samples:
        yield _line(name, labels, value)


def _head(name: str, kind: str, documentation: str) -> tuple[str, str]:
    return f"# HELP {name} {documentation}\n", f"# TYPE {name} {kind}\n"


def _line(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {float(value)!r}\n" if labels else f"{name} {float(value)!r}\n"


def _by(label: str, values: Mapping[str, float]) -> Iterator[Sample]:
    return ((_labels(**{label: key}), value) for key, value in values.items())


def _labels(**labels: str) -> str:
    return ",".join([f'{label}="{_escaped(value)}"' for label, value in labels.items()])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
