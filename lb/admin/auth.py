"""Authorization of requests: the token, and protection against requests that other web pages make browsers send."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

from lb.admin.page_files import PAGE_FILES

__all__ = ["Refusal", "refusal"]

OPEN_TO_ALL = "/healthz"
SAFE = ("GET", "HEAD", "OPTIONS")


class Refusal(NamedTuple):
    """A refusal as an HTTP response."""

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


def refusal(method: str, path: str, headers: Mapping[str, str], token: str) -> Refusal | None:
    """Return None if the request is allowed. ``headers`` have lower-case names. Empty ``token`` = none needed.

    A web page of a third party can make a browser send requests to the endpoint. With a name that resolves to the
    endpoint's address (DNS rebinding): so without a token, Host must be an address or ``localhost``; with one, the
    browser does not know it under that name. Or directly (cross-site request forgery): so requests that such a page has
    caused are refused, except for the dashboard itself, which links may open.
    """
    if path == OPEN_TO_ALL:
        return None
    if token:
        if not _has_token(headers.get("authorization", ""), token):
            return Refusal(
                401, "a token is required", (("WWW-Authenticate", 'Basic realm="trio-lb", charset="UTF-8"'),)
            )
    elif not _is_local_name(headers.get("host", "")):
        return Refusal(421, "without a configured token, the Host header must be an address or localhost")
    if method not in SAFE:
        foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none") or _is_foreign(headers)
    else:
        foreign = path not in PAGE_FILES and _is_foreign(headers)
    return Refusal(403, "cross-site request refused") if foreign else None


def _has_token(authorization: str, token: str) -> bool:
    """Check ``Bearer TOKEN``, or ``Basic`` with the token as password (browsers prompt for it). In constant time."""
    scheme, _, credentials = authorization.partition(" ")
    shown = b""
    if scheme.lower() == "bearer":
        shown = credentials.strip().encode("latin-1")  # the encoding that the header was decoded with
    elif scheme.lower() == "basic":
        try:
            shown = base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
        except ValueError:  # not base64, or not even ASCII
            return False
    return hmac.compare_digest(shown, token.encode())


def _is_local_name(host: str) -> bool:
    """Return whether Host is an address, ``localhost`` or empty (Unix clients): not a name that others control."""
    if host.partition(":")[0] in ("", "localhost"):
        return True
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_foreign(headers: Mapping[str, str]) -> bool:
    """Return True if a page of another site caused the request. Browsers say so; programs send none of these.

    Sec-Fetch-Site comes with requests to https and to this machine only. Origin comes with those that may change or
    read something, and Referer with the others, unless that page forbids it.
    """
    if headers.get("sec-fetch-site") == "cross-site":
        return True
    host = headers.get("host", "")
    return any(
        name in headers and headers[name].partition("://")[2].partition("/")[0] != host
        for name in ("origin", "referer")
    )
