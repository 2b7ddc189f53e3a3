"""The slices of one response, for a client that asked for ranges of it: those in the cache, and those to fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lb.cache.entry import Entry, slice_identity
from lb.cache.policy import Reuse, reuse
from lb.cache.stored_fields import is_same
from lb.events import RequestReason
from lb.http.cache_fill import Fill
from lb.http.carrier import ExchangeToServe
from lb.http.server_connection import ServerConnection
from lb.http.sliced_part import SlicedPart
from lb.http.upstream_request import UpstreamRequest
from lb.model.request import HeaderFields

if TYPE_CHECKING:
    from lb.http.cache_target import CacheTarget

__all__ = ["Slices"]


class Slices:
    """Implements :class:`lb.http.sliced_part.SliceSource`. ``first`` is the slice that the response begins with.

    All slices must be of the state that the first one is of: the client would get a mixture otherwise.
    """

    def __init__(self, target: CacheTarget, exchange: ExchangeToServe, first: Entry) -> None:
        self._target = target
        self._exchange = exchange
        self._first = first
        self._waiting: dict[SlicedPart, _SliceReader] = {}

    def part(self, offset: int, length: int) -> SlicedPart:
        """Return a range of the whole body."""
        part = self._first.part
        assert part is not None  # noqa: S101 - it is a slice
        holds = part.offset <= offset < part.offset + part.slice_size
        return SlicedPart(self, part.slice_size, offset, length, self._first if holds else None)

    def find(self, offset: int, part: SlicedPart) -> None:
        target, zone, head = self._target, self._target.zone, self._exchange.head
        size = target.rules.slice
        identified = slice_identity(zone.identity(self._first.key, head), offset, size)
        entry = zone.find(identified)
        if entry is not None and reuse(target.rules, entry.freshness, head, zone.clock()) is not Reuse.REVALIDATE:
            self.take(entry, part)
            return
        reader = self._waiting[part] = _SliceReader(self, part)
        fill = zone.fills.get(identified)
        if not isinstance(fill, Fill) or fill.content.passes:
            fill = Fill(target, self._exchange, self._first.key, entry, offset)
            zone.fills.setdefault(identified, fill)
            fill.join(reader)
            reader.fill = fill
            fill.start()
        else:
            reader.fill = fill
            fill.join(reader)

    def take(self, entry: Entry, part: SlicedPart) -> None:
        """A slice is there, or comes. It is of no use if the response has changed since."""
        self._waiting.pop(part, None)
        first = self._first
        same = entry.part is not None and first.part is not None and entry.part.total == first.part.total
        if same and is_same(first.fields, entry.fields):
            part.found(entry)
            return
        self._target.zone.remove(first.identity)
        part.fail()

    def fail(self, part: SlicedPart) -> None:
        """A slice cannot be had."""
        self._waiting.pop(part, None)
        part.fail()

    def leave(self, part: SlicedPart) -> None:
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

    def filled(self, fill: Fill, entry: Entry) -> None:  # noqa: ARG002 - the entry says all
        self._slices.take(entry, self._part)

    def confirmed(self, entry: Entry) -> None:
        self._slices.take(entry, self._part)

    def stale(self, entry: Entry) -> None:
        self._slices.take(entry, self._part)

    def released(self) -> None:
        self._slices.fail(self._part)

    def take(self, upstream: UpstreamRequest, server: ServerConnection) -> UpstreamRequest | None:  # noqa: ARG002
        """The response has begun: no other can follow it."""
        return None

    def fill_failed(self, status: int, reason: RequestReason, fields: HeaderFields) -> None:  # noqa: ARG002
        self._slices.fail(self._part)
