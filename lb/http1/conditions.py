"""Conditional requests (RFC 9110, section 13): is the representation still what the client has, or expects?"""

from __future__ import annotations

from typing import Literal

import attrs

from lb.http1.field import CONDITION
from lb.http1.field_block import FieldBlock
from lb.model.http_dates import parse_date

__all__ = ["NO_VALIDATORS", "Validators", "is_unmodified", "may_use_range", "precondition"]

_WEAK = b"W/"
_ANY = b"*"
_READS = (b"GET", b"HEAD")


@attrs.frozen
class Validators:
    """What tells one state of a representation from another."""

    etag: bytes | None = None
    """As in the field: ``"x"``, or ``W/"x"`` if it is weak."""
    modified: int | None = None
    """Last-Modified, in seconds since 1970."""


NO_VALIDATORS = Validators()


def precondition(method: bytes, block: FieldBlock, current: Validators, now: float) -> Literal[304, 412] | None:
    """Return the status that answers the request in place of what it asks for; None: it goes on.

    For a request that would get a 2xx otherwise, as its target exists (section 13.2.1). ``now`` is the time in seconds
    since 1970.
    """
    if not block.meanings & CONDITION:
        return None
    if not _is_expected(block, current, now):
        return 412
    if method in _READS:
        return 304 if is_unmodified(block, current, now) else None
    tags = block.conditions.get(b"if-none-match")
    return 412 if tags and _matches_weakly(tags, current.etag) else None


def _is_expected(block: FieldBlock, current: Validators, now: float) -> bool:
    """Evaluate If-Match, or without it If-Unmodified-Since."""
    tags = block.conditions.get(b"if-match")
    if tags:
        return _is_any(tags) or (_is_strong(current.etag) and current.etag in _tags(tags))
    since = _date(block, b"if-unmodified-since", now)
    return since is None or current.modified is None or current.modified <= since


def is_unmodified(block: FieldBlock, current: Validators, now: float) -> bool:
    """Evaluate If-None-Match, or without it If-Modified-Since, of a GET or HEAD. True: answer with 304.

    This is all of a precondition that a cache evaluates (RFC 9111, section 4.3.2).
    """
    tags = block.conditions.get(b"if-none-match")
    if tags:
        return _matches_weakly(tags, current.etag)
    since = _date(block, b"if-modified-since", now)
    return since is not None and current.modified is not None and current.modified <= since


def may_use_range(block: FieldBlock, current: Validators, now: float) -> bool:
    """Evaluate If-Range. False: the client's part is of another state, so it gets the whole representation."""
    values = block.conditions.get(b"if-range")
    if not values:
        return True
    if len(values) > 1:
        return False
    if values[0].startswith((b'"', _WEAK)):
        return _is_strong(current.etag) and values[0] == current.etag
    date = parse_date(values[0], now)
    return date is not None and date == current.modified


def _date(block: FieldBlock, name: bytes, now: float) -> int | None:
    """Return the time of a field; None if it is missing, there twice, or no date: it is ignored then."""
    values = block.conditions.get(name)
    return parse_date(values[0], now) if values and len(values) == 1 else None


def _is_strong(etag: bytes | None) -> bool:
    return etag is not None and not etag.startswith(_WEAK)


def _is_any(values: list[bytes]) -> bool:
    return values == [_ANY]


def _matches_weakly(values: list[bytes], etag: bytes | None) -> bool:
    """Return True if the lists name this tag, weak or not (section 8.8.3.2), or any."""
    if _is_any(values) or values == [etag]:  # what most clients send
        return True
    return etag is not None and etag.removeprefix(_WEAK) in {tag.removeprefix(_WEAK) for tag in _tags(values)}


def _tags(values: list[bytes]) -> set[bytes]:
    """Return the tags of lists of tags. A list that is malformed has none, so it matches nothing."""
    pieces = b",".join(values).split(b'"')
    if len(pieces) % 2 == 0:
        return set()
    tags = set()
    for at in range(1, len(pieces), 2):
        before = pieces[at - 1]
        weak = before.endswith(_WEAK)
        if not _separates(before.removesuffix(_WEAK), first=at == 1):
            return set()
        tags.add((_WEAK if weak else b"") + b'"' + pieces[at] + b'"')
    return tags if _separates(pieces[-1] + b",", first=False) else set()


def _separates(text: bytes, *, first: bool) -> bool:
    return not text.translate(None, b", \t") and (first or b"," in text)
