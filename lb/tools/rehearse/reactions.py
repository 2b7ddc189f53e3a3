"""When each balancer had taken a server out, and when each balancer served. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import attrs

from lb.tools.rehearse.recorder import Moment

__all__ = ["Period", "ejected_after", "ejected_periods", "restored_after", "served_periods"]


@attrs.frozen
class Period:
    """A period of time of one balancer. ``end`` is ``math.inf`` if it lasts to the end of the rehearsal."""

    start: float
    end: float
    node: str = ""
    """The balancer, if there are several."""
    cut_off: bool = False
    """It ended because the balancer went."""


def ejected_periods(server: str, nodes: Sequence[str], moments: Iterable[Moment]) -> list[Period]:
    """Return the periods in which balancers had ejected a server."""
    since: dict[str, float] = {}
    periods = []
    for moment in moments:
        if moment.node not in since:
            if moment.server == server and moment.kind == "ejected":
                since[moment.node] = moment.at
        elif _goes(moment) or (moment.server == server and moment.kind == "restored"):
            start = since.pop(moment.node)
            periods.append(Period(start, moment.at, moment.node, cut_off=_goes(moment)))
    periods += [Period(start, math.inf, node) for node, start in since.items()]
    return sorted(periods, key=lambda period: (period.start, nodes.index(period.node) if period.node else 0))


def served_periods(node: str, moments: Iterable[Moment]) -> Iterator[Period]:
    """Yield the periods in which a balancer served."""
    since: float | None = 0.0
    for moment in moments:
        if moment.node != node or moment.server:
            continue
        if _goes(moment) and since is not None:
            yield Period(since, moment.at, node)
            since = None
        elif moment.kind == "restored" and since is None:
            since = moment.at
    if since is not None:
        yield Period(since, math.inf, node)


def _goes(moment: Moment) -> bool:
    """Return whether a balancer goes."""
    return bool(moment.node) and not moment.server and moment.does in ("die", "vanish")


def ejected_after(at: float, ended_at: float, ejected: Iterable[Period], serving: Iterable[Period]) -> float:
    """Return the seconds from a fault until the last balancer had ejected the server; ``math.inf`` if one never did.

    A balancer counts that served when the fault began, and until it ended or the server was ejected.
    """
    by_node = _by_node(ejected)
    times = []
    for life in serving:
        after = min(
            (max(0.0, each.start - at) for each in by_node.get(life.node, ()) if each.end > at), default=math.inf
        )
        if at + after > ended_at:
            after = math.inf
        if life.start <= at < life.end and min(ended_at, at + after) <= life.end:
            times.append(after)
    return max(times, default=math.inf)


def restored_after(ended_at: float, ejected: Iterable[Period], serving: Iterable[Period]) -> float:
    """Return the seconds from the end of a fault until the last balancer had restored the server.

    0 if it was not ejected then; ``math.inf`` if the fault or the ejection never ended.
    """
    if math.isinf(ended_at):
        return math.inf
    alive = {life.node for life in serving if life.start <= ended_at < life.end}
    waits = [
        each.end - ended_at
        for each in ejected
        if each.node in alive and each.start <= ended_at < each.end and not each.cut_off
    ]
    return max(waits, default=0.0)


def _by_node(periods: Iterable[Period]) -> dict[str, list[Period]]:
    found: dict[str, list[Period]] = {}
    for period in periods:
        found.setdefault(period.node, []).append(period)
    return found
