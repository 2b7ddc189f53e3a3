"""The list of the overview: which pools or servers a query finds, in which order, and which of them are on its page.

What is found is listed as servers, by pool, if all of it fits on one page or is in one pool; else as pools.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from lb.admin.overview_query import OverviewQuery
from lb.admin.pool_sums import SERVERS_A_STEP, WORST_FIRST, PoolSums
from lb.pools.backend import Backend

__all__ = ["ROWS_A_PAGE", "OverviewList", "found_by"]

ROWS_A_PAGE = 50
"""Servers or pools on a page."""
Leased: TypeAlias = Mapping[tuple[str, str], int]
"""Acquired leases by pool and server."""
Found: TypeAlias = tuple[PoolSums, Sequence[Backend]]
"""A pool, and those of its servers that were found."""
SortKey: TypeAlias = "float | str | tuple[tuple[int, int], int]"

POOL_ORDERS: Mapping[str, Callable[[PoolSums], SortKey]] = {
    "state": lambda sums: (sums.rank, -len(sums.not_up)),
    "name": lambda sums: sums.pool.name.lower(),
    "servers": lambda sums: len(sums.pool.backends),
    "available": lambda sums: sums.available,
    "active": lambda sums: sums.active,
    "total": lambda sums: sums.total,
    "rate": lambda sums: sums.per_second or 0.0,
    "failed": lambda sums: sums.failed_connects,
}
"""What pools can be sorted by."""
SERVER_ORDERS: Mapping[str, Callable[[Backend], SortKey]] = {
    "state": lambda backend: WORST_FIRST[backend.state],
    "name": lambda backend: backend.name.lower(),
    "active": lambda backend: backend.active,
    "failed": lambda backend: backend.failed_connects,
    "weight": lambda backend: backend.spec.effective_weight,
    "change": lambda backend: backend.since,
}
"""What servers can be sorted by, and by ``total``, which they do not know themselves."""


@attrs.frozen
class OverviewList:
    """One page of what was found."""

    of: Literal["pools", "servers"]
    sort: str
    """What it is sorted by, with a ``-`` before it if descending; empty: in the order of the configuration."""
    page: int
    pages: int
    pools: int
    """Pools that were found, on all pages."""
    servers: int
    """Servers that were found, on all pages."""
    rows: Sequence[Found]
    """The pools on this page, each with its servers on this page; a list of pools has none of servers."""


def found_by(
    pools: Mapping[str, PoolSums], leased: Leased, query: OverviewQuery
) -> Generator[None, None, OverviewList]:
    """Return what is found, in steps between which traffic may be served."""
    if query.pool is not None:
        pools = {query.pool: pools[query.pool]} if query.pool in pools else {}
    found: list[Found] = []
    for sums in pools.values():
        backends = yield from _matching(sums, query)
        if backends or _matches_without_servers(sums, query):
            found.append((sums, backends))
    count = sum(len(backends) for _, backends in found)
    if len(found) == 1 or (len(found) <= ROWS_A_PAGE and count <= ROWS_A_PAGE):
        return (yield from _of_servers(found, count, leased, query))
    return _of_pools(found, count, query)


def _matching(sums: PoolSums, query: OverviewQuery) -> Generator[None, None, list[Backend]]:
    backends = list(sums.not_up if query.trouble else sums.pool.backends.values())
    if not query.words:
        return backends
    found = []
    for number, backend in enumerate(backends):
        reason = "" if backend.health.serving else backend.health.reason
        text = f"{sums.pool.name}\n{backend.name}\n{backend.spec.address.text}\n{reason}".lower()
        if all(word in text for word in query.words):
            found.append(backend)
        if number % SERVERS_A_STEP == 0:
            yield
    return found


def _matches_without_servers(sums: PoolSums, query: OverviewQuery) -> bool:
    """Return whether a pool is found though none of its servers is."""
    if query.pool is not None:
        return True
    name = sums.pool.name.lower()
    return (sums.failing or not sums.pool.backends) and all(word in name for word in query.words)


def _of_servers(
    found: list[Found], count: int, leased: Leased, query: OverviewQuery
) -> Generator[None, None, OverviewList]:
    """List the servers of one pool, or of several that fit on one page together: the worst pools first."""
    sort, descending = _order(query, {*SERVER_ORDERS, "total"}, "state" if count > ROWS_A_PAGE else "")
    page, pages = _pages(query, count)
    rows: list[Found] = []
    for sums, backends in sorted(found, key=lambda entry: entry[0].rank):
        keyed: list[tuple[SortKey, Backend]] = []
        for number, backend in enumerate(backends):
            total = leased.get((sums.pool.name, backend.name), 0)
            keyed.append((_key(sort, backend, total), backend))
            if number % SERVERS_A_STEP == 0:
                yield
        keyed.sort(key=lambda entry: entry[0], reverse=descending)
        rows.append((sums, [backend for _, backend in keyed[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE]]))
    return OverviewList("servers", "-" * descending + sort, page, pages, len(found), count, rows)


def _key(sort: str, backend: Backend, total: int) -> SortKey:
    """Return the value of a server to sort by. Without one all are alike, and stay in their order."""
    if sort == "total":
        return total
    return SERVER_ORDERS[sort](backend) if sort else 0


def _of_pools(found: list[Found], count: int, query: OverviewQuery) -> OverviewList:
    sort, descending = _order(query, POOL_ORDERS, "state")
    page, pages = _pages(query, len(found))
    ordered = sorted((sums for sums, _ in found), key=POOL_ORDERS[sort], reverse=descending)
    rows = [(sums, ()) for sums in ordered[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE]]
    return OverviewList("pools", "-" * descending + sort, page, pages, len(found), count, rows)


def _order(query: OverviewQuery, keys: Collection[str], default: str) -> tuple[str, bool]:
    """Return what to sort by. What the list cannot be sorted by is not an error: a search may make it another list."""
    return (query.sort, query.descending) if query.sort in keys else (default, False)


def _pages(query: OverviewQuery, count: int) -> tuple[int, int]:
    """Return the number of the page, the last one if there are fewer, and how many there are."""
    pages = max(1, -(-count // ROWS_A_PAGE))
    return min(query.page, pages), pages
