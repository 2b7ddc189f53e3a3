"""Variants: the responses of one key that Vary tells apart by fields of the requests (RFC 9111, section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lb.cache.cache_key import CachedRequest
from lb.cache.header_fields import by_name, list_members
from lb.model import RouteCache
from lb.model.request import HeaderFields

__all__ = ["variant_key", "vary_of"]

_SEPARATOR = b"\n"
_MISSING = b"\0"
_EMPTY = b"\1"
"""Stand for a field that is missing, and for one without a value. No value has such a byte."""
_WEIGHTED = re.compile(rb"([a-z0-9*_-]+)[ \t]*(?:;[ \t]*q=(?P<weight>[01](?:\.[0-9]{0,3})?)[ \t]*)?")
_LISTS_OF_WEIGHTS = (b"accept-encoding", b"accept-language")
"""The order of their members means nothing."""


def vary_of(rules: RouteCache, fields: HeaderFields) -> tuple[bytes, ...] | None:
    """Return the fields of requests that a response depends on, sorted, in lower case.

    None for ``*``: no other request gets the response.
    """
    if "vary" in rules.ignore:
        return ()
    names = {name.lower() for name in list_members(by_name(fields), b"vary")}
    return None if b"*" in names else tuple(sorted(names))


def variant_key(vary: tuple[bytes, ...], request: CachedRequest) -> bytes:
    """Return what a request has in these fields: never nothing. Requests with the same key get the same variant.

    White space around commas, and lines of one field, make no difference; nor does the order of Accept-Language and
    Accept-Encoding, and their case.
    """
    return _SEPARATOR.join([_normal(name, request.values(name)) for name in vary])


def _normal(name: bytes, lines: Sequence[bytes]) -> bytes:
    if not lines:
        return _MISSING
    value = b",".join(lines)
    if not value:
        return _EMPTY
    if b'"' in value:
        return value.strip()
    members = [member.strip() for member in value.split(b",")]
    return _sorted(members) if name in _LISTS_OF_WEIGHTS else b",".join(members)


def _sorted(members: list[bytes]) -> bytes:
    """Return members with weights in an order that does not depend on theirs; as they are if one is malformed."""
    normal = set()
    for member in members:
        match = _WEIGHTED.fullmatch(member.lower())
        if match is None:
            return b",".join(members)
        weight = float(match["weight"] or 1)
        normal.add(match[1] if weight == 1 else b"%b;q=%.3f" % (match[1], weight))
    return b",".join(sorted(normal))
