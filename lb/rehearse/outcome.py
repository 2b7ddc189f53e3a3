"""What came of a rehearsal, in figures with names. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import attrs

from lb.model import Config
from lb.rehearse.scenario import Does, Happening, Scenario
from lb.rehearse.tally import VERBS, End, Moment, Tally

__all__ = ["Incident", "Outcome", "ServerOutcome", "outcome", "quantile"]

ENDED: Mapping[End, str] = {"failed": "failed", "cut": "cut", "left": "given up by their clients"}


@attrs.frozen
class Incident:
    """Something that befell a server, and how long the balancer took to act upon it, in seconds."""

    server: str
    does: Does
    at: float
    ended_at: float
    """When the server was well again; ``math.inf`` if never."""
    ejected_after: float
    """From its beginning; 0 if the server was out already, ``math.inf`` if the balancer never ejected it."""
    restored_after: float
    """From its end; 0 if the server was not out then, ``math.inf`` if the balancer never restored it."""

    def __str__(self) -> str:
        return f"{self.server} {VERBS[self.does]}"


@attrs.frozen
class ServerOutcome:
    name: str
    """As ``pool/server``."""
    sessions: int
    share: float
    """Of the sessions of its pool, percent."""
    ejections: int


@attrs.frozen
class Outcome:
    servers: list[ServerOutcome]
    incidents: list[Incident]
    waits: tuple[float, float, float]
    """Seconds until a client had its server: of half of all clients at most the first, of 99 % the second, of all the
    third; ``math.inf`` if none ever had one."""
    out: dict[str, list[tuple[float, float]]]
    """From when to when the balancer kept each server out."""
    timeline: list[Moment]
    statistics: dict[str, float]
    """By name, as expectations have them. Times are seconds, shares percent."""


def outcome(config: Config, scenario: Scenario, tally: Tally) -> Outcome:
    """Of what was counted; of nothing, the same names with no meaning."""
    timeline = sorted([*tally.moments, *_spells(tally)], key=lambda moment: moment.at)
    out = {name: list(_times_out(name, tally.moments)) for name in _names(config, scenario)}
    bare = sorted(_incidents(scenario.happenings), key=lambda incident: incident.at)
    incidents = [_judged(each, out[each.server]) for each in bare]
    servers = list(_servers(tally, out))
    waits = sorted(wait for part in tally.slices for wait in part.waits)
    tops = (quantile(waits, 0.5), quantile(waits, 0.99), waits[-1]) if waits else (math.inf,) * 3
    statistics = dict(_statistics(tally, servers, incidents, tops))
    return Outcome(servers, incidents, tops, out, timeline, statistics)


def quantile(ordered: list[float], part: float) -> float:
    """The least value that this part of them does not exceed; 0 of none."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0


def _names(config: Config, scenario: Scenario) -> Iterator[str]:
    """Of all servers that there are at any time."""
    configs = [config, *(reload.config for reload in scenario.reloads)]
    pools = (pool for each in configs for pool in each.pools.values())
    return iter(dict.fromkeys(f"{pool.name}/{server.name}" for pool in pools for server in pool.servers))


def _spells(tally: Tally) -> Iterator[Moment]:
    for spell in tally.spells:
        sessions = "1 session" if spell.count == 1 else f"{spell.count:,} sessions"
        lasting = f" within {spell.last - spell.first:.3g} s" if spell.last > spell.first else ""
        reason = "" if spell.end == "left" else f": {spell.reason.replace('_', ' ')}"
        text = f"{sessions} of {spell.listener} {ENDED[spell.end]}{lasting}{reason}"
        yield Moment(spell.first, "sessions", text)


def _times_out(name: str, moments: Iterable[Moment]) -> Iterator[tuple[float, float]]:
    """From when to when the balancer kept the server out."""
    since: float | None = None
    for moment in moments:
        if moment.server == name and moment.kind == "ejected":
            since = moment.at
        elif moment.server == name and moment.kind == "restored" and since is not None:
            yield since, moment.at
            since = None
    if since is not None:
        yield since, math.inf


def _incidents(happenings: Iterable[Happening]) -> Iterator[Incident]:
    """Not judged yet."""
    by_server: dict[str, list[Happening]] = {}
    for happening in sorted(happenings, key=lambda each: each.at):
        for name in happening.servers:
            by_server.setdefault(name, []).append(happening)
    for name, those in by_server.items():
        ends = [*(each.at for each in those[1:]), math.inf]
        for happening, next_at in zip(those, ends, strict=True):
            if happening.does == "recover":
                continue
            ended_at = happening.at if happening.does == "join" else min(happening.at + happening.lasts, next_at)
            yield Incident(name, happening.does, happening.at, ended_at, math.inf, math.inf)


def _judged(bare: Incident, out: list[tuple[float, float]]) -> Incident:
    ejected = min((max(0.0, start - bare.at) for start, end in out if end > bare.at), default=math.inf)
    if bare.at + ejected > bare.ended_at or bare.does == "join":
        ejected = math.inf
    restored = next((end - bare.ended_at for start, end in out if start <= bare.ended_at < end), 0.0)
    if math.isinf(bare.ended_at):
        restored = math.inf
    return attrs.evolve(bare, ejected_after=ejected, restored_after=restored)


def _servers(tally: Tally, out: dict[str, list[tuple[float, float]]]) -> Iterator[ServerOutcome]:
    pools: Counter[str] = Counter()
    for name, count in tally.served.items():
        pools[name.partition("/")[0]] += count
    for name, times in out.items():
        count, total = tally.served[name], pools[name.partition("/")[0]]
        yield ServerOutcome(name, count, 100 * count / total if total else 0.0, len(times))


def _statistics(
    tally: Tally, servers: list[ServerOutcome], incidents: list[Incident], waits: tuple[float, float, float]
) -> Iterator[tuple[str, float]]:
    yield "sessions", tally.arrived
    yield from ((end, tally.ends[end]) for end in ("ok", "failed", "cut", "left"))
    yield "open", tally.open
    yield "moved", tally.moved
    yield "retries", tally.retries
    yield "ejections", sum(server.ejections for server in servers)
    yield "faults", tally.faults
    yield from zip(("wait.p50", "wait.p99", "wait.max"), waits, strict=True)
    for server in servers:
        yield f"sessions.{server.name}", server.sessions
        yield f"share.{server.name}", server.share
        yield f"ejections.{server.name}", server.ejections
    yield from _worst("time_to_eject", [(each.server, each.ejected_after) for each in incidents if each.does != "join"])
    ended = [(each.server, each.restored_after) for each in incidents if not math.isinf(each.ended_at)]
    yield from _worst("time_to_restore", ended)


def _worst(name: str, times: list[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Of all incidents, and of each server's."""
    if times:
        yield name, max(time for _, time in times)
    for server in dict.fromkeys(server for server, _ in times):
        yield f"{name}.{server}", max(time for name, time in times if name == server)
