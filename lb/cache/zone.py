"""A zone of the cache: the stored responses, those on their way, and what is remembered of requests."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Literal, Protocol, TypeAlias, TypeVar

from lb.cache.cache_key import CachedRequest
from lb.cache.content import IN_MEMORY, Content
from lb.cache.entry import Entry, identity
from lb.cache.memory_file import MemoryFile
from lb.cache.memory_store import MemoryStore
from lb.cache.vary import variant_key
from lb.model.cache import CacheSpec

__all__ = ["CacheResult", "CacheZone", "Filling"]

T = TypeVar("T")

CacheResult: TypeAlias = Literal["HIT", "MISS", "EXPIRED", "STALE", "UPDATING", "REVALIDATED", "BYPASS"]
"""What the cache did for a request, in nginx's words."""

PASSED_FOR = 10.0
"""Seconds in which requests do not wait for each other, after a response that could not be stored."""
MOST_REMEMBERED = 65_536
"""Maximum keys of each table of what is remembered of requests."""


class Filling(Protocol):
    """A response on its way into the zone."""

    @property
    def key(self) -> bytes: ...

    def forget(self) -> None:
        """Its response must not be stored: what it stands for has changed."""


class CacheZone:
    """One zone, in one process, with ``memory`` bytes of it. ``clock()`` returns seconds since 1970."""

    def __init__(self, spec: CacheSpec, memory: int, clock: Callable[[], float] = time.time) -> None:
        self.spec = spec
        self.clock = clock
        self.memory = MemoryStore(memory, self._evicted)
        self.fills: dict[bytes, Filling] = {}
        """The fills that requests may join, by identity."""
        self.results: Counter[CacheResult] = Counter()
        """Requests by what the cache did."""
        self.fill_count = 0
        """Fills since the start."""
        self.evictions: Counter[str] = Counter()
        """Entries that left the memory, by why: ``size``, ``inactive``, ``purge``."""
        self._vary: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        """The names of the request's fields that Vary names, by key. Keys without Vary are not here."""
        self._uses: OrderedDict[bytes, int] = OrderedDict()
        self._passed: OrderedDict[bytes, float] = OrderedDict()

    def configure(self, spec: CacheSpec, memory: int) -> None:
        """Apply other limits."""
        self.spec = spec
        self.memory.limit = memory
        self.memory.shrink()

    # Look-ups

    def identity(self, key: bytes, request: CachedRequest) -> bytes:
        """Return what names the response to this request, as far as is known."""
        vary = self._vary.get(key)
        return key if vary is None else identity(key, variant_key(vary, request))

    def find(self, identified: bytes) -> Entry | None:
        """Return an entry in memory."""
        entry = self.memory.find(identified)
        if entry is not None:
            entry.last_used = self.clock()
        return entry

    def is_wanted_often(self, key: bytes, min_uses: int) -> bool:
        """Count a request for what is not stored. Return True if there were enough."""
        if min_uses <= 1:
            return True
        uses = self._uses.get(key, 0) + 1
        _remember(self._uses, key, uses)
        return uses >= min_uses

    def passes(self, identified: bytes) -> bool:
        """Return True if the response could not be stored lately: requests need not wait for each other."""
        until = self._passed.get(identified)
        if until is None:
            return False
        if self.clock() < until <= self.clock() + PASSED_FOR:
            return True
        del self._passed[identified]
        return False

    def pass_on(self, identified: bytes) -> None:
        """The response could not be stored."""
        _remember(self._passed, identified, self.clock() + PASSED_FOR)

    # Entries

    def vary_by(self, key: bytes, names: tuple[bytes, ...]) -> None:
        """Tell the variants of a key apart by these fields of requests."""
        if names:
            _remember(self._vary, key, names)
        else:
            self._vary.pop(key, None)

    def new_file(self, length: int | None) -> MemoryFile | None:
        """Return a file for a long body; None if there is no room. ``length``: None = not known."""
        if (length or IN_MEMORY) > self.memory.limit // 2:
            return None
        try:
            return MemoryFile(self.memory)
        except OSError:
            return None

    def store(self, entry: Entry) -> bool:
        """Keep an entry. Return False if there is no room for it."""
        entry.last_used = self.clock()
        self._passed.pop(entry.identity, None)
        previous = self.memory.remove(entry.identity)
        if previous is not None:
            _drop(previous)
        return self.memory.put(entry)

    def refreshed(self, entry: Entry) -> None:
        """The server has confirmed an entry: its freshness and fields are new."""
        entry.last_used = self.clock()

    def _evicted(self, entry: Entry) -> None:
        self.evictions["size"] += 1
        _drop(entry)

    def remove(self, identified: bytes) -> bool:
        """Forget an entry. Return True if it was there."""
        entry = self.memory.remove(identified)
        if entry is None:
            return False
        _drop(entry)
        return True

    def remove_inactive(self) -> None:
        """Forget the entries that nobody has asked for in the time that the configuration gives."""
        oldest = self.clock() - self.spec.inactive
        gone = []
        for entry in self.memory:
            if entry.last_used > oldest:
                break
            gone.append(entry)
        self._remove_all(gone, "inactive")

    def purge(self, matches: Callable[[bytes, tuple[bytes, ...]], bool]) -> int:
        """Forget all entries whose key and tags match, and what is on its way. Return how many there were."""
        for fill in [fill for fill in self.fills.values() if matches(fill.key, ())]:
            fill.forget()
        return self._remove_all([entry for entry in self.memory if matches(entry.key, entry.tags)], "purge")

    def _remove_all(self, entries: Iterable[Entry], why: str) -> int:
        count = 0
        for entry in entries:
            count += self.remove(entry.identity)
        self.evictions[why] += count
        return count


def _drop(entry: Entry) -> None:
    entry.removed = True
    if isinstance(entry.body, Content):
        entry.body.drop()


def _remember(table: OrderedDict[bytes, T], key: bytes, value: T) -> None:
    """Enter a value as the newest one; the oldest goes if there are too many."""
    table[key] = value
    table.move_to_end(key)
    if len(table) > MOST_REMEMBERED:
        table.popitem(last=False)
