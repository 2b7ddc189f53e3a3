"""What an operator, a client or a response wants removed from a cache, as it goes from process to process."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

import attrs

from lb.model.values import shown

__all__ = ["LONGEST_PURGED", "Purge", "PurgeKind", "Purged", "PurgedUrl", "StoredResponse", "purged_url"]

PurgeKind: TypeAlias = Literal["key", "url", "prefix", "tag"]

LONGEST_PURGED = 8192
"""Maximum characters of a URL or tag that is purged."""
_URL = re.compile(rb"(?i:(https?))://([^/?#@\s]+)([/?][^#\s]*)?")
_DEFAULT_PORT = {b"http": b":80", b"https": b":443"}


@attrs.frozen
class PurgedUrl:
    """A URL as keys hold it. Host in lower case, without the scheme's own port."""

    scheme: bytes
    host: bytes
    uri: bytes


@attrs.frozen
class Purge:
    """Which stored responses are removed: those that one of ``texts`` stands for."""

    kind: PurgeKind
    """``key``: with this key. ``url``: of this URL, whatever else is in its key; ``prefix``: of the URLs that begin so.
    ``tag``: with this tag."""
    texts: tuple[bytes, ...]

    @property
    def is_valid(self) -> bool:
        """Whether the texts of a ``url`` or ``prefix`` are URLs."""
        return self.kind not in ("url", "prefix") or all(map(_URL.fullmatch, self.texts))

    @classmethod
    def of_keys(cls, keys: Iterable[bytes]) -> Purge:
        return cls("key", tuple(keys))

    @classmethod
    def parse(cls, kind: PurgeKind, text: str) -> Purge:
        """Return what an operator has written. Raises ValueError."""
        if not text or len(text) > LONGEST_PURGED or not text.isprintable():
            raise ValueError(f"must be a text of 1 to {LONGEST_PURGED} printable characters, not {shown(text)}")
        if kind in ("url", "prefix"):
            purged_url(text.encode())
        return cls(kind, (text.encode(),))


def purged_url(text: bytes) -> PurgedUrl:
    """Parse an absolute URL. Raises ValueError."""
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a URL like 'https://www.example.com/a', not {shown(text.decode(errors='replace'))}")
    scheme = match[1].lower()
    uri = match[3] or b"/"
    host = match[2].lower().removesuffix(_DEFAULT_PORT[scheme])
    return PurgedUrl(scheme, host, uri if uri.startswith(b"/") else b"/" + uri)


@attrs.frozen
class Purged:
    """What was purged, in one process or all."""

    known: frozenset[bytes] = frozenset()
    """What tells the responses apart that were in memory, or whose names were known."""
    on_disk: int = 0
    """Files that were removed in a walk over the disk."""

    @property
    def count(self) -> int:
        """The number of responses. What a cache has on disk may be in the memory of several processes."""
        return max(len(self.known), self.on_disk)

    def plus(self, other: Purged) -> Purged:
        return Purged(self.known | other.known, self.on_disk + other.on_disk)


@attrs.frozen
class StoredResponse:
    """A stored response, as ``lb explain`` tells of it."""

    name: bytes
    """What tells it apart."""
    status: int
    bytes: int | None
    """Of its body; None while it is on its way."""
    age: float
    """Seconds since it left the origin."""
    fresh_for: float
    """Seconds; negative = stale for so long."""
