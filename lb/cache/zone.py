"""A zone of the cache: the stored responses, those on their way, and what is remembered of requests."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from typing import Literal, Protocol, TypeAlias, TypeVar, get_args
from weakref import finalize

import attrs
import trio

from lb.cache.cache_key import CachedRequest, KeyTemplate
from lb.cache.content import BodyWriter, Content
from lb.cache.disk_state import DiskError, Eviction
from lb.cache.disk_store import DiskStore
from lb.cache.entry import (
    CacheEntry,
    Mark,
    SliceAt,
    digest_of,
    identity,
    packed_entry,
    packed_mark,
    slice_identity,
    unpacked,
)
from lb.cache.freshness import Freshness
from lb.cache.memory_file import MemoryFile
from lb.cache.memory_store import MemoryStore
from lb.cache.open_object import ObjectFile
from lb.cache.purge_match import MARK_TAG, PurgeMatch, purge_match
from lb.cache.vary import variant_key
from lb.model import CacheSpec
from lb.model.cache_figures import MOST_TOP_OBJECTS, CacheFigures, CacheTier
from lb.model.purge import Purge, Purged, StoredResponse
from lb.model.request import HeaderFields
from lb.model.top_keys import TopKeys
from lb.net.cooperate import in_turns
from lb.net.descriptors import Descriptors

__all__ = ["CacheResult", "CacheZone", "Filling"]

_K = TypeVar("_K")
T = TypeVar("T")

CacheResult: TypeAlias = Literal["HIT", "MISS", "EXPIRED", "STALE", "UPDATING", "REVALIDATED", "BYPASS"]
"""What the cache did for a request, in nginx's words."""

PASSED_FOR = 10.0
"""Seconds in which requests do not wait for each other, after a response that could not be stored."""
MOST_KEYS = 65_536
"""Maximum keys of each table of what is remembered of requests."""
MOST_TEMPLATES = 1024
"""Maximum templates of keys, those of earlier configurations too."""
REMOVAL_TIMEOUT = 1.0
"""Seconds that a purge waits until the disk has removed a file. No process finds it any more."""
MOST_OPEN = 256
"""Maximum files of long responses that are kept open, so that a hit need not open them."""


class Filling(Protocol):
    """A response on its way into the zone."""

    @property
    def key(self) -> bytes: ...

    def forget(self) -> None:
        """Its response must not be stored: what it stands for has changed."""

    def purge(self, matches: PurgeMatch) -> None:
        """Its response must not be stored if it matches. Its key is known, its tags may not be."""


class OnOpened(Protocol):
    """Gets what a file holds: an entry, or a mark, which is remembered; or neither."""

    def __call__(self, entry: CacheEntry | None, *, is_mark: bool) -> None: ...


@attrs.define
class _Opening:
    """A file of the disk on its way: who waits for it, and what was purged meanwhile."""

    waiting: list[OnOpened]
    purges: list[PurgeMatch] = attrs.field(factory=list)


