"""Who may ask: the token, and what browsers may be made to do by other people's pages."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Refusal", "refusal"]

OPEN_TO_ALL = "/healthz"
API = "/api/"
SAFE = ("GET", "HEAD", "OPTIONS")


class Refusal(NamedTuple):
    """Why not, as HTTP has it."""

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


def refusal(method: str, path: str, headers: Mapping[str, str], token: str) -> Refusal | None:
    """None if the request may be answered. ``headers`` have names in lower case; ``token`` empty = nobody needs one.

    A page of somebody else's can make a browser send requests to us: under a name that it has pointed at our address
    (DNS rebinding), so without a token only addresses and ``localhost`` count as our name; or straight at us
    (cross-site request forgery), so what changes state must not come from another origin, and what takes work to answer
    not from another site. The dashboard itself may be linked from anywhere.
    """
    if path == OPEN_TO_ALL:
        return None
    if token:
        if not _shows(headers.get("authorization", ""), token):
            return Refusal(401, "a token is needed", (("WWW-Authenticate", 'Basic realm="trio-lb", charset="UTF-8"'),))
    elif not _is_ours(headers.get("host", "")):
        return Refusal(421, "ask by address or as localhost, or configure a token")
    if method not in SAFE and not _same_origin(headers):
        return Refusal(403, "a request from another site")
    if path.startswith(API) and headers.get("sec-fetch-site") == "cross-site":
        return Refusal(403, "a request from another site")
    return None


def _shows(authorization: str, token: str) -> bool:
    """``Bearer TOKEN``, or for browsers, which ask the user, ``Basic`` with it as the password. In constant time."""
    scheme, _, credentials = authorization.partition(" ")
    shown = b""
    if scheme.lower() == "bearer":
        shown = credentials.strip().encode("latin-1")  # as the header was read
    elif scheme.lower() == "basic":
        try:
            shown = base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
        except ValueError:  # not base64, or not even ASCII
            return False
    return hmac.compare_digest(shown, token.encode())


def _is_ours(host: str) -> bool:
    """An address, or ``localhost``: no name that somebody else can point here. Unix clients may send none."""
    if host.partition(":")[0] in ("", "localhost"):
        return True
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(headers: Mapping[str, str]) -> bool:
    """Browsers send at least one of the two with what a page of another site has made; other clients send neither."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")
