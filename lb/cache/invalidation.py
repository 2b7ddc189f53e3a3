"""What an unsafe request makes invalid: its own URI, and those that its response names (RFC 9111, section 4.4)."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from lb.cache.cache_key import CachedRequest
from lb.cache.header_fields import by_name
from lb.model.request import HeaderFields

__all__ = ["also_invalidated", "invalidates"]

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PROPFIND", b"REPORT", b"SEARCH"))
"""Methods that are registered as safe. An unknown one may have changed something."""


def invalidates(method: bytes, status: int) -> bool:
    """Return whether a response means that what is stored for the request's URI is no longer valid."""
    return method not in _SAFE and 200 <= status < 400


def also_invalidated(scheme: bytes, request: CachedRequest, fields: HeaderFields) -> tuple[bytes, ...]:
    """Return further URIs of the same host that are no longer valid: path and query of Location and Content-Location.

    Those of other hosts are left out: a server may not empty the cache of others.
    """
    values = by_name(fields)
    named = [value for name in (b"location", b"content-location") for value in values.get(name, ())]
    return tuple(dict.fromkeys(uri for value in named if (uri := _same_host(scheme, request, value))))


def _same_host(scheme: bytes, request: CachedRequest, value: bytes) -> bytes:
    """Return path and query of a reference; empty if it is to another host or none."""
    try:
        found = urlsplit(urljoin(b"%b://%b%b" % (scheme, request.host, request.uri), value))
    except ValueError:
        return b""
    if found.scheme != scheme or found.netloc.lower() != request.host:
        return b""
    path = found.path or b"/"
    return path + b"?" + found.query if found.query else path
