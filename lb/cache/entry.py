"""A stored response."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

import attrs

from lb.cache.content import Content
from lb.cache.freshness import Freshness
from lb.model.request import HeaderFields

__all__ = [
    "CacheEntry",
    "Mark",
    "Part",
    "SliceAt",
    "digest_of",
    "identity",
    "packed_entry",
    "packed_mark",
    "slice_identity",
    "unpacked",
]

_ENCODE = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_OVERHEAD = 900
"""Bytes of the objects of an entry, without its texts and its body."""


class SliceAt(NamedTuple):
    """Which slice: its offset, and the bytes of each slice but the last."""

    offset: int
    size: int


@attrs.frozen
class Part:
    """A slice of a body."""

    offset: int
    slice_size: int
    """Bytes of each slice but the last."""
    total: int
    """Bytes of the whole body."""


@attrs.frozen
class Mark:
    """What is known of a key whose responses are stored under other names: variants, and slices."""

    names: tuple[bytes, ...] = ()
    """The names of the request's fields that Vary names."""
    since: float = 0.0
    """Responses that came before this time, in seconds since 1970, were purged."""


@attrs.define(eq=False)
class CacheEntry:
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
    _digest: bytes = b""
    removed: bool = False
    """It is no longer in the cache: nobody may keep it."""
    prepared: dict[bytes, object] | None = None
    """What the fast path of hits has made of it, as long as it is in the cache."""

    @property
    def identity(self) -> bytes:
        whole = identity(self.key, self.variant)
        return whole if self.part is None else slice_identity(whole, SliceAt(self.part.offset, self.part.slice_size))

    @property
    def digest(self) -> bytes:
        """Its name on disk."""
        if not self._digest:
            self._digest = digest_of(self.identity)
        return self._digest

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


def slice_identity(whole: bytes, at: SliceAt) -> bytes:
    """Return what names a slice of a response. ``whole`` names the response. No value of a request has a NUL."""
    return b"%s\n\0slice %d/%d" % (whole, *at)


def digest_of(identified: bytes) -> bytes:
    """Return the name of a stored response on disk, 32 bytes."""
    return hashlib.sha256(identified).digest()


def packed_entry(entry: CacheEntry) -> bytes:
    """Return all of an entry but its body, for a file."""
    return _packed(
        {
            "key": _text(entry.key),
            "variant": _text(entry.variant),
            "status": entry.status,
            "fields": [(_text(name), _text(value)) for name, value in entry.fields],
            "freshness": _text(entry.freshness.packed()),
            "tags": [_text(tag) for tag in entry.tags],
            "part": None if entry.part is None else attrs.astuple(entry.part),
        }
    )


def packed_mark(key: bytes, mark: Mark) -> bytes:
    """Return a mark for a file."""
    return _packed({"key": _text(key), "names": [_text(name) for name in mark.names], "since": mark.since})


def unpacked(head: bytes, body: bytes | Content) -> CacheEntry | tuple[bytes, Mark]:
    """Return an entry with this body, or a mark and its key, from a file. Raises ValueError if it is neither."""
    try:
        read = json.loads(head)
        if "names" in read:
            names = tuple(_bytes(name) for name in read["names"])
            return _bytes(read["key"]), Mark(names, float(read["since"]))
        return CacheEntry(
            key=_bytes(read["key"]),
            variant=_bytes(read["variant"]),
            status=int(read["status"]),
            fields=[(_bytes(name), _bytes(value)) for name, value in read["fields"]],
            freshness=Freshness.unpacked(_bytes(read["freshness"])),
            body=body,
            tags=tuple(_bytes(tag) for tag in read["tags"]),
            part=None if read["part"] is None else Part(*map(int, read["part"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not the head of a stored response") from error


def _packed(value: object) -> bytes:
    return _ENCODE(value).encode()


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
