"""The slices of one response, for a client that asked for ranges of it: those in the cache, and those to fetch."""

from __future__ import annotations

from functools import partial

from lb.cache.entry import CacheEntry, SliceAt
from lb.cache.find_stored import find_stored
from lb.cache.policy import Reuse, reuse
from lb.cache.stored_fields import is_same
from lb.events import RequestReason
from lb.http.cache_fill import Fill
from lb.http.cached_route import CachedRoute
from lb.http.carrier import ExchangeToServe
from lb.http.server_carrier import ServerCarrier
from lb.http.sliced_part import SlicedPart
from lb.http.upstream_request import UpstreamRequest
from lb.http1.response_head import ResponseHead
from lb.model.request import HeaderFields

__all__ = ["Slices"]


class Slices:
    """Implements :class:`lb.http.sliced_part.SliceSource`. ``first`` is the slice that the response begins with.

    All slices must be of the state that the first one is of: the client would get a mixture otherwise.
    """

    def __init__(self, cached: CachedRoute, exchange: ExchangeToServe, first: CacheEntry) -> None:
        self._cached = cached
        self._exchange = exchange
        self._first = first
        self._looking: set[SlicedPart] = set()
        """Parts whose next slice is looked up."""
        self._waiting: dict[SlicedPart, _SliceReader] = {}
        """Parts whose next slice is fetched."""

    def part(self, offset: int, length: int) -> SlicedPart:
        """Return a range of the whole body."""
        part = self._first.part
        assert part is not None  # noqa: S101 - it is a slice
        holds = part.offset <= offset < part.offset + part.slice_size
        return SlicedPart(self, part.slice_size, offset, length, self._first if holds else None)

    def find(self, offset: int, part: SlicedPart) -> None:
        assert self._first.part is not None  # noqa: S101 - it is a slice
        at = SliceAt(offset, self._first.part.slice_size)
        self._looking.add(part)
        found = partial(self._looked_up, at, part)
        find_stored(self._cached.zone, self._first.key, self._exchange.head, at, found)

    def _looked_up(self, at: SliceAt, part: SlicedPart, entry: CacheEntry | None) -> None:
        if part not in self._looking:
            return
        self._looking.discard(part)
        cached, zone = self._cached, self._cached.zone
        if entry is None or reuse(cached.rules, entry.freshness, self._exchange.head, zone.clock()) is Reuse.REVALIDATE:
            self._fetch(at, part, entry)
        else:
            self.take(entry, part)

    def _fetch(self, at: SliceAt, part: SlicedPart, stale: CacheEntry | None) -> None:
        """Join the fill of a slice that is under way, or begin one."""
        cached, zone, key = self._cached, self._cached.zone, self._first.key
        identified = zone.identities(key, self._exchange.head, at)[-1]
        reader = self._waiting[part] = _SliceReader(self, part)
        fill = zone.fills.get(identified)
        if isinstance(fill, Fill) and fill.is_shared:
            reader.fill = fill
            fill.join(reader)
            return
        reader.fill = fill = Fill(cached, self._exchange, key, stale, at)
        fill.join(reader)
        fill.start()

    def take(self, entry: CacheEntry, part: SlicedPart) -> None:
        """A slice is there, or comes, or even the whole. It is of no use if the response has changed since."""
        self._waiting.pop(part, None)
        first = self._first
        if _total(entry) == _total(first) and is_same(first.fields, entry.fields):
            part.found(entry)
        else:
            zone = self._cached.zone
            fill = zone.fills.get(first.identity)
            if fill is not None:
                fill.forget()
            zone.remove(first.identity)
            part.fail()

    def fail(self, part: SlicedPart) -> None:
        """A slice cannot be had."""
        self._waiting.pop(part, None)
        part.fail()

    def leave(self, part: SlicedPart) -> None:
        self._looking.discard(part)
        reader = self._waiting.pop(part, None)
        if reader is not None and reader.fill is not None:
            reader.fill.leave(reader)


class _SliceReader:
    """Waits for one slice. Implements :class:`lb.http.cache_fill.FillReader`."""

    fill: Fill | None = None

    def __init__(self, slices: Slices, part: SlicedPart) -> None:
        self.head = slices._exchange.head  # noqa: SLF001 - the same module
        self._slices = slices
        self._part = part

    def interim(self, head: ResponseHead) -> None:
        """The response has begun: it is too late."""

    def filled(self, fill: Fill, entry: CacheEntry) -> None:  # noqa: ARG002 - the entry says all
        self._slices.take(entry, self._part)

    def confirmed(self, entry: CacheEntry) -> None:
        self._slices.take(entry, self._part)

    def stale(self, entry: CacheEntry) -> None:
        self._slices.take(entry, self._part)

    def released(self) -> None:
        self._slices.fail(self._part)

    def take(self, upstream: UpstreamRequest, server: ServerCarrier) -> UpstreamRequest | None:  # noqa: ARG002
        """The response has begun: no other can follow it."""
        return None

    def fill_failed(self, status: int, reason: RequestReason, fields: HeaderFields) -> None:  # noqa: ARG002
        self._slices.fail(self._part)


def _total(entry: CacheEntry) -> int | None:
    """Return the bytes of the whole body."""
    return entry.length if entry.part is None else entry.part.total
