"""Writes one object to disk as it arrives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lb.cache.disk_files import DiskFiles, Freed
from lb.cache.disk_reservation import Reservation
from lb.cache.disk_room import DiskRoom
from lb.cache.disk_state import DiskState
from lb.cache.object_file import ObjectLayout, charge
from lb.cache.open_object import ObjectFile
from lb.cache.write_at import write_at
from lb.net.file_calls import FileCalls

__all__ = ["Writer"]

AHEAD = 1 << 20
"""Bytes that are reserved at once if the length is not known."""


class Writer:
    """An object under way. End it with ``commit`` or ``abort``, once.

    ``file`` may be read meanwhile, and after the end by who has acquired it; its descriptor's position is where the
    next byte of the body goes.
    """

    def __init__(
        self,
        state: DiskState,
        room: DiskRoom,
        calls: FileCalls,
        files: DiskFiles,
        layout: ObjectLayout,
        reservation: Reservation,
        length: int | None,
        file: ObjectFile,
        temporary: str,
    ) -> None:
        self.file = file
        self._state = state
        self._room = room
        self._calls = calls
        self._files = files
        self._layout = layout
        self._reservation = reservation
        self._expected = length
        self._temporary = temporary
        self._size = layout.body_at
        """Bytes of the file for which the caller has reserved."""
        self._is_writing = self._ends_later = False
        """A thread writes; the file is discarded after that."""
        self._gone = False
        """The file was discarded, and its room given back."""

    @property
    def fd(self) -> int:
        return self.file.fd

    def reserve(self, count: int) -> bool:
        """Ask for room before ``count`` more bytes are written. False: not now; some is made, see ``wait_for_room``."""
        size = self._size + count
        ahead = max(size, self._layout.body_at + self._expected if self._expected is not None else size + AHEAD)
        if self._reservation.missing(charge(size)) > 0 and not (
            self._room.reserve(self._reservation, charge(ahead)) or self._room.reserve(self._reservation, charge(size))
        ):
            return False
        self._grown(size)
        return True

    @property
    def is_slow(self) -> bool:
        """The disk does not keep up: the loop must not wait for a write."""
        return self._state.is_slow

    def took(self, seconds: float) -> None:
        """Note how long a write has taken."""
        self._state.write_took(seconds)

    def write_later(self, at: int, data: bytes, done: Callable[[OSError | None], None]) -> None:
        """Write bytes of the body at their place in a thread. There is room for them, and no other write meanwhile."""
        self._is_writing = True
        write = partial(write_at, self.fd, data, self._layout.body_at + at)
        self._calls.call(write, partial(self._written, done))

    def _written(self, done: Callable[[OSError | None], None], result: OSError | None) -> None:
        self._is_writing = False
        if self._ends_later:
            self._discard()
        done(result)

    def wait_for_room(self, count: int, done: Callable[[bool], None]) -> None:
        """As ``reserve``, but wait until objects used less recently are removed. ``done(False)``: there is no room."""
        size = self._size + count

        def reserved(room: bool) -> None:
            if room and self._gone:
                self._reservation.drop()
            elif room:
                self._grown(size)
            done(room)

        if not self._room.fits(charge(size)):
            done(False)
            return
        self._room.wait(self._reservation, charge(size), reserved)

    def _grown(self, size: int) -> None:
        self._size = size
        self.file.length = size - self._layout.body_at

    def commit(self, length: int, done: Callable[[bool], None]) -> None:
        """Store the object: ``length`` bytes of the body are written. ``done(False)``: it could not be stored."""
        self.file.length = length
        self._reservation.keep(charge(self._layout.body_at + length), self._state.clock())
        finish = partial(self._files.finish, self.fd, self._temporary, self._layout, length)
        self._calls.call(finish, partial(self._finished, done))

    def _finished(self, done: Callable[[bool], None], result: tuple[Freed, bool] | OSError) -> None:
        self.file.release()
        if isinstance(result, OSError):
            size = self._reservation.size
            self._reservation.lost()
            self._failed(result, size)
            done(False)
        else:
            self._reservation.placed(result[0], made_directory=result[1])
            done(True)

    def abort(self, error: OSError | None = None) -> None:
        """Store nothing. ``error``: what a write to the descriptor raised."""
        size = self._reservation.size
        if self._is_writing:  # until then its room is taken
            self._ends_later = True
        else:
            self._discard()
        if error is not None:
            self._failed(error, size)

    def _discard(self) -> None:
        self._calls.call(partial(self._files.discard, self._temporary), self._discarded)

    def _discarded(self, result: OSError | None) -> None:
        self.file.release()
        if isinstance(result, OSError):
            self._state.write_failed(result)  # the file may be there yet: its room stays taken
        else:
            self._reservation.drop()
            self._gone = True

    def _failed(self, error: OSError, size: int) -> None:
        if self._state.write_failed(error):
            self._room.disk_is_full(size)
