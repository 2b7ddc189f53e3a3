"""The disk of a zone: objects in files, found by their digests. Several processes may share the directory.

Nothing here waits for a disk in the loop's thread. What fails is counted, and said once in the log; then responses
pass through, and it is tried again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import attrs
import trio

from lb.cache.disk_changes import DiskChanges
from lb.cache.disk_files import DamagedError, DiskFiles, Freed
from lb.cache.disk_reservation import Reservation
from lb.cache.disk_room import DiskRoom
from lb.cache.disk_state import DiskAttached, DiskError, DiskState, Eviction
from lb.cache.disk_walk import DiskWalk, walk_all
from lb.cache.disk_writer import Writer
from lb.cache.nameless_files import NamelessFiles
from lb.cache.object_file import ObjectInfo, ObjectLayout, charge
from lb.cache.open_object import ObjectFile
from lb.cache.shared_cells import SHARDS, SharedCells
from lb.events import CacheScanned, Sink
from lb.model import CacheSpec
from lb.net.descriptors import Descriptors
from lb.net.file_calls import FileCalls, FileLoop
from lb.net.threads import Threads

__all__ = ["SMALL_OBJECT", "DiskStore"]

SMALL_OBJECT = 64 * 1024
"""Maximum bytes of a body that is written as a whole."""
READERS, WRITERS = 8, 4
"""Threads."""
DISK_TIMEOUT = 10.0
"""Seconds until a disk that does not answer counts as a failed one."""
MAX_OPENING = 4096
"""Maximum objects that are being opened."""
RETRY_DIRECTORY = 2.0
"""Seconds until a directory that failed is tried again."""
UPKEEP_EVERY = 1.0
MAX_REST = 60.0
"""Seconds between two walks for objects that nobody uses, at most."""
WALK_SHARE = 0.01
"""The part of a CPU that these walks may take."""
SCAN_SHARE = 0.5
"""The part of the time that the count at the start may take."""
RECOUNTS = 3
"""Counts at the start, if objects are removed meanwhile."""
EARLY, COUNT_IN = 5.0, 1.0
"""Seconds in which what is to be stored waits at the start: for the directory, and then for the count."""
JOIN_WITHIN = 1.0
"""Seconds that look-ups wait at the start for the directory. It takes milliseconds, unless the disk hangs."""
MAX_EARLY = 256
"""Maximum objects that wait for it."""
JOIN_TRIES, JOIN_PAUSE = 100, 0.05
"""While others join at the same moment."""

_Found: TypeAlias = tuple[int, ObjectInfo, bytes | None]
"""Descriptor, what the file says about itself, the body if it is short."""


def _ignore(_: bool) -> None:
    """Nobody waits."""


@attrs.frozen(eq=False)
class _Early:
    """What is to be stored once the files are counted."""

    digest: bytes
    key: bytes
    tags: tuple[bytes, ...]
    store: Callable[[], object]
    drop: Callable[[], None]
    """It is not stored."""


class DiskStore:
    """The disk of one zone, for one process. ``clock``: seconds that never jump, the same for all processes."""

    def __init__(
        self,
        spec: CacheSpec,
        loop: FileLoop,
        descriptors: Descriptors,
        emit: Sink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._emit = emit
        self.fault = partial(loop.fault, f"cache {spec.name}")
        """Reports a bug."""
        self._state = DiskState(spec, emit, clock, loop.fault)
        self._descriptors = descriptors
        name = f"cache {spec.name}"
        self._reading = FileCalls(loop, descriptors, Threads(READERS, DISK_TIMEOUT), name)
        self._writing = FileCalls(loop, descriptors, Threads(WRITERS), name)
        self._room = DiskRoom(self._state, self._writing)
        self._changes = DiskChanges(self._state, self._room, self._writing)
        self._nameless = NamelessFiles(self._state)
        self._opening = 0
        self._rest_until = 0.0
        self._early: list[_Early] | None = []
        """What waits for the count at the start; None once that has ended, or takes too long."""
        self._looking: list[Callable[[], None]] | None = []
        """Look-ups that wait for the directory at the start; None once that has ended, or takes too long."""

    def configure(self, spec: CacheSpec) -> None:
        """Apply other limits. The directory is the same."""
        self._spec = self._state.spec = spec
        self._room.limit_changed()

    # Figures

    @property
    def objects(self) -> int:
        attached = self._state.attached
        return attached.cells.objects if attached is not None else 0

    @property
    def size(self) -> int:
        """The bytes on disk, files under way as if they were written, and what is charged for directories."""
        attached = self._state.attached
        return attached.cells.size if attached is not None else 0

    @property
    def evictions(self) -> Mapping[Eviction, int]:
        """Objects that this process removed, by why."""
        return self._state.evictions

    @property
    def errors(self) -> Mapping[DiskError, int]:
        return self._state.errors

    @property
    def is_storing(self) -> bool:
        """Whether objects are stored now."""
        return self._state.storing is not None

    def count_removed(self) -> None:
        """Count the files that were removed, but are in use here, so that others make room for them."""
        if self._nameless.count():
            self._room.limit_changed()

    # Objects

    def may_have(self, digest: bytes) -> bool:
        """Return False if there surely is no such object."""
        attached = self._state.attached
        if digest in self._changes.removing:
            return False
        if digest in self._changes.storing or any(each.digest == digest for each in self._early or ()):
            return True  # a purge must remove it, once it is written
        if attached is None:
            return self._looking is not None
        return not attached.cells.counted or bool(attached.cells.table[attached.cells.cell(digest)])

    def touch(self, digest: bytes) -> None:
        """Note that an object is used."""
        if self._state.attached is not None:
            self._state.attached.cells.touch(digest, self._state.clock())

    def open(self, digest: bytes, done: Callable[[ObjectFile | None], None]) -> None:
        """Pass an object to ``done``, who releases it, now or later; None if it cannot be had."""
        attached = self._state.attached
        if attached is None and self._looking is not None and len(self._looking) < MAX_OPENING:
            self._looking.append(partial(self.open, digest, done))
            return
        full = self._opening >= MAX_OPENING or not self._descriptors.has(1)
        if attached is None or full or digest in self._changes.removing:
            done(None)
            return
        self._opening += 1
        self._descriptors.take(1)
        if attached.files.can_tell:
            result = _open_at_once(attached.files, digest)
            if not isinstance(result, BlockingIOError):
                self._opened(digest, done, result)
                return
        self._reading.call(partial(attached.files.open_with_body, digest), partial(self._opened, digest, done), _close)

    def _opened(
        self,
        digest: bytes,
        done: Callable[[ObjectFile | None], None],
        result: _Found | OSError | None,
    ) -> None:
        self._opening -= 1
        if not isinstance(result, tuple):
            self._descriptors.give(1)
            if isinstance(result, OSError):
                self._unreadable(digest, result)
            done(None)
            return
        fd, info, body = result
        file = ObjectFile(
            self._reading,
            fd,
            digest=digest,
            key=info.key,
            tags=info.tags,
            head=info.head,
            body_at=info.body_at,
            length=info.length,
            body=body,
            closed=self._nameless.closed,
        )
        self._nameless.opened(file)
        if digest in self._changes.removing:
            file.release()
            done(None)
            return
        self.touch(digest)
        done(file)

    def _unreadable(self, digest: bytes, error: OSError) -> None:
        self._state.read_failed(error)
        if isinstance(error, DamagedError) and error.damage == "corrupt":
            self._changes.remove(digest, _ignore, is_purge=False)

    def store(
        self,
        digest: bytes,
        head: bytes,
        body: bytes,
        key: bytes = b"",
        tags: tuple[bytes, ...] = (),
        done: Callable[[bool], None] = _ignore,
    ) -> bool:
        """Write a whole object of at most SMALL_OBJECT bytes soon; ``done`` gets whether it is stored.

        Return False if it is not, without a call of ``done``.
        """
        if self._is_early:
            again = partial(self._store_early, digest, head, body, key, tags, done)
            return self._wait_for_count(_Early(digest, key, tags, again, partial(done, False)))
        layout = ObjectLayout.of(digest, head, key, tags)
        if layout is None or len(body) > SMALL_OBJECT or self._state.storing is None:
            return False
        return self._changes.store(layout, body, done)

    def _store_early(
        self,
        digest: bytes,
        head: bytes,
        body: bytes,
        key: bytes,
        tags: tuple[bytes, ...],
        done: Callable[[bool], None],
    ) -> None:
        if not self.store(digest, head, body, key, tags, done):
            done(False)

    def create(
        self,
        digest: bytes,
        head: bytes,
        length: int | None,
        done: Callable[[Writer | None], None],
        key: bytes = b"",
        tags: tuple[bytes, ...] = (),
    ) -> None:
        """Create an object whose body has ``length`` bytes, if that is known. ``done(None)``: it is not stored."""
        if self._is_early:
            again = partial(self.create, digest, head, length, done, key, tags)
            if self._wait_for_count(_Early(digest, key, tags, again, partial(done, None))):
                return
        layout = ObjectLayout.of(digest, head, key, tags)
        attached = self._state.storing
        if layout is None or attached is None or not self._descriptors.has(1):
            done(None)
            return
        begin, whole = charge(layout.body_at), charge(layout.body_at + (length or 0))
        if not self._room.fits(whole):
            done(None)
            return
        reservation = Reservation(attached, digest)
        self._descriptors.take(1)
        create = partial(self._create, attached, layout, reservation, length, done)
        if self._room.reserve(reservation, whole) or self._room.reserve(reservation, begin):
            create(True)
        else:
            self._room.wait(reservation, begin, create)

    def _create(
        self,
        attached: DiskAttached,
        layout: ObjectLayout,
        reservation: Reservation,
        length: int | None,
        done: Callable[[Writer | None], None],
        room: bool,
    ) -> None:
        if not room:
            self._descriptors.give(1)
            done(None)
            return
        files = attached.files
        created = partial(self._created, files, layout, reservation, length, done)
        self._reading.call(partial(files.create, layout), created, partial(_discard, files))

    def _created(
        self,
        files: DiskFiles,
        layout: ObjectLayout,
        reservation: Reservation,
        length: int | None,
        done: Callable[[Writer | None], None],
        result: tuple[int, str] | OSError,
    ) -> None:
        if isinstance(result, OSError):
            self._descriptors.give(1)
            size = reservation.size
            reservation.drop()
            if self._state.write_failed(result):
                self._room.disk_is_full(size)
            done(None)
            return
        fd, temporary = result
        file = ObjectFile(
            self._reading,
            fd,
            digest=layout.digest,
            key=layout.key,
            tags=layout.tags,
            head=layout.head,
            body_at=layout.body_at,
            length=0,
            closed=self._nameless.closed,
        )
        self._nameless.opened(file)
        done(Writer(self._state, self._room, self._writing, files, layout, reservation, length, file, temporary))

    @property
    def _is_early(self) -> bool:
        return self._early is not None and self._state.storing is None

    def _wait_for_count(self, early: _Early) -> bool:
        """Store it when the files are counted, or that takes too long. False: too many wait."""
        if self._early is None or len(self._early) == MAX_EARLY:
            return False
        self._early.append(early)
        return True

    def _end_early(self) -> None:
        early, self._early = self._early, None
        for each in early or ():
            each.store()

    def _forget_early(self, matches: Callable[[_Early], bool]) -> None:
        """Do not store what waits for the count and was removed meanwhile."""
        early = self._early or []
        gone = [each for each in early if matches(each)]
        if gone:
            self._early = [each for each in early if each not in gone]
            for each in gone:
                each.drop()

    def _end_looking(self) -> None:
        """The directory is there, or cannot be had soon."""
        looking, self._looking = self._looking, None
        for look in looking or ():
            look()

    async def _end_looking_in(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._end_looking()

    async def _end_early_in(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._end_early()

    def remove(self, digest: bytes, done: Callable[[bool], None] = _ignore) -> bool:
        """Remove an object: from now on, this process does not find it. ``done`` gets whether there was one.

        Returns False if so many removals wait that this one is not done.
        """
        self._forget_early(lambda early: early.digest == digest)
        return self._changes.remove(digest, done, is_purge=True)

    def update_head(self, digest: bytes, previous: bytes, head: bytes, done: Callable[[bool], None] = _ignore) -> bool:
        """Replace the head of an object. ``done`` gets False if it has none, or no room for this one.

        Returns False if so many changes wait that this one is not done.
        """
        return self._changes.new_head(digest, previous, head, done)

    async def purge(self, matches: Callable[[bytes, tuple[bytes, ...]], bool]) -> int:
        """Remove all objects whose key and tags match; it is called in threads too. Return how many on disk did.

        A directory that cannot be read is counted as an error: what is in it is not found either.
        """
        self._forget_early(lambda early: matches(early.key, early.tags))
        await self._changes.forget(matches)
        attached = self._state.attached
        count = 0
        for shard in range(SHARDS) if attached is not None else ():
            assert attached is not None  # noqa: S101 - for the type checker
            subtract = attached.cells.removing()
            freed = Freed()
            try:
                freed = await self._writing.run(partial(attached.files.remove_matching, shard, matches))
            except OSError as error:
                self._state.read_failed(error)
            if subtract:
                attached.cells.removed(freed.size, freed.files)
            self._state.evictions["purge"] += freed.files
            count += freed.files
        return count

    # Upkeep

    async def run(self) -> None:
        """Join the others, count what is there, remove what nobody uses, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._room.run)
            nursery.start_soon(self._changes.run)
            nursery.start_soon(self._end_early_in, EARLY)
            nursery.start_soon(self._end_looking_in, JOIN_WITHIN)
            try:
                while True:
                    await self._state.guard(partial(self._keep, nursery))
                    self._end_looking()
                    self._end_early()
                    self._leave()
                    await trio.sleep(RETRY_DIRECTORY)
            finally:
                self._leave()

    async def _keep(self, nursery: trio.Nursery) -> None:
        """Use the directory until that fails. Raises OSError."""
        attached = self._state.attached = await self._join()
        self._state.enable()
        self._end_looking()
        if attached.cells.counted:
            self._end_early()
        nursery.start_soon(self._end_early_in, COUNT_IN)
        while True:
            try:
                await self._upkeep(attached)
            except FileNotFoundError:
                raise
            except OSError as error:
                self._state.disable(error)
            await trio.sleep(min(UPKEEP_EVERY, self._spec.inactive / 4) if self._state.writable else RETRY_DIRECTORY)

    async def _join(self) -> DiskAttached:
        for _ in range(JOIN_TRIES):
            try:
                return await self._writing.run(partial(_join, self._spec.path), _detach)
            except BlockingIOError:
                await trio.sleep(JOIN_PAUSE)
        raise TimeoutError("another process is joining, and does not go on")

    def _leave(self) -> None:
        attached, self._state.attached = self._state.attached, None
        if attached is not None:
            attached.cells.detach()
            self._room.forget()

    async def _upkeep(self, attached: DiskAttached) -> None:
        files, cells = attached.files, attached.cells
        await self._writing.run(files.check)
        while dead := cells.dead():
            await self._writing.run(partial(files.clear_temporary, dead))
            for column in dead:
                cells.free(column)
        if not self._state.writable:
            await self._writing.run(files.try_to_write)
            self._state.enable()
        if cells.leads():
            if not cells.counted:
                await self._count(attached)
            elif self._state.clock() >= self._rest_until:
                await self._remove_unused(attached)

    async def _count(self, attached: DiskAttached) -> None:
        """Count all files. Nothing is stored before."""
        began = trio.current_time()
        cells = attached.cells
        for _ in range(RECOUNTS):
            removals = cells.removals
            walk = self._walk(attached)
            await walk_all(self._writing, walk, measure=True, share=SCAN_SHARE)
            if cells.removals == removals:
                break
        cells.set_counted(walk.bytes, walk.objects)
        self._end_early()
        self._emit(CacheScanned(self._spec.name, walk.objects, walk.bytes, round(trio.current_time() - began, 3)))

    async def _remove_unused(self, attached: DiskAttached) -> None:
        walk = self._walk(attached)
        await walk_all(self._writing, walk, share=SCAN_SHARE)
        await self._room.remove_all(attached, walk.inactive, "inactive")
        rest = max(min(self._spec.inactive / 4, MAX_REST), walk.seconds / WALK_SHARE)
        self._rest_until = self._state.clock() + rest

    def _walk(self, attached: DiskAttached) -> DiskWalk:
        return DiskWalk(attached.files, attached.cells, self._state.clock(), self._spec.inactive, 0)


def _join(path: str) -> DiskAttached:
    DiskFiles.prepare(path)
    cells = SharedCells.attach(path)
    try:
        files = DiskFiles(path, cells.name, cells.column)
        files.clear_temporary([cells.column])
        files.try_to_write()
        return DiskAttached(files, cells, files.shards())
    except BaseException:
        cells.detach()
        raise


def _detach(attached: DiskAttached) -> None:
    attached.cells.detach()


def _open_at_once(files: DiskFiles, digest: bytes) -> _Found | OSError | None:
    """Open an object unless that has to wait. The error has no traceback: its frames would keep it, and it them."""
    try:
        return files.open_with_body(digest, wait=False)
    except OSError as error:
        return error.with_traceback(None)


def _close(opened: tuple[int, ObjectInfo, bytes | None] | None) -> None:
    if opened is not None:
        os.close(opened[0])


def _discard(files: DiskFiles, created: tuple[int, str]) -> None:
    os.close(created[0])
    files.discard(created[1])
