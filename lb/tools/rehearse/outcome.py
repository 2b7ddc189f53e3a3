"""The result of a rehearsal as named figures. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from lb.model import Config
from lb.tools.rehearse.reactions import Period, ejected_after, ejected_periods, restored_after, served_periods
from lb.tools.rehearse.recorder import VERBS, End, Moment, Recorder
from lb.tools.rehearse.scenario import Does, FaultSpec, NodeFaultSpec, Scenario

__all__ = ["Incident", "NodeOutcome", "RehearsalOutcome", "ServerOutcome", "outcome", "quantile"]

ENDED: Mapping[End, str] = {"failed": "failed", "cut": "cut", "left": "abandoned by their clients"}


@attrs.frozen
class Incident:
    """A fault of a server or of a balancer, and the time until the balancers reacted, in seconds."""

    name: str
    """``pool/server``, or the balancer's name."""
    does: Does
    at: float
    ended_at: float
    """Time of the recovery; ``math.inf`` if never."""
    ejected_after: float
    """Seconds from its beginning; 0 if the server was ejected already, ``math.inf`` if it never was. Of a balancer:
    until new sessions went to the others."""
    restored_after: float
    """Seconds from its end; 0 if the server was not ejected then, ``math.inf`` if it was never restored. Of a balancer:
    until it took sessions again."""
    of_node: bool = False

    def __str__(self) -> str:
        return f"{self.name} {VERBS[self.does]}"


@attrs.frozen
class ServerOutcome:
    """The figures of one server."""

    name: str
    """``pool/server``."""
    sessions: int
    share: float
    """Share of the sessions of its pool, in percent."""
    ejections: int


@attrs.frozen
class NodeOutcome:
    """The figures of one of several balancers."""

    name: str
    sessions: int
    share: float
    """Share of the sessions that came to a balancer, in percent."""


@attrs.frozen
class RehearsalOutcome:
    """The result of a rehearsal."""

    servers: list[ServerOutcome]
    nodes: list[NodeOutcome]
    """The balancers, if there are several."""
    incidents: list[Incident]
    """Those of balancers first."""
    waits: tuple[float, float, float]
    """Seconds until a client had its server: median, 99th percentile, maximum; ``math.inf`` if no client had one."""
    out: dict[str, list[Period]]
    """Periods in which each server was ejected."""
    timeline: list[Moment]
    statistics: dict[str, float]
    """Figures by the names that expectations use. Times are in seconds, shares in percent."""


def outcome(config: Config, scenario: Scenario, recorder: Recorder) -> RehearsalOutcome:
    """Compute the result. Without counts it has the same names, with meaningless values."""
    moments = recorder.moments
    timeline = sorted([*moments, *_bursts(recorder)], key=lambda moment: moment.at)
    serving = [period for node in scenario.nodes or ("",) for period in served_periods(node, moments)]
    out = {name: ejected_periods(name, scenario.nodes, moments) for name in _names(config, scenario)}
    of_servers = [_with_reaction_times(each, out[each.name], serving) for each in _server_incidents(scenario)]
    of_nodes = [_with_absence(each, serving, scenario.detect) for each in _node_incidents(scenario)]
    servers = list(_servers(recorder, out))
    nodes = [NodeOutcome(name, recorder.took[name], _share(recorder.took, name)) for name in scenario.nodes]
    waits = sorted(wait for part in recorder.slices for wait in part.waits)
    tops = (quantile(waits, 0.5), quantile(waits, 0.99), waits[-1]) if waits else (math.inf,) * 3
    statistics = dict(_statistics(recorder, servers, of_servers, tops))
    statistics |= _node_statistics(recorder, nodes)
    return RehearsalOutcome(servers, nodes, [*of_nodes, *of_servers], tops, out, timeline, statistics)


