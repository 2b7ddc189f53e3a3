"""What a shared cache may store, and when it may serve it: RFC 9111, RFC 5861. Pure: times are passed in."""

from __future__ import annotations

import enum

import attrs

from lb.cache.cache_control import CacheControl, cache_control
from lb.cache.cache_key import CachedRequest
from lb.cache.freshness import Freshness, ServerWord, freshness_of
from lb.cache.header_fields import list_members
from lb.cache.stored_fields import updated
from lb.model import RouteCache
from lb.model.request import HeaderFields

__all__ = [
    "Reuse",
    "StoredHead",
    "is_for_one",
    "may_look_up",
    "only_if_cached",
    "reuse",
    "revalidated",
    "serves_stale",
    "storing",
    "wanted",
]

_READS = (b"GET", b"HEAD")
_NEVER_STORED = frozenset((206, 304, 412, 416))
"""Statuses that answer conditions and ranges of one request."""
_UNDERSTOOD = frozenset(
    (*range(200, 206), *range(300, 304), 305, 307, 308, *range(400, 418), 421, 422, 426, *range(500, 506))
)
"""Statuses of RFC 9110, which ask nothing else of a cache: for ``must-understand``."""
_FOR_AUTHORIZED = frozenset((b"public", b"must-revalidate", b"s-maxage"))
_ABSENT = (None, b"", b"0")


class Reuse(enum.Enum):
    """What is done with a stored response."""

    FRESH = "fresh"
    """It is served as it is."""
    STALE_WHILE_UPDATE = "stale"
    """It is served as it is, and the server is asked beside."""
    REVALIDATE = "revalidate"
    """The server is asked first, with the validators if there are any."""


@attrs.frozen
class StoredHead:
    """The head of a stored response."""

    status: int
    fields: HeaderFields
    """As :func:`lb.cache.stored_fields.stored_fields` returned them."""
    freshness: Freshness


def wanted(conditions: tuple[str, ...], request: CachedRequest) -> bool:
    """Return whether one of ``bypass`` or ``no_store`` holds: ``cookie:NAME`` is there, and not empty or 0."""
    for condition in conditions:
        kind, _, name = condition.partition(":")
        ask = {"cookie": request.cookie, "header": request.header, "query": request.query}[kind]
        if ask(name.encode()) not in _ABSENT:
            return True
    return False


def may_look_up(request: CachedRequest) -> bool:
    """Return whether a stored response may answer a request: a GET or HEAD without a body.

    A body is not in the key, so the response to it is for nobody else.
    """
    if request.method not in _READS or request.header(b"transfer-encoding") is not None:
        return False
    return request.header(b"content-length") in (None, b"0")


def only_if_cached(rules: RouteCache, request: CachedRequest) -> bool:
    """Return whether the client would rather have a 504 than wait for the server."""
    return rules.obey_client and b"only-if-cached" in _asked(request)


def _asked(request: CachedRequest) -> CacheControl:
    """Return the directives of a request. Without any, ``Pragma: no-cache`` is one (RFC 9111, section 5.4)."""
    lines = request.values(b"cache-control")
    return cache_control(lines or request.values(b"pragma"))


def storing(
    rules: RouteCache,
    request: CachedRequest,
    status: int,
    fields: HeaderFields,
    requested_at: float,
    responded_at: float,
) -> Freshness | None:
    """Return the freshness of a response to a GET if it may be stored, else None: RFC 9111, section 3.

    A slice of a response (206) is judged as its whole is: with the status 200.
    """
    if request.method != b"GET" or not may_look_up(request) or not _may_store(rules, request):
        return None
    word = ServerWord.of(rules, fields, responded_at)
    if not _is_for_all(word, status) or not _is_for_others(word, request):
        return None
    return freshness_of(rules, status, word, requested_at, responded_at)


