"""Files that were removed from the disk while clients still read them: they take room until the last one has ended."""

from __future__ import annotations

from lb.cache.disk_state import DiskAttached, DiskState
from lb.cache.object_file import charge
from lb.cache.open_object import ObjectFile

__all__ = ["NamelessFiles"]


class NamelessFiles:
    """Counts the bytes of removed files in the size of the zone as long as this process has them open.

    A file that several processes read counts for each of them: the zone is rather too small than too large.
    """

    def __init__(self, state: DiskState) -> None:
        self._state = state
        self._open: set[ObjectFile] = set()
        self._counted: dict[ObjectFile, tuple[DiskAttached, int]] = {}

    def opened(self, file: ObjectFile) -> None:
        self._open.add(file)

    def closed(self, file: ObjectFile) -> None:
        """A file is used no more: its room is free."""
        self._open.discard(file)
        attached, size = self._counted.pop(file, (None, 0))
        if attached is not None and attached is self._state.attached:
            attached.cells.give_back(size)

    def count(self) -> bool:
        """Count those that were removed since the last call. Return whether there were any."""
        attached = self._state.attached
        found = [file for file in self._open if file.is_removed()] if attached is not None else []
        for file in found:
            assert attached is not None  # noqa: S101 - there are none without
            self._open.discard(file)
            size = charge(file.body_at + file.length)
            attached.cells.hold(size)
            self._counted[file] = attached, size
        return bool(found)
