"""The fields that clients get of a stored response."""

from __future__ import annotations

from lb.cache.entry import CacheEntry
from lb.http1.wire import WrittenFields
from lb.model.request import HeaderFields

__all__ = ["LastFields", "sent_fields"]

_VIA = (b"Via", b"1.1 trio-lb")


def sent_fields(
    entry: CacheEntry, added: HeaderFields, now: float, *, only: frozenset[bytes] | None = None
) -> list[tuple[bytes, bytes]]:
    """Return the fields that clients get: those of the entry, or ``only`` these of them, Age, Via, and ``added``.

    X-Accel-Expires is for the cache. Cache-Status is a list: each cache adds a member.
    """
    left_out = {name.lower() for name, _ in added} - {b"cache-status"} | {b"x-accel-expires"}
    stored = [field for field in entry.fields if field[0].lower() not in left_out]
    if only is not None:
        stored = [field for field in stored if field[0].lower() in only]
    return [*stored, (b"Age", b"%d" % max(0, int(entry.freshness.age(now)))), _VIA, *added]


class LastFields:
    """The fields of the last response of a route. Those who read along get the same: they are written once for all."""

    _of: tuple[HeaderFields, int, HeaderFields] | None = None
    """Fields of the entry, its age, and what was added."""
    _fields = WrittenFields()

    def of(self, entry: CacheEntry, added: HeaderFields, now: float) -> WrittenFields:
        """Return the fields that clients get of an entry."""
        fields, age = entry.fields, int(entry.freshness.age(now))
        last = self._of
        if last is None or last[0] is not fields or last[1] != age or last[2] != added:
            self._of = fields, age, added
            self._fields = WrittenFields(sent_fields(entry, added, now))
        return self._fields
