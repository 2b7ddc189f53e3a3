"""Changes of stored objects that happen behind the requests: in order, several in one call of a thread."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import attrs
import trio

from lb.cache.disk_files import DiskFiles, Freed
from lb.cache.disk_reservation import Reservation
from lb.cache.disk_room import DiskRoom
from lb.cache.disk_state import DiskAttached, DiskState
from lb.cache.object_file import ObjectLayout, charge
from lb.net.file_calls import FileCalls

__all__ = ["DiskChanges"]

MAX_STORES = 4096
"""Maximum objects that wait to be written."""
MAX_STORE_BYTES = 16 << 20
MAX_CHANGES = 65536
"""Maximum removals and new heads that wait."""
MAX_CHANGES_A_CALL = 64
"""Maximum changes in one call."""
GATHER_STORES = 0.05
"""Seconds to wait for more objects: a call costs as much as writing two of them."""


@attrs.frozen(eq=False)
class _Store:
    layout: ObjectLayout
    body: bytes
    charged: int
    done: Callable[[bool], None]


@attrs.frozen(eq=False)
class _Removal:
    digest: bytes
    is_purge: bool
    done: Callable[[bool], None]


@attrs.frozen(eq=False)
class _NewHead:
    digest: bytes
    previous: bytes
    head: bytes
    done: Callable[[bool], None]


_Change: TypeAlias = _Store | _Removal | _NewHead
_Result: TypeAlias = tuple[Freed, bool] | Freed | bool | OSError


class DiskChanges:
    """The changes that wait."""

    def __init__(self, state: DiskState, room: DiskRoom, calls: FileCalls) -> None:
        self.removing: Counter[bytes] = Counter()
        """Digests of objects that are about to be removed."""
        self.storing: Counter[bytes] = Counter()
        """Digests of objects that are about to be written."""
        self._state = state
        self._room = room
        self._calls = calls
        self._queue: deque[_Change] = deque()
        self._stores = 0
        self._bytes = 0
        self._queued = trio.Event()
        self._urgent = trio.Event()
        self._idle = trio.Event()
        """Set unless changes are being done."""
        self._idle.set()

    def store(self, layout: ObjectLayout, body: bytes, done: Callable[[bool], None]) -> bool:
        """Write a whole object soon; ``done`` gets whether it is stored. Return False if too much waits."""
        if self._stores >= MAX_STORES or self._bytes + len(body) > MAX_STORE_BYTES:
            return False
        self._stores += 1
        self._bytes += len(body)
        self.storing[layout.digest] += 1
        self._enter(_Store(layout, body, charge(layout.body_at + len(body)), done))
        if self._stores >= MAX_CHANGES_A_CALL:
            self._urgent.set()
        return True

    def remove(self, digest: bytes, done: Callable[[bool], None], *, is_purge: bool) -> bool:
        """Remove an object now. ``done`` gets whether there was one. Return False if too much waits."""
        if not self._has_room():
            return False
        self.removing[digest] += 1
        self._enter(_Removal(digest, is_purge, done))
        self._urgent.set()
        return True

    def new_head(self, digest: bytes, previous: bytes, head: bytes, done: Callable[[bool], None]) -> bool:
        """Replace a head. ``done`` gets False if there is no object, or the head is too long. Return as ``remove``."""
        if not self._has_room():
            return False
        self._enter(_NewHead(digest, previous, head, done))
        return True

    def _has_room(self) -> bool:
        return len(self._queue) - self._stores < MAX_CHANGES

    def _enter(self, change: _Change) -> None:
        self._queue.append(change)
        self._queued.set()

    async def forget(self, matches: Callable[[bytes, tuple[bytes, ...]], bool]) -> None:
        """Drop objects that wait to be written, and wait for those that are being written."""
        dropped = [
            each for each in self._queue if isinstance(each, _Store) and matches(each.layout.key, each.layout.tags)
        ]
        gone = set(map(id, dropped))
        self._queue = deque(each for each in self._queue if id(each) not in gone)
        for each in dropped:
            self._taken(each)
            self._stored(each, is_stored=False)
        await self._idle.wait()

    def _taken(self, store: _Store) -> None:
        self._stores -= 1
        self._bytes -= len(store.body)

    def _stored(self, store: _Store, *, is_stored: bool) -> None:
        """The object is written, or will not be."""
        digest = store.layout.digest
        self.storing[digest] -= 1
        if not self.storing[digest]:
            del self.storing[digest]
        store.done(is_stored)

    async def run(self) -> None:
        """Do the changes until cancelled."""
        while True:
            await self._queued.wait()
            with trio.move_on_after(GATHER_STORES):
                await self._urgent.wait()
            self._urgent = trio.Event()
            await self._state.guard(self._do_all)

    async def _do_all(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(MAX_CHANGES_A_CALL, len(self._queue)))]
            for each in batch:
                if isinstance(each, _Store):
                    self._taken(each)
            self._idle = trio.Event()
            try:
                await self._do(batch)
            finally:
                self._idle.set()
        self._queued = trio.Event()

    async def _do(self, batch: list[_Change]) -> None:
        attached = self._state.attached
        if attached is None:
            self._settle(batch, [OSError()] * len(batch), {}, None)
            return
        reservations: dict[_Change, Reservation] = {}
        for each in batch:
            if isinstance(each, _Store) and (reservation := await self._reserve(each)) is not None:
                reservations[each] = reservation
        for each in batch:
            if isinstance(each, _Store) and each not in reservations:
                self._stored(each, is_stored=False)
        batch = [each for each in batch if not isinstance(each, _Store) or each in reservations]
        subtract = attached.cells.removing() if self.removing else True
        results = await self._calls.run(partial(_do_in_thread, attached.files, batch))
        self._settle(batch, results, reservations, attached if subtract else None)

    async def _reserve(self, store: _Store) -> Reservation | None:
        """Reserve, after a wait if need be. None: it is not stored."""
        attached = self._state.storing
        if attached is None:
            return None
        reservation = Reservation(attached, store.layout.digest)
        if not self._room.reserve(reservation, store.charged):
            answered = trio.Event()
            answers: list[bool] = []

            def done(room: bool) -> None:
                answers.append(room)
                answered.set()

            self._room.wait(reservation, store.charged, done)
            await answered.wait()
            if not answers[0]:
                return None
        reservation.keep(store.charged, self._state.clock())
        return reservation

    def _settle(
        self,
        batch: Sequence[_Change],
        results: Sequence[_Result],
        reservations: dict[_Change, Reservation],
        subtract: DiskAttached | None,
    ) -> None:
        for change, result in zip(batch, results, strict=True):
            if isinstance(change, _Store):
                if change in reservations:
                    self._settle_room(reservations[change], result)
                self._stored(change, is_stored=isinstance(result, tuple))
            elif isinstance(change, _Removal):
                self._removed(change, result, subtract)
            else:
                if isinstance(result, OSError) and subtract is not None:
                    self._state.write_failed(result)
                change.done(result is True)

    def _settle_room(self, reservation: Reservation, result: _Result) -> None:
        if isinstance(result, tuple):
            reservation.placed(result[0], made_directory=result[1])
        elif isinstance(result, OSError):
            size = reservation.size
            reservation.lost()
            if self._state.write_failed(result):
                self._room.disk_is_full(size)

    def _removed(self, change: _Removal, result: _Result, subtract: DiskAttached | None) -> None:
        self.removing[change.digest] -= 1
        if not self.removing[change.digest]:
            del self.removing[change.digest]
        freed = result if isinstance(result, Freed) else Freed()
        if isinstance(result, OSError) and result.errno:
            self._state.write_failed(result)
        if subtract is not None:
            subtract.cells.removed(freed.size, freed.files)
        if change.is_purge:
            self._state.evictions["purge"] += freed.files
        change.done(bool(freed.files))


def _do_in_thread(files: DiskFiles, batch: Sequence[_Change]) -> list[_Result]:
    results: list[_Result] = []
    try:
        files.check()
    except OSError as error:
        return [error] * len(batch)
    for change in batch:
        try:
            results.append(_do_one(files, change))
        except OSError as error:
            results.append(error)
    return results


def _do_one(files: DiskFiles, change: _Change) -> _Result:
    if isinstance(change, _Store):
        return files.write(change.layout, change.body)
    if isinstance(change, _Removal):
        return files.remove(change.digest)
    return files.write_head(change.digest, change.previous, change.head)
