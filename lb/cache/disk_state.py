"""How the disk of a zone is doing: whether its directory is in use, what failed, and what the log was told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import attrs

from lb.cache.disk_files import FULL, DamagedError, DiskFiles
from lb.cache.shared_cells import SharedCells
from lb.events import CacheCorrupt, CacheDisabled, CacheFull, Sink
from lb.model import CacheSpec

__all__ = ["DiskAttached", "DiskError", "DiskState", "Eviction"]

Eviction: TypeAlias = Literal["size", "inactive", "purge"]
"""Why an object was removed."""
DiskError: TypeAlias = Literal["read", "write", "full", "corrupt"]

FULL_PAUSE = 1.0
"""Seconds after which a full disk is tried again."""
SLOW_WRITE = 0.05
"""Seconds of one write to the page cache that say that the disk does not keep up. A busy machine takes some, too."""
SLOW_FOR = 10.0
"""Seconds after which the loop tries again to write."""
SAY_AGAIN = 60.0
"""Seconds after which the log is told again that a disk is full, or files are damaged."""


@attrs.frozen(eq=False)
class DiskAttached:
    """A directory in use."""

    files: DiskFiles
    cells: SharedCells
    shards: set[int]
    """Directories that exist, as far as this process knows."""


class DiskState:
    """What the parts of a store know together."""

    def __init__(
        self, spec: CacheSpec, emit: Sink, clock: Callable[[], float], fault: Callable[[str, Exception], None]
    ) -> None:
        self.spec = spec
        self._fault = fault
        self.clock = clock
        self.attached: DiskAttached | None = None
        self.evictions: dict[Eviction, int] = {"size": 0, "inactive": 0, "purge": 0}
        self.errors: dict[DiskError, int] = {"read": 0, "write": 0, "full": 0, "corrupt": 0}
        self.writable = True
        """False after a write failed, until one works."""
        self._emit = emit
        self._disabled = False
        """The log was told that the directory cannot be used."""
        self._full_until = self._slow_until = 0.0
        self._full_said = self._damage_said = -SAY_AGAIN
        self._damaged = 0

    @property
    def storing(self) -> DiskAttached | None:
        """The directory, if objects may be stored now."""
        attached = self.attached
        if attached is None or not attached.cells.counted or not self.writable:
            return None
        return attached if self.clock() >= self._full_until else None

    @property
    def is_slow(self) -> bool:
        """A write has taken long, lately: threads write."""
        return self.clock() < self._slow_until

    def write_took(self, seconds: float) -> None:
        """Note how long a write of a body in the loop's thread has taken."""
        if seconds > SLOW_WRITE:
            self._slow_until = self.clock() + SLOW_FOR

    def write_failed(self, error: OSError) -> bool:
        """Note that a file could not be written. Return whether the disk is full."""
        if isinstance(error, DamagedError):
            self.damaged(error)
        elif error.errno in FULL:
            self.errors["full"] += 1
            self._full(error)
            return True
        else:
            self.errors["write"] += 1
            self.disable(error)
        return False

    def read_failed(self, error: OSError) -> None:
        """Note that an object could not be read."""
        if isinstance(error, DamagedError):
            self.damaged(error)
        else:
            self.errors["read"] += 1
            self._say_damaged(str(error.filename or self.spec.path))

    def _full(self, error: OSError) -> None:
        now = self.clock()
        self._full_until = now + FULL_PAUSE
        if now - self._full_said >= SAY_AGAIN:
            self._full_said = now
            self._emit(CacheFull(self.spec.name, self.spec.path, _text(error)))

    def damaged(self, error: DamagedError) -> None:
        """Note a file that was not served."""
        self.errors["corrupt"] += 1
        self._say_damaged(str(error.filename))

    def _say_damaged(self, path: str) -> None:
        self._damaged += 1
        now = self.clock()
        if now - self._damage_said >= SAY_AGAIN:
            self._damage_said = now
            self._emit(CacheCorrupt(self.spec.name, path, self._damaged))
            self._damaged = 0

    def disable(self, error: OSError) -> None:
        """Store nothing until :meth:`enable`."""
        self.writable = False
        if not self._disabled:
            self._disabled = True
            self._emit(CacheDisabled(self.spec.name, self.spec.path, _text(error)))

    def enable(self) -> None:
        """The directory can be written."""
        self.writable = True
        self._disabled = False

    async def guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work beside the traffic. If it fails, the log is told, and later work is done all the same."""
        try:
            await work()
        except OSError as error:
            self.write_failed(error)
        except Exception as exception:  # noqa: BLE001 - a bug here must not end the cache, nor the traffic
            self._fault(f"cache {self.spec.name}", exception)


def _text(error: OSError) -> str:
    return error.strerror or str(error)
