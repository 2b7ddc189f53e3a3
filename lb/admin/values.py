"""What ``/metrics`` exposes, gathered at one moment from all parts of the process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import get_args

import attrs

from lb import __version__
from lb.admin.exposition import ClusterFigures, ServerFigures, Values
from lb.admin.process import Process
from lb.admin.streams import figures_of, viewers
from lb.admin.zeros import with_zeros
from lb.dataplane.stats import ConnectionLabels, Counters
from lb.model import CertificateSpec, Config
from lb.net.cooperate import in_turns
from lb.pools.backend import BackendState
from lb.pools.pool import Pool

__all__ = ["certificate_ends", "values_of", "without_servers"]


async def values_of(process: Process) -> Values:
    """Return all values."""
    balancer = process.balancer
    stats, media = await figures_of(balancer)
    pools = balancer.shown_pools
    servers = await _servers(pools.values())
    each_server = balancer.config.admin is None or balancer.config.admin.server_metrics
    figures = stats.figures if each_server else await without_servers(stats.figures)
    shown = [(each.pool, each.server if each_server else "") for each in servers]
    return Values(
        version=__version__,
        figures=with_zeros(figures, balancer.config, shown),
        handshakes_waiting=stats.handshakes_waiting,
        descriptors_used=stats.descriptors_used,
        certificates=certificate_ends(balancer.written),
        kept_connections=stats.kept_connections,
        caches=stats.caches,
        media=media,
        viewers=viewers(balancer.config.media, stats, media),
        active={name: balancer.data_plane.active(name) for name in balancer.bound},
        pool_servers=_by_state(pools, servers),
        servers=servers if each_server else (),
        checks=dict(balancer.checks),
        late_checks=balancer.late_checks,
        reloads=dict(process.feed.reloads),
        discovery_failures=dict(balancer.discovery_failures),
        announced=process.announcer.standing,
        log_lines_dropped=process.feed.lines_dropped,
        cluster=_cluster(process),
    )


async def _servers(pools: Iterable[Pool]) -> tuple[ServerFigures, ...]:
    found = []
    async for pool, backend in in_turns([(each, backend) for each in pools for backend in each.backends.values()]):
        up, weight = backend.health.serving, backend.spec.effective_weight
        found.append(ServerFigures(pool.name, backend.name, up, backend.state, backend.active, weight))
    return tuple(found)


async def without_servers(figures: Counters) -> Counters:
    """Return the counters with the servers of each pool added up, under an empty name."""
    connections: dict[ConnectionLabels, int] = {}
    async for (listener, pool, _, reason), count in in_turns(figures.connections.items()):
        labels = (listener, pool, "", reason)
        connections[labels] = connections.get(labels, 0) + count
    failed: dict[tuple[str, str], int] = {}
    async for (pool, _), count in in_turns(figures.failed_connects.items()):
        failed[pool, ""] = failed.get((pool, ""), 0) + count
    return attrs.evolve(figures, connections=connections, failed_connects=failed)


def _by_state(pools: Iterable[str], servers: Iterable[ServerFigures]) -> dict[str, dict[str, int]]:
    """Count servers by pool and state. Each pool has each state, so that rules see a 0."""
    counts = {pool: dict.fromkeys(get_args(BackendState), 0) for pool in pools}
    for server in servers:
        counts[server.pool][server.state] += 1
    return counts


def certificate_ends(config: Config) -> dict[str, float]:
    """Return when each certificate ends, by file: of several with the same path the first."""
    ends: dict[str, float] = {}
    for certificate in _certificates(config):
        end = datetime.fromisoformat(certificate.until).replace(tzinfo=UTC).timestamp()
        ends[certificate.chain.path] = min(end, ends.get(certificate.chain.path, end))
    return ends


def _certificates(config: Config) -> Iterator[CertificateSpec]:
    for listener in config.listeners.values():
        if listener.tls is not None:
            yield from listener.tls.certificates
    for pool in config.pools.values():
        if pool.tls is not None and pool.tls.certificate is not None:
            yield pool.tls.certificate


def _cluster(process: Process) -> ClusterFigures | None:
    membership = process.cluster.membership
    if membership is None:
        return None
    nodes = membership.nodes.values()
    ready = sum(node.ready for node in nodes)
    return ClusterFigures(len(nodes), ready, not membership.trouble, dict(membership.overrides.said))
