"""What a client accepts: weights in the values of Accept and Accept-Encoding (RFC 9110, sections 12.4.2 and 12.5)."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

__all__ = ["NAMED", "best_coding", "media_weight", "read_weights"]

NAMED = 2
"""How exactly a media type is named: by itself. 1: by a range such as ``text/*``; 0: by ``*/*``."""
_MAX_READ = 1024
"""Bytes of a value that are read: several times what browsers send. Later members are not heeded."""
_KEPT = 512
"""Values that are kept as read. Most clients send one of a few."""
_WEIGHT = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_FULL = 1000
_ALIASES = {b"x-gzip": b"gzip"}  # RFC 9110, section 8.4.1.3


def read_weights(value: bytes) -> Mapping[bytes, int]:
    """Return what the members of a list weigh, by their names in lower case: 0 (not acceptable) to 1000.

    A member whose weight is malformed is left out. Of members with the same name, the first counts. Other parameters
    than ``q`` are not heeded.
    """
    if len(value) > _MAX_READ:
        value = value[:_MAX_READ].rpartition(b",")[0]
    return _read(value)


@functools.lru_cache(_KEPT)
def _read(value: bytes) -> Mapping[bytes, int]:
    weights: dict[bytes, int] = {}
    for member in value.lower().split(b","):
        name, *parameters = [part.strip(b" \t") for part in member.split(b";")]
        weight = _weight(parameters)
        if name and weight is not None:
            weights.setdefault(_ALIASES.get(name, name), weight)
    return weights


def _weight(parameters: Sequence[bytes]) -> int | None:
    """Return the weight among parameters in lower case: 1000 without one, None for one that is malformed."""
    text = next((each[2:] for each in parameters if each.startswith(b"q=")), None)
    if text is None:
        return _FULL
    return round(float(text) * _FULL) if _WEIGHT.fullmatch(text) else None


def best_coding(value: bytes, codings: Sequence[bytes]) -> bytes | None:
    """Return the content coding that a client prefers by its Accept-Encoding, of equal ones the first.

    None if it accepts none of them, or prefers ``identity`` by name.
    """
    weights = read_weights(value)
    others = weights.get(b"*", 0)
    best, most = None, weights.get(b"identity", 1) - 1
    for coding in codings:
        weight = weights.get(coding, others)
        if weight > max(most, 0):
            best, most = coding, weight
    return best


def media_weight(value: bytes, media_type: bytes) -> tuple[int, int]:
    """Return what a media type (in lower case) weighs by an Accept, and how exactly it is named; the most exact counts.

    So of two types, the greater result is preferred.
    """
    weights = read_weights(value)
    ranges = (media_type, media_type.partition(b"/")[0] + b"/*", b"*/*")
    for exactness, name in zip((NAMED, 1, 0), ranges, strict=True):
        if name in weights:
            return weights[name], exactness
    return 0, 0
