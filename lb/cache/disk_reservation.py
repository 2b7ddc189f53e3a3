"""Room for one object: the bytes that are reserved for its file, and what becomes of them."""

from __future__ import annotations

from lb.cache.disk_files import DIRECTORY, Freed, shard_of
from lb.cache.disk_state import DiskAttached

__all__ = ["Reservation"]


class Reservation:
    """Room for one object: reserved, then given back or kept, once."""

    __slots__ = ("_attached", "_directory", "digest", "size")

    def __init__(self, attached: DiskAttached, digest: bytes) -> None:
        self.digest = digest
        self.size = 0
        """Bytes reserved, for the directory too."""
        self._attached = attached
        self._directory = 0 if shard_of(digest) in attached.shards else DIRECTORY

    def grow(self, charged: int, limit: int) -> bool:
        """Reserve for a file that is charged so much in all. Return False if there is no room."""
        more = self.missing(charged)
        if more > 0:
            if not self._attached.cells.reserve(more, limit):
                return False
            self.size += more
        return True

    def missing(self, charged: int) -> int:
        """Return the bytes that are not reserved yet."""
        return charged + self._directory - self.size

    def drop(self) -> None:
        """The file is gone, or never was."""
        self._attached.cells.give_back(self.size)
        self.size = 0

    def keep(self, charged: int, now: float) -> None:
        """The file is written, and about to get its name."""
        cells = self._attached.cells
        final = charged + self._directory
        cells.give_back(self.size - final)
        cells.keep(final)
        cells.touch(self.digest, now)
        self.size = final

    def placed(self, freed: Freed, *, made_directory: bool) -> None:
        """The file has its name, and replaced others."""
        cells = self._attached.cells
        cells.placed()
        unused = 0 if made_directory else self._directory
        cells.removed(freed.size + unused, freed.files)
        self._attached.shards.add(shard_of(self.digest))

    def lost(self) -> None:
        """The file did not get its name, and is gone."""
        self._attached.cells.removed(self.size, 0)