class CacheZone:
    """One zone, in one process, with ``memory`` bytes of it. ``clock()`` returns seconds since 1970."""

    generation = 0
    """Of what is stored: a purge makes another one."""
    fill_count = 0
    """Fills since the start."""
    _purged_before = 0.0
    """As ``since`` of a mark, for all keys whose marks were forgotten."""

    def __init__(
        self,
        spec: CacheSpec,
        memory: int,
        disk: DiskStore | None = None,
        clock: Callable[[], float] = time.time,
        *,
        descriptors: Descriptors,
    ) -> None:
        self.spec = spec
        self.clock = clock
        self._descriptors = descriptors
        self.evictions: Counter[Eviction] = Counter()
        """Entries that left the memory, by why, of a zone without a disk."""
        self.memory = MemoryStore(memory, _drop if disk is not None else partial(_evict, self.evictions))
        self.disk = disk
        self.fills: dict[bytes, Filling] = {}
        """The fills that requests may join, by identity."""
        self.coming: set[Filling] = set()
        """All fills."""
        self.results: Counter[CacheResult] = Counter()
        """Requests by what the cache did."""
        self.top = TopKeys()
        """Requests by key."""
        self._templates: OrderedDict[str, KeyTemplate] = OrderedDict()
        self._marks: OrderedDict[bytes, Mark] = OrderedDict()
        self._uses: OrderedDict[int, int] = OrderedDict()
        """By a hash of the key: keys may be long, and nothing is served by what is here."""
        self._passed: OrderedDict[int, float] = OrderedDict()
        """By a hash, too."""
        self._opening: dict[bytes, _Opening] = {}
        self._writing: dict[bytes, CacheEntry] = {}
        """Entries that are on their way to the disk: until they are there, nothing else has them for sure."""
        self._left_out: set[bytes] = set()
        """Digests of entries that must not be found, though their files are about to get their names."""
        self._open: OrderedDict[bytes, CacheEntry] = OrderedDict()
        """Long responses on disk whose files are open."""
        finalize(self, _drop_all, self.memory, self._open).atexit = False

    def configure(self, spec: CacheSpec, memory: int) -> None:
        """Apply other limits."""
        self.spec = spec
        self.memory.limit = memory
        self.memory.shrink()
        if self.disk is not None:
            self.disk.configure(spec)

    # Names

    def names_of(self, key: bytes) -> tuple[bytes, ...]:
        """Return the fields of requests that the responses of a key depend on, in lower case, as far as is known."""
        mark = self._marks.get(key)
        return () if mark is None else mark.names

    def identity(self, key: bytes, request: CachedRequest) -> bytes:
        """Return what names the response to this request, as far as is known."""
        mark = self._marks.get(key)
        return key if mark is None or not mark.names else identity(key, variant_key(mark.names, request))

    def identities(self, key: bytes, request: CachedRequest, slice_at: SliceAt | None) -> list[bytes]:
        """Return what names the whole response, and the slice that begins at ``slice_at``."""
        whole = self.identity(key, request)
        return [whole] if slice_at is None else [whole, slice_identity(whole, slice_at)]

    # Look-ups. See also :mod:`lb.cache.find_stored`

    def find(self, identified: bytes) -> CacheEntry | None:
        """Return an entry whose body is in memory, or in a file that is open."""
        entry = self.memory.find(identified) or self._open.get(identified) or self._writing.get(identified)
        if entry is None:
            return None
        if not self._is_current(entry):
            self.remove(identified)
            return None
        if _is_removed(entry):
            self._forget(identified)
            return None
        entry.last_used = self.clock()
        if self.disk is not None:
            self.disk.touch(entry.digest)
        return entry

    def _is_current(self, entry: CacheEntry) -> bool:
        """Return False if the entry was purged with all responses of its key."""
        mark = self._marks.get(entry.key)
        if mark is not None:
            return entry.freshness.responded_at >= mark.since
        is_alone = not entry.variant and entry.part is None
        return is_alone or entry.freshness.responded_at >= self._purged_before

    def may_open(self, identified: bytes) -> bool:
        """Return False if the response is surely not on disk, or must not be found there."""
        if self.disk is None:
            return False
        digest = digest_of(identified)
        return digest not in self._left_out and self.disk.may_have(digest)

    def open(self, digest: bytes, opened: OnOpened) -> None:
        """Open a file of the disk, and pass on what it holds."""
        opening = self._opening.get(digest)
        if opening is not None:
            opening.waiting.append(opened)
            return
        assert self.disk is not None  # noqa: S101 - see may_open
        self._opening[digest] = _Opening([opened])
        self.disk.open(digest, lambda file: self._opened(digest, file))

    def _opened(self, digest: bytes, file: ObjectFile | None) -> None:
        opening = self._opening.pop(digest)
        found = self._read(file, opening.purges)
        entry = found if isinstance(found, CacheEntry) else None
        if isinstance(found, tuple):
            self._note_mark(*found)
        for opened in opening.waiting:
            try:
                opened(entry, is_mark=isinstance(found, tuple))
            except Exception as exception:  # noqa: BLE001 - a bug in one request must not reach another
                assert self.disk is not None  # noqa: S101 - it has opened the file
                self.disk.fault(exception)

    def _note_mark(self, key: bytes, mark: Mark) -> None:
        """Remember a mark that is on disk. A purge may be newer than it."""
        known = self._marks.get(key)
        _remember(self._marks, key, mark if known is None else Mark(mark.names, max(mark.since, known.since)))

    def _read(self, file: ObjectFile | None, purges: list[PurgeMatch]) -> CacheEntry | tuple[bytes, Mark] | None:
        """Return what a file holds, unless it is purged. A short body is read, a long one stays in its file."""
        if file is None:
            return None
        body = file.body if file.body is not None else Content.in_whole_file(file, file.length)
        found: CacheEntry | tuple[bytes, Mark] | None
        try:
            found = unpacked(file.head, body) if _length(body) == file.length else None
        except ValueError:
            found = None
        if isinstance(body, bytes) or not isinstance(found, CacheEntry):
            file.release()
        if isinstance(found, CacheEntry):
            if not self._is_current(found) or any(matches(found.key, found.tags) for matches in purges):
                _drop(found)
                return None
            newer = self.find(found.identity)
            if newer is not None:  # stored while the file was read
                _drop(found)
                return newer
            self.keep(found)
        return found

    def is_wanted_often(self, key: bytes, min_uses: int) -> bool:
        """Count a request for what is not stored. Return True if there were enough."""
        if min_uses <= 1:
            return True
        uses = self._uses.get(hash(key), 0) + 1
        _remember(self._uses, hash(key), uses)
        return uses >= min_uses

    def passes(self, identified: bytes, *, for_one: bool = False) -> bool:
        """Return True if the response could not be stored lately: requests need not wait for each other.

        ``for_one``: that to a request whose response is probably for its client only.
        """
        passed = hash((identified, for_one))
        until = self._passed.get(passed)
        if until is None:
            return False
        if self.clock() < until <= self.clock() + PASSED_FOR:
            return True
        del self._passed[passed]
        return False

    def pass_on(self, identified: bytes, *, for_one: bool = False) -> None:
        """The response could not be stored."""
        _remember(self._passed, hash((identified, for_one)), self.clock() + PASSED_FOR)

    # Entries

    def mark(self, key: bytes, names: tuple[bytes, ...], *, sliced: bool) -> None:
        """Note under which names responses are stored: told apart by these fields of requests, or in slices."""
        mark = self._marks.get(key)
        if mark is None and not names and not sliced:
            return
        if mark is None or mark.names != names:
            self._set_mark(key, Mark(names, self._purged_before if mark is None else mark.since))

    def _set_mark(self, key: bytes, mark: Mark) -> None:
        self._marks[key] = mark
        self._marks.move_to_end(key)
        if len(self._marks) > MOST_KEYS:
            _, forgotten = self._marks.popitem(last=False)
            if self.disk is None:
                self._purged_before = max(self._purged_before, forgotten.since)
        if self.disk is not None:
            self.disk.store(digest_of(key), packed_mark(key, mark), b"", key, (MARK_TAG,))

    @property
    def longest(self) -> int:
        """Bytes of the longest body that may be stored."""
        return self.memory.limit // 2 if self.disk is None else self.spec.max_size

    def create_writer(self, entry: CacheEntry, length: int | None, done: Callable[[BodyWriter | None], None]) -> None:
        """Make what writes a long body, and pass it on, now or later; None if there is no room."""
        if self.disk is not None:
            self.disk.create(entry.digest, packed_entry(entry), length, done, key=entry.key, tags=entry.tags)
            return
        done(self._create_memory_file() if (length or 0) <= self.longest else None)

    def _create_memory_file(self) -> MemoryFile | None:
        if not self._descriptors.has(1):
            return None
        try:
            return MemoryFile(self.memory, self._descriptors)
        except OSError:
            return None

    def store(self, entry: CacheEntry) -> bool:
        """Keep an entry whose body is complete. Return False if there is no room for it."""
        entry.last_used = self.clock()
        self._passed.pop(hash((entry.identity, False)), None)
        stored = self.keep(entry)
        return (self.disk is not None and self._write(entry, self.disk)) or stored

    def _write(self, entry: CacheEntry, disk: DiskStore) -> bool:
        """Write an entry whose body is short to the disk. Until it is there, it is found all the same."""
        assert isinstance(entry.body, bytes)  # noqa: S101 - it is short
        written = partial(self._written, entry)
        self._writing[entry.identity] = entry
        if disk.store(entry.digest, packed_entry(entry), entry.body, entry.key, entry.tags, written):
            return True
        self._written(entry, False)
        return False

    def _written(self, entry: CacheEntry, _stored: bool) -> None:
        if self._writing.get(entry.identity) is entry:
            del self._writing[entry.identity]

    def keep(self, entry: CacheEntry) -> bool:
        """Keep an entry in memory, or its file open."""
        identified = entry.identity
        self._forget(identified)
        if self.disk is None or isinstance(entry.body, bytes):
            return self.memory.put(entry)
        self._open[identified] = entry
        if len(self._open) > MOST_OPEN:
            _drop(self._open.popitem(last=False)[1])
        return True

    def refresh(self, entry: CacheEntry, fields: HeaderFields, freshness: Freshness) -> None:
        """The server has confirmed an entry: its freshness and fields are new."""
        previous = b"" if self.disk is None else packed_entry(entry)
        entry.fields, entry.freshness, entry.last_used = fields, freshness, self.clock()
        if self.disk is None:
            return
        if isinstance(entry.body, bytes):
            self._writing[entry.identity] = entry
        elif entry.identity not in self._open and not entry.removed:
            self.keep(entry)
        written = partial(self._written, entry)
        if not self.disk.update_head(entry.digest, previous, packed_entry(entry), written):
            self._written(entry, False)

    def leave_out(self, entry: CacheEntry) -> None:
        """An entry must not be stored, but its file may be about to get its name: see :meth:`take_back`."""
        self._left_out.add(entry.digest)

    def take_back(self, entry: CacheEntry, *, is_written: bool) -> None:
        """An entry must not be stored, or its file could not be. ``is_written``: the disk has it."""
        if is_written:
            self.remove(entry.identity)
        elif self._open.get(entry.identity) is entry:
            self._forget(entry.identity)
        self._left_out.discard(entry.digest)

    def remove(self, identified: bytes) -> bool:
        """Remove an entry. Return True if it was in memory, or open."""
        if self.disk is not None:
            digest = digest_of(identified)
            if self.disk.may_have(digest):
                self.disk.remove(digest)
            if digest in self._opening:
                self._opening[digest].purges.append(lambda _key, _tags: True)
        return self._forget(identified)

    def _forget(self, identified: bytes) -> bool:
        """Forget what is in memory of an entry, or open. Return True if there was something."""
        places = self.memory.remove(identified), self._open.pop(identified, None), self._writing.pop(identified, None)
        entries = {id(entry): entry for entry in places if entry is not None}
        for entry in entries.values():
            _drop(entry)
        return bool(entries)

    def remove_inactive(self) -> None:
        """Forget the entries in memory that nobody has asked for in the time that the configuration gives."""
        oldest = self.clock() - self.spec.inactive
        gone = []
        for entry in self.memory:
            if entry.last_used > oldest:
                break
            gone.append(entry)
        for entry in gone:
            self.memory.remove(entry.identity)
            _drop(entry)
            if self.disk is None:
                self.evictions["inactive"] += 1

    def close_removed(self) -> None:
        """Close the files that were removed from the disk: only then is their room free. Those in use are counted."""
        for entry in [*self._open.values()]:
            if _is_removed(entry):
                self._forget(entry.identity)
        if self.disk is not None:
            self.disk.count_removed()

    # Purges

    def template(self, text: str) -> KeyTemplate:
        """Return the template of a route's keys, and remember it: a purge by URL finds its keys."""
        template = KeyTemplate(text)
        _remember(self._templates, text, template, MOST_TEMPLATES)
        return template

    def purge_keys(self, keys: Iterable[bytes]) -> frozenset[bytes]:
        """Forget all responses in memory with these keys, and what is on its way. Return what tells them apart.

        Quick: it looks at nothing else. Where there is a disk, :meth:`purge` is needed.
        """
        wanted = tuple(keys)
        self._forget_coming(purge_match(Purge.of_keys(wanted), ()))
        now = self.clock()
        found: list[CacheEntry] = []
        for key in wanted:
            mark = self._marks.get(key)
            if mark is not None:
                self._set_mark(key, Mark(mark.names, now))
            found += self.memory.of_key(key)
        found += [entry for entry in (*self._open.values(), *self._writing.values()) if entry.key in wanted]
        return frozenset(_short(entry.digest) for entry in found if self._forget_purged(entry))

    async def purge(self, what: Purge) -> Purged:
        """Forget whatever matches, in turns with the traffic. This process does not find it any more."""
        if what.kind == "key":
            known = self.purge_keys(what.texts)
            for key in what.texts:
                if await self._purge_on_disk(key):
                    known |= {_short(digest_of(key))}
            return Purged(known)
        matches = purge_match(what, self._templates.values())
        self._forget_coming(matches)
        found: set[bytes] = set()
        others = [*self._open.values(), *self._writing.values()]
        async for entry in in_turns(chain(self.memory.entries(), others)):
            if matches(entry.key, entry.tags) and self._forget_purged(entry):
                found.add(_short(entry.digest))
        return Purged(frozenset(found), await self.disk.purge(matches) if self.disk is not None else 0)

    async def _purge_on_disk(self, key: bytes) -> bool:
        """Remove the file of a key; if it is a mark, the responses under its names are no longer current.

        Return True if there was one.
        """
        disk, digest = self.disk, digest_of(key)
        if disk is None or not disk.may_have(digest):
            return False
        mark = self._marks.get(key) or await self._mark_on_disk(key)
        if mark is not None:
            self._set_mark(key, Mark(mark.names, self.clock()))
            return True
        was_there = False
        removed = trio.Event()

        def done(found: bool) -> None:
            nonlocal was_there
            was_there = found
            removed.set()

        while not disk.remove(digest, done):  # noqa: ASYNC110 - the disk does not tell when fewer wait
            await trio.sleep(REMOVAL_TIMEOUT)
        with trio.move_on_after(REMOVAL_TIMEOUT):
            await removed.wait()
        return was_there or not removed.is_set()

    async def _mark_on_disk(self, key: bytes) -> Mark | None:
        """Return the mark of a key that only the disk may know."""
        read = trio.Event()
        self.open(digest_of(key), lambda _entry, *, is_mark: read.set())  # noqa: ARG005 - a mark is remembered
        await read.wait()
        self._forget(key)
        return self._marks.get(key)

    def _forget_coming(self, matches: PurgeMatch) -> None:
        """What is on its way, from a server or from the disk, must not be kept if it matches."""
        self.generation += 1
        for fill in [*self.coming]:
            fill.purge(matches)
        for opening in self._opening.values():
            opening.purges.append(matches)

    def _forget_purged(self, entry: CacheEntry) -> bool:
        """Forget an entry in memory that was purged. Return False if it is there no more."""
        if not self._forget(entry.identity):
            return False
        if self.disk is None:
            self.evictions["purge"] += 1
        return True

    # What operators see

    def figures(self) -> CacheFigures:
        """Return what it has done and holds."""
        disk = self.disk
        evictions = self.evictions if disk is None else disk.evictions
        return CacheFigures(
            CacheTier(len(self.memory), self.memory.used, self.memory.limit),
            None if disk is None else CacheTier(disk.objects, disk.size, self.spec.max_size),
            requests={result: self.results[result] for result in get_args(CacheResult)},
            fills=self.fill_count,
            fills_under_way=len(self.coming),
            evictions={why: evictions.get(why, 0) for why in get_args(Eviction)},
            errors={} if disk is None else {kind: disk.errors[kind] for kind in get_args(DiskError)},
            top={_key_text(key): count for key, count in self.top.largest(MOST_TOP_OBJECTS).items()},
        )

    async def stored(self, key: bytes) -> list[StoredResponse]:
        """Return the responses with this key: one, or its variants and slices, as far as they are in memory."""
        if not self._in_memory(key) and self.may_open(key):
            read = trio.Event()
            self.open(digest_of(key), lambda _entry, *, is_mark: read.set())  # noqa: ARG005 - it is kept
            await read.wait()
        now = self.clock()
        return [
            StoredResponse(
                _short(each.digest), each.status, each.length, each.freshness.age(now), each.freshness.time_left(now)
            )
            for each in self._in_memory(key)
        ]

    def _in_memory(self, key: bytes) -> list[CacheEntry]:
        """Return the entries with this key that are in memory, or whose files are open."""
        others = (entry for entry in (*self._open.values(), *self._writing.values()) if entry.key == key)
        found = {entry.identity: entry for entry in (*self.memory.of_key(key), *others)}
        return list(found.values())


