"""A stored response."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import attrs

from lb.cache.content import Content
from lb.cache.freshness import Freshness
from lb.model.request import HeaderFields

__all__ = ["Entry", "Part", "digest_of", "identity", "packed_head", "slice_identity", "unpacked_head"]

_OVERHEAD = 900
"""Bytes of the objects of an entry, without its texts and its body."""


@attrs.frozen
class Part:
    """A slice of a body."""

    offset: int
    slice_size: int
    """Bytes of each slice but the last."""
    total: int
    """Bytes of the whole body."""


@attrs.define(eq=False)
class Entry:
    """A response that the cache may serve. Only its freshness and fields change, when the server confirms it."""

    key: bytes
    variant: bytes
    """The values of the request's fields that Vary names, as one text; empty without Vary."""
    status: int
    fields: HeaderFields
    """As they are sent, without Age."""
    freshness: Freshness
    body: bytes | Content
    tags: tuple[bytes, ...] = ()
    """What it can be purged by, beside its key."""
    last_used: float = 0.0
    """Seconds since 1970."""
    part: Part | None = None
    """Which part of the whole body this is; None = all of it."""
    removed: bool = False
    """It is no longer in the cache: nobody may keep it."""

    @property
    def identity(self) -> bytes:
        whole = identity(self.key, self.variant)
        return whole if self.part is None else slice_identity(whole, self.part.offset, self.part.slice_size)

    @property
    def length(self) -> int | None:
        """Bytes of the body; None as long as that is not known."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    @property
    def memory(self) -> int:
        """About how many bytes of memory it takes. A file in memory counts itself."""
        fields = sum(len(name) + len(value) + 100 for name, value in self.fields)
        body = len(self.body) if isinstance(self.body, bytes) else 0
        return _OVERHEAD + 2 * len(self.key) + fields + body


def identity(key: bytes, variant: bytes) -> bytes:
    """Return what names one stored response: a key, and the variant of it if there are several."""
    return key + b"\n" + variant if variant else key


def slice_identity(whole: bytes, offset: int, slice_size: int) -> bytes:
    """Return what names a slice of a response. ``whole`` names the response."""
    return b"%s\nslice %d/%d" % (whole, offset, slice_size)


def digest_of(identified: bytes) -> bytes:
    """Return the name of a stored response on disk, 32 bytes."""
    return hashlib.sha256(identified).digest()


def packed_head(entry: Entry, vary: Sequence[bytes] = ()) -> bytes:
    """Return all of an entry but its body, for a file. ``vary``: see :func:`unpacked_head`."""
    return json.dumps(
        {
            "key": _text(entry.key),
            "variant": _text(entry.variant),
            "status": entry.status,
            "fields": [(_text(name), _text(value)) for name, value in entry.fields],
            "freshness": _text(entry.freshness.packed()),
            "tags": [_text(tag) for tag in entry.tags],
            "vary": [_text(name) for name in vary],
            "part": None if entry.part is None else attrs.astuple(entry.part),
        }
    ).encode()


def unpacked_head(head: bytes, body: bytes | Content) -> tuple[Entry, tuple[bytes, ...]]:
    """Return an entry, and the names of the request's fields by which its variants are told, from a file.

    If there are such names, the file holds no response: only which names these are. Raises ValueError.
    """
    try:
        read = json.loads(head)
        entry = Entry(
            key=_bytes(read["key"]),
            variant=_bytes(read["variant"]),
            status=int(read["status"]),
            fields=[(_bytes(name), _bytes(value)) for name, value in read["fields"]],
            freshness=Freshness.unpacked(_bytes(read["freshness"])),
            body=body,
            tags=tuple(_bytes(tag) for tag in read["tags"]),
            part=None if read["part"] is None else Part(*map(int, read["part"])),
        )
        return entry, tuple(_bytes(name) for name in read["vary"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not the head of a stored response") from error


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
