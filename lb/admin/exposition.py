"""The metrics in the text format of Prometheus, by its own library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from lb.figures import CONNECT_BOUNDS, Figures

__all__ = ["ServerFigures", "Values", "exposition"]


@attrs.frozen
class ServerFigures:
    """Of one server, taken at one moment."""

    pool: str
    server: str
    up: bool
    state: str
    active: int
    weight: int


@attrs.frozen
class Values:
    """All that is exposed, taken at one moment."""

    version: str
    figures: Figures
    active: Mapping[str, int]
    """Open connections by listener."""
    servers: tuple[ServerFigures, ...]
    checks: Mapping[str, int]
    """By result."""
    reloads: Mapping[str, int]
    """By result."""
    discovery_failures: Mapping[str, int]
    """By pool."""
    log_lines_dropped: int


@attrs.frozen(eq=False)
class _Collector:
    values: Values

    def collect(self) -> Iterator[Metric]:
        values, figures = self.values, self.values.figures
        info = GaugeMetricFamily("lb_build_info", "Which version runs; always 1.", labels=["version"])
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
            "lb_bytes", "Bytes of client connections, in is from clients.", labels=["direction"]
        )
        moved.add_metric(["in"], figures.bytes_in)
        moved.add_metric(["out"], figures.bytes_out)
        yield moved
        yield from self._connects()
        yield from self._servers()
        checks = CounterMetricFamily("lb_checks", "Active checks made.", labels=["result"])
        for result, count in values.checks.items():
            checks.add_metric([result], count)
        yield checks
        reloads = CounterMetricFamily("lb_reloads", "Changes of the configuration.", labels=["result"])
        for result, count in values.reloads.items():
            reloads.add_metric([result], count)
        yield reloads
        looks = CounterMetricFamily("lb_discovery_failures", "Looks for servers that failed.", labels=["pool"])
        for pool, count in values.discovery_failures.items():
            looks.add_metric([pool], count)
        yield looks
        dropped = CounterMetricFamily("lb_log_lines_dropped", "Log lines that their reader was too slow for.")
        dropped.add_metric([], values.log_lines_dropped)
        yield dropped
        batches = CounterMetricFamily("lb_splicer_batches", "Batches of ready sockets that were handled.")
        batches.add_metric([], figures.batches)
        edges = CounterMetricFamily("lb_splicer_edges", "Ready sockets in these batches.")
        edges.add_metric([], figures.edges)
        yield from (batches, edges)

    def _connects(self) -> Iterator[Metric]:
        figures = self.values.figures
        seconds = HistogramMetricFamily("lb_connect_seconds", "Time of connects that worked.", labels=["pool"])
        retries = CounterMetricFamily("lb_retries", "Further servers tried after a failed connect.", labels=["pool"])
        for pool, connects in figures.connects.items():
            below, buckets = 0, []
            for bound, count in zip([*map(str, CONNECT_BOUNDS), "+Inf"], connects.buckets, strict=True):
                below += count
                buckets.append((bound, below))
            seconds.add_metric([pool], buckets, sum_value=connects.seconds)
            retries.add_metric([pool], connects.retries)
        failed = CounterMetricFamily("lb_failed_connects", "Connects that failed.", labels=["pool", "server"])
        for place, count in figures.failed_connects.items():
            failed.add_metric(place, count)
        yield from (seconds, retries, failed)

    def _servers(self) -> Iterator[Metric]:
        labels = ["pool", "server"]
        up = GaugeMetricFamily("lb_server_up", "1 if health allows traffic, else 0.", labels=labels)
        state = GaugeMetricFamily("lb_server_state", "1 for the state that it is in.", labels=[*labels, "state"])
        active = GaugeMetricFamily("lb_server_connections_active", "Open connections to it.", labels=labels)
        weight = GaugeMetricFamily("lb_server_weight", "Its weight now.", labels=labels)
        for server in self.values.servers:
            place = [server.pool, server.server]
            up.add_metric(place, int(server.up))
            state.add_metric([*place, server.state], 1)
            active.add_metric(place, server.active)
            weight.add_metric(place, server.weight)
        yield from (up, state, active, weight)


def exposition(values: Values) -> bytes:
    """The text. Takes 10 µs a line: run it in a thread."""
    registry = CollectorRegistry()
    registry.register(_Collector(values))
    return generate_latest(registry)