def revalidated(
    rules: RouteCache,
    request: CachedRequest,
    stored: StoredHead,
    new: HeaderFields,
    requested_at: float,
    responded_at: float,
) -> StoredHead | None:
    """Return a stored head after a 304 with the fields ``new``, or a HEAD that found it unchanged: section 4.3.4.

    None: the server no longer lets it be stored. What is for one client only changes nothing.
    """
    fields = updated(rules, stored.fields, new, responded_at)
    ages = [field for field in new if field[0].lower() == b"age"]
    word = ServerWord.of(rules, [*fields, *ages], responded_at)
    if not _may_store(rules, request) or not _is_for_others(word, request):
        return stored
    if not _is_for_all(word, stored.status):
        return None
    freshness = freshness_of(rules, stored.status, word, requested_at, responded_at)
    return None if freshness is None else StoredHead(stored.status, fields, freshness)


def is_for_one(rules: RouteCache, request: CachedRequest) -> bool:
    """Return whether the response to a request is probably for its client only, whatever others get."""
    return request.header(b"authorization") is not None or not _may_store(rules, request)


def _may_store(rules: RouteCache, request: CachedRequest) -> bool:
    if rules.no_store and wanted(rules.no_store, request):
        return False
    return not (rules.obey_client and b"no-store" in _asked(request))


def _is_for_all(word: ServerWord, status: int) -> bool:
    """Return whether the server lets a shared cache store its response."""
    if not (200 <= status <= 599) or status in _NEVER_STORED:
        return False
    if b"set-cookie" in word.fields or (b"vary" in word.fields and b"*" in list_members(word.fields, b"vary")):
        return False
    if b"must-understand" in word.control:
        if status not in _UNDERSTOOD:
            return False
    elif b"no-store" in word.control:
        return False
    return not word.control.is_whole(b"private")


def _is_for_others(word: ServerWord, request: CachedRequest) -> bool:
    """Return whether others may have what a client got by its Authorization, if it has one: section 3.5."""
    return request.header(b"authorization") is None or word.control.has_any(_FOR_AUTHORIZED)


def reuse(rules: RouteCache, freshness: Freshness, request: CachedRequest, now: float) -> Reuse:
    """Return what is done with a stored response for a GET or HEAD."""
    if freshness.no_cache:
        return Reuse.REVALIDATE
    if rules.obey_client:
        asked = _asked(request)
        if _is_refused(asked, freshness, now):
            return Reuse.REVALIDATE
        if _is_accepted_stale(asked, freshness, now):
            return Reuse.FRESH
    if freshness.is_fresh(now):
        return Reuse.FRESH
    if rules.background_update and serves_stale(rules, freshness, "updating", now):
        return Reuse.STALE_WHILE_UPDATE
    return Reuse.REVALIDATE


def _is_refused(asked: CacheControl, freshness: Freshness, now: float) -> bool:
    """Return whether a client wants something newer: RFC 9111, section 5.2.1."""
    if b"no-cache" in asked:
        return True
    max_age, min_fresh = asked.seconds(b"max-age"), asked.seconds(b"min-fresh")
    if max_age is not None and freshness.age(now) > max_age:
        return True
    return min_fresh is not None and freshness.time_left(now) < min_fresh


def _is_accepted_stale(asked: CacheControl, freshness: Freshness, now: float) -> bool:
    """Return whether ``max-stale`` allows it, with a time or without."""
    if freshness.must_revalidate or b"max-stale" not in asked:
        return False
    most = asked.seconds(b"max-stale") if asked.has_argument(b"max-stale") else None
    return most is None or -freshness.time_left(now) <= most


def serves_stale(rules: RouteCache, freshness: Freshness, failure: str, now: float) -> bool:
    """Return whether a stored response is served in place of a failure, one of ``use_stale``.

    What the server said counts: ``stale-while-revalidate`` for ``updating``, ``stale-if-error`` for errors and
    ``http_5xx``, and whatever forbids it. Else the route decides.
    """
    window = freshness.stale_while_revalidate if failure == "updating" else freshness.stale_if_error
    if freshness.no_cache:
        return False
    if window is None or (window > 0 and failure.startswith("http_4")):
        return failure in rules.use_stale
    return -freshness.time_left(now) <= window
