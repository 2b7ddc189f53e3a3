"""The header fields of a stored response: what is kept of them, what they become, what is asked with them."""

from __future__ import annotations

from lb.cache.freshness import ServerWord
from lb.cache.header_fields import by_name, list_members
from lb.model import RouteCache
from lb.model.http_dates import http_date
from lb.model.request import HeaderFields

__all__ = ["is_same", "stored_fields", "tags_of", "updated", "validators_of"]

_OF_THE_CONNECTION = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""RFC 9111, section 3.1."""
_OF_THE_BODY = frozenset((b"content-encoding", b"content-length", b"content-range", b"content-type"))
"""What a 304 says of these is not true of the stored body: section 3.2."""


def stored_fields(rules: RouteCache, fields: HeaderFields, responded_at: float) -> HeaderFields:
    """Return the fields that are kept of a response, in their order.

    Left out are those of the connection, Age, which its freshness has, further Dates, and those that ``private`` or
    ``no-cache`` name. Without a Date it gets one (RFC 9110, section 6.6.1): ``responded_at``, in seconds since 1970.
    """
    word = ServerWord.of(rules, fields, responded_at)
    dropped = {b"age", *_OF_THE_CONNECTION, *map(bytes.lower, list_members(word.fields, b"connection"))}
    dropped |= word.control.fields(b"private") | word.control.fields(b"no-cache")
    kept = []
    for field in fields:
        name = field[0].lower()
        if name not in dropped:
            kept.append(field)
            if name == b"date":
                dropped.add(name)
    if b"date" not in dropped:
        kept.append((b"Date", http_date(int(responded_at))))
    return kept


def updated(rules: RouteCache, fields: HeaderFields, new: HeaderFields, responded_at: float) -> HeaderFields:
    """Return stored fields after a 304, or after a HEAD that found the response unchanged: section 3.2.

    The new fields replace those of the same name, but for those that describe the stored body. ``fields`` are what
    :func:`stored_fields` returned.
    """
    added = [field for field in stored_fields(rules, new, responded_at) if field[0].lower() not in _OF_THE_BODY]
    replaced = {name.lower() for name, _ in added}
    return [*(field for field in fields if field[0].lower() not in replaced), *added]


def validators_of(fields: HeaderFields) -> HeaderFields:
    """Return the fields that ask the server whether a response is still the same. Empty if it has no validator."""
    values = by_name(fields)
    asked = []
    if len(values.get(b"etag", ())) == 1:
        asked.append((b"If-None-Match", values[b"etag"][0]))
    if len(values.get(b"last-modified", ())) == 1:
        asked.append((b"If-Modified-Since", values[b"last-modified"][0]))
    return asked


def is_same(fields: HeaderFields, new: HeaderFields) -> bool:
    """Return whether a response to HEAD is of the stored state: section 4.3.5. If not, what is stored is invalid."""
    stored, now = by_name(fields), by_name(new)
    compared = (b"etag", b"last-modified", b"content-length")
    return all(stored[name] == now[name] for name in compared if name in stored and name in now)


def tags_of(fields: HeaderFields) -> tuple[bytes, ...]:
    """Return the tags of a response: the words of Surrogate-Key, and the members of Cache-Tag."""
    values = by_name(fields)
    words = [word for value in values.get(b"surrogate-key", ()) for word in value.split()]
    return tuple(dict.fromkeys([*words, *list_members(values, b"cache-tag")]))
