"""The result of a rehearsal as named figures. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import attrs

from lb.model import Config
from lb.tools.rehearse.recorder import VERBS, End, Moment, Recorder
from lb.tools.rehearse.scenario import Does, FaultSpec, Scenario

__all__ = ["Incident", "RehearsalOutcome", "ServerOutcome", "outcome", "quantile"]

ENDED: Mapping[End, str] = {"failed": "failed", "cut": "cut", "left": "abandoned by their clients"}


@attrs.frozen
class Incident:
    """A fault of a server, and the time until the balancer reacted, in seconds."""

    server: str
    does: Does
    at: float
    ended_at: float
    """Time of the recovery; ``math.inf`` if never."""
    ejected_after: float
    """Seconds from its beginning; 0 if the server was ejected already, ``math.inf`` if it never was."""
    restored_after: float
    """Seconds from its end; 0 if the server was not ejected then, ``math.inf`` if it was never restored."""

    def __str__(self) -> str:
        return f"{self.server} {VERBS[self.does]}"


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
class RehearsalOutcome:
    """The result of a rehearsal."""

    servers: list[ServerOutcome]
    incidents: list[Incident]
    waits: tuple[float, float, float]
    """Seconds until a client had its server: median, 99th percentile, maximum; ``math.inf`` if no client had one."""
    out: dict[str, list[tuple[float, float]]]
    """Periods in which each server was ejected."""
    timeline: list[Moment]
    statistics: dict[str, float]
    """Figures by the names that expectations use. Times are in seconds, shares in percent."""


def outcome(config: Config, scenario: Scenario, recorder: Recorder) -> RehearsalOutcome:
    """Compute the result. Without counts it has the same names, with meaningless values."""
    timeline = sorted([*recorder.moments, *_bursts(recorder)], key=lambda moment: moment.at)
    out = {name: list(_ejected_periods(name, recorder.moments)) for name in _names(config, scenario)}
    unjudged = sorted(_incidents(scenario.fault_specs), key=lambda incident: incident.at)
    incidents = [_with_reaction_times(each, out[each.server]) for each in unjudged]
    servers = list(_servers(recorder, out))
    waits = sorted(wait for part in recorder.slices for wait in part.waits)
    tops = (quantile(waits, 0.5), quantile(waits, 0.99), waits[-1]) if waits else (math.inf,) * 3
    statistics = dict(_statistics(recorder, servers, incidents, tops))
    return RehearsalOutcome(servers, incidents, tops, out, timeline, statistics)


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


def _ejected_periods(name: str, moments: Iterable[Moment]) -> Iterator[tuple[float, float]]:
    """Yield the periods in which the server was ejected."""
    since: float | None = None
    for moment in moments:
        if moment.server == name and moment.kind == "ejected":
            since = moment.at
        elif moment.server == name and moment.kind == "restored" and since is not None:
            yield since, moment.at
            since = None
    if since is not None:
        yield since, math.inf


def _incidents(fault_specs: Iterable[FaultSpec]) -> Iterator[Incident]:
    """Yield the incidents without the reaction times."""
    by_server: dict[str, list[FaultSpec]] = {}
    for fault_spec in sorted(fault_specs, key=lambda each: each.at):
        for name in fault_spec.servers:
            by_server.setdefault(name, []).append(fault_spec)
    for name, specs in by_server.items():
        ends = [*(each.at for each in specs[1:]), math.inf]
        for fault_spec, next_at in zip(specs, ends, strict=True):
            if fault_spec.does == "recover":
                continue
            ended_at = fault_spec.at if fault_spec.does == "join" else min(fault_spec.at + fault_spec.lasts, next_at)
            yield Incident(name, fault_spec.does, fault_spec.at, ended_at, math.inf, math.inf)


def _with_reaction_times(incident: Incident, out: list[tuple[float, float]]) -> Incident:
    ejected = min((max(0.0, start - incident.at) for start, end in out if end > incident.at), default=math.inf)
    if incident.at + ejected > incident.ended_at or incident.does == "join":
        ejected = math.inf
    restored = next((end - incident.ended_at for start, end in out if start <= incident.ended_at < end), 0.0)
    if math.isinf(incident.ended_at):
        restored = math.inf
    return attrs.evolve(incident, ejected_after=ejected, restored_after=restored)


def _servers(recorder: Recorder, out: dict[str, list[tuple[float, float]]]) -> Iterator[ServerOutcome]:
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
    yield from _worst("time_to_eject", [(each.server, each.ejected_after) for each in incidents if each.does != "join"])
    ended = [(each.server, each.restored_after) for each in incidents if not math.isinf(each.ended_at)]
    yield from _worst("time_to_restore", ended)


def _worst(name: str, times: list[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Yield the maximum over all incidents, and per server."""
    if times:
        yield name, max(time for _, time in times)
    for server in dict.fromkeys(server for server, _ in times):
        yield f"{name}.{server}", max(time for name, time in times if name == server)
