"""Metrics in the Prometheus text format, by the library of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from lb.dataplane.stats import CONNECT_BOUNDS, Counters

__all__ = ["ServerFigures", "Values", "exposition"]


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
class Values:
    """All exposed values at one moment."""

    version: str
    figures: Counters
    active: Mapping[str, int]
    """Open connections per listener."""
    servers: tuple[ServerFigures, ...]
    checks: Mapping[str, int]
    """Count per result."""
    reloads: Mapping[str, int]
    """Count per result."""
    discovery_failures: Mapping[str, int]
    """Count per pool."""
    log_lines_dropped: int


@attrs.frozen(eq=False)
class _Collector:
    values: Values

    def collect(self) -> Iterator[Metric]:
        values, figures = self.values, self.values.figures
        info = GaugeMetricFamily("lb_build_info", "Version of the balancer; always 1.", labels=["version"])
        info.add_metric([values.version], 1)
        yield info
        connections = CounterMetricFamily(
            "lb_connections", "Finished client connections.", labels=["listener", "pool", "server", "reason"]
        )
        for series, count in figures.connections.items():
            connections.add_metric(series, count)
        yield connections
        active = GaugeMetricFamily("lb_connections_active", "Open client connections.", labels=["listener"])
        for listener, count in values.active.items():
            active.add_metric([listener], count)
        yield active
        moved = CounterMetricFamily(
            "lb_bytes", "Bytes of client connections; direction 'in' is from clients.", labels=["direction"]
        )
        moved.add_metric(["in"], figures.bytes_in)
        moved.add_metric(["out"], figures.bytes_out)
        yield moved
        yield from self._connects()
        yield from self._servers()
        yield from self._process()

    def _process(self) -> Iterator[Metric]:
        values = self.values
        checks = CounterMetricFamily("lb_checks", "Health checks made.", labels=["result"])
        for result, count in values.checks.items():
            checks.add_metric([result], count)
        yield checks
        reloads = CounterMetricFamily("lb_reloads", "Configuration reloads.", labels=["result"])
        for result, count in values.reloads.items():
            reloads.add_metric([result], count)
        yield reloads
        failures = CounterMetricFamily("lb_discovery_failures", "Failed discovery lookups.", labels=["pool"])
        for pool, count in values.discovery_failures.items():
            failures.add_metric([pool], count)
        yield failures
        dropped = CounterMetricFamily("lb_log_lines_dropped", "Log lines dropped because their reader was too slow.")
        dropped.add_metric([], values.log_lines_dropped)
        yield dropped
        batches = CounterMetricFamily("lb_splicer_batches", "Batches of ready sockets handled.")
        batches.add_metric([], values.figures.batches)
        edges = CounterMetricFamily("lb_splicer_edges", "Ready sockets in these batches.")
        edges.add_metric([], values.figures.edges)
        yield from (batches, edges)

    def _connects(self) -> Iterator[Metric]:
        figures = self.values.figures
        seconds = HistogramMetricFamily("lb_connect_seconds", "Duration of successful connects.", labels=["pool"])
        retries = CounterMetricFamily("lb_retries", "Retries after a failed connect.", labels=["pool"])
        for pool, connects in figures.connects.items():
            below, buckets = 0, []
            for bound, count in zip([*map(str, CONNECT_BOUNDS), "+Inf"], connects.buckets, strict=True):
                below += count
                buckets.append((bound, below))
            seconds.add_metric([pool], buckets, sum_value=connects.seconds)
            retries.add_metric([pool], connects.retries)
        failed = CounterMetricFamily("lb_failed_connects", "Failed connects.", labels=["pool", "server"])
        for place, count in figures.failed_connects.items():
            failed.add_metric(place, count)
        yield from (seconds, retries, failed)

    def _servers(self) -> Iterator[Metric]:
        labels = ["pool", "server"]
        up = GaugeMetricFamily("lb_server_up", "1 if the health state allows traffic, else 0.", labels=labels)
        state = GaugeMetricFamily("lb_server_state", "1 for the current state.", labels=[*labels, "state"])
        active = GaugeMetricFamily("lb_server_connections_active", "Open connections.", labels=labels)
        weight = GaugeMetricFamily("lb_server_weight", "Current weight.", labels=labels)
        for server in self.values.servers:
            place = [server.pool, server.server]
            up.add_metric(place, int(server.up))
            state.add_metric([*place, server.state], 1)
            active.add_metric(place, server.active)
            weight.add_metric(place, server.weight)
        yield from (up, state, active, weight)


def exposition(values: Values) -> bytes:
    """Return the text. Takes 10 µs per line: run it in a thread."""
    registry = CollectorRegistry()
    registry.register(_Collector(values))
    return generate_latest(registry)