def _short(digest: bytes) -> bytes:
    """Return enough of a digest to count with."""
    return digest[:8]


def _length(body: bytes | Content) -> int:
    return len(body) if isinstance(body, bytes) else body.size


def _drop(entry: CacheEntry) -> None:
    entry.removed = True
    entry.prepared = None
    if isinstance(entry.body, Content):
        entry.body.drop()


def _evict(evictions: Counter[Eviction], entry: CacheEntry) -> None:
    evictions["size"] += 1
    _drop(entry)


def _drop_all(memory: MemoryStore, opened: Mapping[bytes, CacheEntry]) -> None:
    """The zone is used no more: let go of its files. Nothing here knows the zone, so it ends with its last user."""
    for entry in (*memory.entries(), *opened.values()):
        _drop(entry)


def _is_removed(entry: CacheEntry) -> bool:
    return isinstance(entry.body, Content) and entry.body.is_removed


def _key_text(key: bytes) -> str:
    """Return a key as people read it: what separates its values is a space."""
    return key.decode(errors="backslashreplace").replace("\n", " ")


def _remember(table: OrderedDict[_K, T], key: _K, value: T, most: int = MOST_KEYS) -> None:
    """Enter a value as the newest one; the oldest goes if there are too many."""
    table[key] = value
    table.move_to_end(key)
    if len(table) > most:
        table.popitem(last=False)
