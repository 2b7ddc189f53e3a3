"""Room on disk: it is reserved before a byte is written, and made by removing the objects used least recently."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from lb.cache.disk_reservation import Reservation
from lb.cache.disk_state import DiskAttached, DiskState, Eviction
from lb.cache.disk_walk import DiskWalk, walk_all
from lb.net.file_calls import FileCalls

__all__ = ["DiskRoom"]

HEADROOM = 32
"""A part in so many of the zone is kept free, so that what comes next need not wait for a removal."""
FULL_PART = 16
"""A part in so many of what is stored is removed when the disk is full."""
MAX_HEADROOM = 32 << 20
MAX_REMOVALS = 64
"""Maximum objects that one call removes."""
CANDIDATES = 8
"""A walk finds the oldest one in so many of the objects."""
MIN_CANDIDATES, MAX_CANDIDATES = 256, 32768
BARREN = 2
"""Walks without a removal after which there is nothing to remove."""
BARREN_PAUSE = 1.0
"""Seconds after that, before headroom is made again."""
MAX_ROOM_WAITERS = 4096
"""Maximum files that wait for room."""


@attrs.frozen(eq=False)
class _Waiting:
    reservation: Reservation
    charged: int
    done: Callable[[bool], None]


class DiskRoom:
    """The room of a zone on disk, as one process sees it."""

    def __init__(self, state: DiskState, calls: FileCalls) -> None:
        self._state = state
        self._calls = calls
        self._wake = trio.Event()
        self._waiting: deque[_Waiting] = deque()
        self._extra = 0
        """Bytes to remove though there is room: the disk is full."""
        self._oldest: deque[tuple[int, bytes]] = deque()
        """The objects used least recently, as the last walk found them."""
        self._barren = 0
        self._barren_until = 0.0

    @property
    def _limit(self) -> int:
        return self._state.spec.max_size

    @property
    def _headroom(self) -> int:
        return min(self._limit // HEADROOM, MAX_HEADROOM)

    def limit_changed(self) -> None:
        """The zone may be too large now."""
        self._wake.set()

    def fits(self, charged: int) -> bool:
        """Return whether a file that is charged so much may be stored at all."""
        return charged <= self._limit

    def reserve(self, reservation: Reservation, charged: int) -> bool:
        """Reserve for a file that is charged so much in all. If there is no room now, some is made."""
        room = reservation.grow(charged, self._limit)
        if not room or self._missing(0) > 0:
            self._make(0 if room else reservation.missing(charged))
        return room

    def wait(self, reservation: Reservation, charged: int, done: Callable[[bool], None]) -> None:
        """Reserve as soon as there is room, and call ``done``; with False if none can be made."""
        if len(self._waiting) >= MAX_ROOM_WAITERS:
            done(False)
            return
        self._waiting.append(_Waiting(reservation, charged, done))
        self._wake.set()

    def disk_is_full(self, size: int) -> None:
        """Remove so many bytes, though the zone has room, and a part of all, so that more than one object can come."""
        attached = self._state.attached
        part = attached.cells.size // FULL_PART if attached is not None else 0
        self._extra = max(self._extra, size, part)
        self._wake.set()

    def _make(self, missing: int) -> None:
        if missing or self._state.clock() >= self._barren_until:
            self._wake.set()

    def _missing(self, wanted: int) -> int:
        """Return how many bytes have to be removed."""
        attached = self._state.attached
        if attached is None:
            return 0
        return max(attached.cells.size + max(wanted, self._headroom) - self._limit, self._extra)

    async def run(self) -> None:
        """Make room when it is wanted, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            self._barren = 0
            await self._state.guard(self._make_room)
            while self._waiting:
                self._waiting.popleft().done(False)  # there is nothing left to remove, or the directory failed

    async def _make_room(self) -> None:
        """Remove objects until those who wait have room and the headroom is free. Raises OSError."""
        while True:
            while self._waiting and self._serve(self._waiting[0]):
                self._waiting.popleft().done(True)
            wanted = self._waiting[0] if self._waiting else None
            missing = self._missing(wanted.reservation.missing(wanted.charged) if wanted else 0)
            attached = self._state.attached
            if missing <= 0 or attached is None or not attached.cells.counted:
                return
            batch = await self._victims(attached)
            if not batch:
                self._barren_until = self._state.clock() + BARREN_PAUSE
                self._extra = 0
                return
            await self._remove(attached, batch, missing)

    def _serve(self, waiting: _Waiting) -> bool:
        return waiting.reservation.grow(waiting.charged, self._limit)

    async def _remove(self, attached: DiskAttached, batch: Sequence[tuple[int, bytes]], size: int) -> None:
        digests = [digest for _, digest in batch]
        freed, tried = await self._calls.run(partial(attached.files.remove_oldest, digests, size))
        self._oldest.extendleft(reversed(batch[tried:]))
        if freed.files:
            self._barren = 0
        self._extra = max(self._extra - freed.size, 0)
        attached.cells.removed(freed.size, freed.files)
        self._state.evictions["size"] += freed.files

    async def _victims(self, attached: DiskAttached) -> list[tuple[int, bytes]]:
        """Return objects that are still the oldest ones. Empty if nothing can be removed. Raises OSError."""
        table = attached.cells.table
        while True:
            batch: list[tuple[int, bytes]] = []
            while self._oldest and len(batch) < MAX_REMOVALS:
                used, digest = candidate = self._oldest.popleft()
                if table[attached.cells.cell(digest)] == used:
                    batch.append(candidate)
            if batch or self._barren == BARREN:
                return batch
            self._barren += 1
            most = min(max(attached.cells.objects // CANDIDATES, MIN_CANDIDATES), MAX_CANDIDATES)
            walk = DiskWalk(attached.files, attached.cells, self._state.clock(), self._state.spec.inactive, most)
            await walk_all(self._calls, walk)
            await self.remove_all(attached, walk.inactive, "inactive")
            self._oldest.extend(walk.oldest())

    async def remove_all(self, attached: DiskAttached, digests: Sequence[bytes], why: Eviction) -> None:
        """Remove objects in batches. Raises OSError."""
        for first in range(0, len(digests), MAX_REMOVALS):
            subtract = attached.cells.removing()
            freed = await self._calls.run(partial(attached.files.remove_all, digests[first : first + MAX_REMOVALS]))
            if subtract:
                attached.cells.removed(freed.size, freed.files)
            self._state.evictions[why] += freed.files

    def forget(self) -> None:
        """The directory is another one now."""
        self._oldest.clear()
        self._wake.set()
