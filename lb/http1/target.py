"""The target of a request: its forms, and the path that routes are matched with."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from lb.http1.grammar import MalformedError, is_host

__all__ = ["routing_path", "split_absolute"]

_ABSOLUTE = re.compile(rb"(?i:(https?))://([^/?#]*)(/[^#]*|\?[^#]*)?")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})|%2[Ff]|%00")
"""Not an escape, or one that servers read in different ways."""
_SLASHES = re.compile(rb"/{2,}")
_DEFAULT_PORT = {b"http": b":80", b"https": b":443"}


def split_absolute(target: bytes) -> tuple[bytes, bytes]:
    """Return host (in lower case, without the scheme's own port) and origin-form of ``http://host/path``.

    Raises MalformedError, also for user information (RFC 9110, section 4.2.4).
    """
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not is_host(match[2]):
        raise MalformedError("the target is not a path or a URL")
    scheme, host, path = match[1].lower(), match[2].lower(), match[3] or b"/"
    return host.removesuffix(_DEFAULT_PORT[scheme]), path if path.startswith(b"/") else b"/" + path


def routing_path(target: bytes) -> bytes:
    """Return the path of an origin-form target, decoded, without dot segments and repeated slashes.

    Raises MalformedError for an escape that is none, an encoded slash or NUL, and a path that leaves the root.
    """
    path = target.partition(b"?")[0]
    if b"%" in path:
        if _BAD_ESCAPE.search(path):
            raise MalformedError("the path has an escape that is not allowed")
        path = unquote_to_bytes(path)
    if b"//" in path:
        path = _SLASHES.sub(b"/", path)
    return _without_dots(path) if b"/." in path else path


def _without_dots(path: bytes) -> bytes:
    """Remove ``.`` and ``..`` (RFC 3986, section 5.2.4)."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if not kept:
                raise MalformedError("the path leaves the root")
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