def quantile(ordered: list[float], part: float) -> float:
    """Return the smallest value that this share of the values does not exceed; 0 without values."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0


def _names(config: Config, scenario: Scenario) -> Iterator[str]:
    """Yield the names of all servers of all configurations."""
    configs = [config, *(reload.config for reload in scenario.reloads)]
    pools = (pool for each in configs for pool in each.pools.values())
    return iter(dict.fromkeys(f"{pool.name}/{server.name}" for pool in pools for server in pool.servers))


def _bursts(recorder: Recorder) -> Iterator[Moment]:
    for burst in recorder.bursts:
        sessions = "1 session" if burst.count == 1 else f"{burst.count:,} sessions"
        period = f" within {burst.last - burst.first:.3g} s" if burst.last > burst.first else ""
        reason = "" if burst.end == "left" else f": {burst.reason.replace('_', ' ')}"
        text = f"{sessions} of {burst.listener} {ENDED[burst.end]}{period}{reason}"
        yield Moment(burst.first, "sessions", text)


def _server_incidents(scenario: Scenario) -> list[Incident]:
    """Return the incidents of servers, without the reaction times."""
    return _incidents((name, each) for each in scenario.fault_specs for name in each.servers)


def _node_incidents(scenario: Scenario) -> list[Incident]:
    """Return the incidents of balancers, without the reaction times."""
    incidents = _incidents((name, each) for each in scenario.node_fault_specs for name in each.nodes)
    return [attrs.evolve(incident, of_node=True) for incident in incidents]


def _incidents(faults: Iterable[tuple[str, FaultSpec | NodeFaultSpec]]) -> list[Incident]:
    """Return the incidents of faults, each with the name that it hits: a fault ends when the next one of it begins."""
    by_name: dict[str, list[FaultSpec | NodeFaultSpec]] = {}
    for name, fault_spec in sorted(faults, key=lambda fault: fault[1].at):
        by_name.setdefault(name, []).append(fault_spec)
    found = []
    for name, specs in by_name.items():
        ends = [*(each.at for each in specs[1:]), math.inf]
        for fault_spec, next_at in zip(specs, ends, strict=True):
            if fault_spec.does == "recover":
                continue
            ended_at = fault_spec.at if fault_spec.does == "join" else min(fault_spec.at + fault_spec.lasts, next_at)
            found.append(Incident(name, fault_spec.does, fault_spec.at, ended_at, math.inf, math.inf))
    return sorted(found, key=lambda incident: incident.at)


def _with_reaction_times(incident: Incident, out: Sequence[Period], serving: Sequence[Period]) -> Incident:
    at, ended_at = incident.at, incident.ended_at
    ejected = math.inf if incident.does == "join" else ejected_after(at, ended_at, out, serving)
    return attrs.evolve(incident, ejected_after=ejected, restored_after=restored_after(ended_at, out, serving))


def _with_absence(incident: Incident, serving: Sequence[Period], detect: float) -> Incident:
    """Add the times of the network: until it avoided the balancer, and until it had it back."""
    back = min(
        (life.start for life in serving if life.node == incident.name and life.start >= incident.at), default=math.inf
    )
    return attrs.evolve(
        incident,
        ejected_after=detect if incident.does == "vanish" else 0.0,
        restored_after=back - incident.ended_at if incident.ended_at <= back < math.inf else math.inf,
    )


def _share(counts: Counter[str], name: str) -> float:
    """Return the part of a count, in percent."""
    return 100 * counts[name] / (counts.total() or 1)


def _servers(recorder: Recorder, out: dict[str, list[Period]]) -> Iterator[ServerOutcome]:
    pools: Counter[str] = Counter()
    for name, count in recorder.served.items():
        pools[name.partition("/")[0]] += count
    for name, times in out.items():
        count, total = recorder.served[name], pools[name.partition("/")[0]]
        yield ServerOutcome(name, count, 100 * count / total if total else 0.0, len(times))


def _statistics(
    recorder: Recorder, servers: list[ServerOutcome], incidents: list[Incident], waits: tuple[float, float, float]
) -> Iterator[tuple[str, float]]:
    yield "sessions", recorder.arrived
    yield from ((end, recorder.ends[end]) for end in ("ok", "failed", "cut", "left"))
    yield "open", recorder.open
    yield "stalled", recorder.stalled
    yield "moved", recorder.moved
    yield "retries", recorder.retries
    yield "ejections", sum(server.ejections for server in servers)
    yield "faults", recorder.faults
    yield from zip(("wait.p50", "wait.p99", "wait.max"), waits, strict=True)
    for server in servers:
        yield f"sessions.{server.name}", server.sessions
        yield f"share.{server.name}", server.share
        yield f"ejections.{server.name}", server.ejections
    yield from _worst("time_to_eject", [(each.name, each.ejected_after) for each in incidents if each.does != "join"])
    ended = [(each.name, each.restored_after) for each in incidents if not math.isinf(each.ended_at)]
    yield from _worst("time_to_restore", ended)


def _node_statistics(recorder: Recorder, nodes: Sequence[NodeOutcome]) -> dict[str, float]:
    """Return the figures that there are with several balancers only."""
    if not nodes:
        return {}
    return {"misplaced": recorder.misplaced, **{f"sessions.{node.name}": node.sessions for node in nodes}}


def _worst(name: str, times: list[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Yield the maximum over all incidents, and per server."""
    if times:
        yield name, max(time for _, time in times)
    for server in dict.fromkeys(server for server, _ in times):
        yield f"{name}.{server}", max(time for name, time in times if name == server)
