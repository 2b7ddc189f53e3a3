"""The parts of the overview beside its list of pools: each has at most so many entries, and says how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import attrs

from lb.admin.caches import caches_of
from lb.admin.overview_list import OverviewList
from lb.admin.playback import stream_urls
from lb.admin.process import Process
from lb.admin.recent_requests import RecentRequests, http_listeners
from lb.admin.status import ended, forward_document, listener_document, requests_by_listener
from lb.admin.streams import streams_of
from lb.admin.surveyor import Survey
from lb.control.balancer import Balancer
from lb.dataplane.forwarded import Forwarded
from lb.model import ForwardSettings
from lb.model.cache_figures import CacheFigures

__all__ = ["cards"]

LISTENERS_SHOWN = 20
REQUESTS_SHOWN = 10
"""Listeners whose requests are shown."""
PROXIES_SHOWN = 10
TARGETS_SHOWN = 5
"""Targets of each forward proxy, reached and not."""
CACHES_SHOWN = 20
KEYS_SHOWN = 5
"""Keys of each cache."""
STREAMS_SHOWN = 50
NODES_SHOWN = 50
EVENTS_SHOWN = 20


async def cards(
    process: Process, survey: Survey, recent: RecentRequests, found: OverviewList, words: Sequence[str], host: str
) -> dict[str, object]:
    """Return what the overview has beside its list. Of too many entries, those with the most traffic.

    ``words`` are those of the search, by which listeners are found, too.
    """
    balancer, stats = process.balancer, survey.stats
    return {
        "listeners": _listeners(balancer, survey, found, words),
        "requests": await _requests(balancer, survey, recent),
        "forward": _forward(balancer, survey),
        "caches": _caches(balancer, survey, recent),
        "streams": _streams(balancer, survey, host),
        "media": dict(survey.media.answered),
        "cluster": _cluster(process),
        "ended": await ended(stats.figures),
        "events": [entry.fields for entry in process.feed.last(EVENTS_SHOWN)],
    }


def _card(count: int, shown: Mapping[str, object]) -> dict[str, object]:
    return {"count": count, "shown": shown}


def _busiest(names: Sequence[str], most: int, traffic: Callable[[str], int]) -> Sequence[str]:
    """Return at most so many names, those with the most traffic; all of them in their order if there are no more."""
    return names if len(names) <= most else sorted(names, key=traffic, reverse=True)[:most]


def _listeners(balancer: Balancer, survey: Survey, found: OverviewList, words: Sequence[str]) -> dict[str, object]:
    """Return the listeners that the search finds, and those of the pools that it finds."""
    listed = {sums.pool.name for sums, _ in found.rows}

    def matches(name: str) -> bool:
        pools = balancer.config.listeners[name].settings.pools
        text = "\n".join([name, *balancer.bound_of(name), *pools]).lower()
        return all(word in text for word in words) or not listed.isdisjoint(pools)

    names = [name for name in balancer.bound if not words or matches(name)]
    shown = _busiest(names, LISTENERS_SHOWN, balancer.data_plane.active)
    return _card(len(names), {name: listener_document(balancer, survey.stats, name) for name in shown})


async def _requests(balancer: Balancer, survey: Survey, recent: RecentRequests) -> dict[str, object]:
    counts: Counter[str] = Counter()
    for (name, _), each in survey.stats.figures.requests.items():
        counts[name] += each.total
    names = http_listeners(balancer)
    shown = _busiest(names, REQUESTS_SHOWN, counts.__getitem__)
    return _card(len(names), dict(await requests_by_listener(shown, survey.stats, recent)))


def _forward(balancer: Balancer, survey: Survey) -> dict[str, object]:
    forwarded = survey.stats.figures.forwarded
    names = [name for name, spec in balancer.config.listeners.items() if isinstance(spec.settings, ForwardSettings)]
    shown = _busiest(names, PROXIES_SHOWN, balancer.data_plane.active)
    return _card(
        len(names), {name: forward_document(forwarded.get(name, Forwarded()), TARGETS_SHOWN) for name in shown}
    )


def _caches(balancer: Balancer, survey: Survey, recent: RecentRequests) -> dict[str, object]:
    specs, figures = balancer.config.caches, survey.stats.caches

    def requests(name: str) -> int:
        return sum(figures.get(name, CacheFigures()).requests.values())

    shown = _busiest(list(specs), CACHES_SHOWN, requests)
    documents = caches_of({name: specs[name] for name in shown}, survey.stats, recent.oldest_caches, KEYS_SHOWN)
    return _card(len(specs), documents)


def _streams(balancer: Balancer, survey: Survey, host: str) -> dict[str, object]:
    """Return the streams; those with a publisher come first."""
    media = attrs.evolve(survey.media, streams=dict(islice(survey.media.streams.items(), STREAMS_SHOWN)))
    shown = streams_of(balancer.config.media, survey.stats, media)
    apps = {name.partition("/")[0] for name in shown}
    urls = {app: url for app, url in stream_urls(balancer, host).items() if app in apps} if apps else {}
    return {**_card(len(survey.media.streams), shown), "urls": urls}


def _cluster(process: Process) -> dict[str, object] | None:
    status = process.cluster.status()
    if status is None:
        return None
    nodes = status["nodes"]
    return {**status, "nodes": dict(islice(nodes.items(), NODES_SHOWN)), "count": len(nodes)}
