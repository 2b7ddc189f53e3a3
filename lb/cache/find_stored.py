"""Looks for a stored response: in memory, then on disk; the whole one, then the slice that a range begins with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lb.cache.cache_key import CachedRequest
from lb.cache.entry import CacheEntry, SliceAt, digest_of
from lb.cache.zone import CacheZone

__all__ = ["find_stored"]


def find_stored(
    zone: CacheZone,
    key: bytes,
    request: CachedRequest,
    slice_at: SliceAt | None,
    found: Callable[[CacheEntry | None], None],
) -> None:
    """Pass the response that is stored for a request to ``found``, now or later; None if there is none.

    ``slice_at`` is the slice in which the range begins that is asked for; None: the whole is needed.
    """
    identities = partial(zone.identities, key, request, slice_at)
    names = identities()
    for name in names:
        entry = zone.find(name)
        if entry is not None:
            found(entry)
            return
    if zone.disk is None:
        found(None)
    else:
        _OnDisk(zone, identities, found).try_next([key, *names])


class _OnDisk:
    """The look-up of one response on disk. ``identities()`` returns its names, as far as is known."""

    def __init__(
        self, zone: CacheZone, identities: Callable[[], list[bytes]], found: Callable[[CacheEntry | None], None]
    ) -> None:
        self._zone = zone
        self._identities = identities
        self._found = found
        self._left: list[bytes] = []
        self._tried: set[bytes] = set()

    def try_next(self, names: list[bytes]) -> None:
        """Open the first of these that may be there."""
        for position, name in enumerate(names):
            if name not in self._tried and self._zone.may_open(name):
                self._tried.add(name)
                self._left = names[position + 1 :]
                self._zone.open(digest_of(name), self._opened)
                return
        self._found(None)

    def _opened(self, entry: CacheEntry | None, *, is_mark: bool) -> None:
        """A file was opened. A mark says under which names the responses of its key are stored.

        Another response may still be where the mark of its key is to be written.
        """
        if is_mark:
            self.try_next(self._identities())
        elif entry is not None and entry.identity in self._identities():
            self._found(entry)
        else:
            self.try_next(self._left)
