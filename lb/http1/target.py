"""The target of a request: its forms, and the path that routes are matched with."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from lb.http1.grammar import MalformedError, is_host

__all__ = ["query_value", "routing_path", "split_absolute", "without_signature"]

_ABSOLUTE = re.compile(rb"(?i:(https?))://([^/?#]*)(/[^#]*)?")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})|%2[Ff]|%00")
"""Not an escape, or one that servers read in different ways."""
_SLASHES = re.compile(rb"/{2,}")
_SIGNATURE = re.compile(rb"(?<=/)(?:~|%7[Ee])[0-9]+\.[0-9A-Fa-f]{32,}(?=/|\Z)")
_PERCENT, _DOT = b"%."
_DEFAULT_PORT = {b"http": b":80", b"https": b":443"}


def split_absolute(target: bytes, named: bytes = b"", empty: bytes = b"/") -> tuple[bytes, bytes]:
    """Return host (in lower case, without the scheme's own port) and origin-form of ``http://host/path``.

    ``named`` is what Host says, in lower case, if there is one; ``empty`` stands for a target without a path.
    Raises MalformedError, also for user information (RFC 9110, section 4.2.4), and if Host says something else.
    """
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not is_host(match[2]):
        raise MalformedError("the target is not a path or a URL")
    port = _DEFAULT_PORT[match[1].lower()]
    host = _without_port(match[2].lower(), port)
    if named and _without_port(named, port) != host:
        raise MalformedError("Host is not the target's")
    return host, match[3] or empty


def _without_port(host: bytes, port: bytes) -> bytes:
    return host.removesuffix(port).removesuffix(b":")


def routing_path(target: bytes) -> bytes:
    """Return the path of an origin-form target, decoded, without dot segments and repeated slashes.

    Raises MalformedError for an escape that is none, an encoded slash or NUL, and a path that leaves the root.
    """
    path = target.partition(b"?")[0]
    if _PERCENT in path:  # a number: CPython looks for bytes in bytes by way of an exception
        if _BAD_ESCAPE.search(path):
            raise MalformedError("the path has an escape that is not allowed")
        path = unquote_to_bytes(path)
    if _DOT in path and b"/." in path:
        path = _without_dots(path)
    return _SLASHES.sub(b"/", path) if path.partition(b"//")[1] else path


def _without_dots(path: bytes) -> bytes:
    """Remove ``.`` and ``..`` (RFC 3986, section 5.2.4).

    Raises MalformedError where servers differ: some merge slashes before, and some see ``..`` in ``..;a=b``.
    """
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if not kept:
                raise MalformedError("the path leaves the root")
            if not kept.pop():
                raise MalformedError("dot segments after an empty segment")
        elif segment.partition(b";")[0] in (b".", b"..") and segment != b".":
            raise MalformedError("a dot segment has parameters")
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def without_signature(path: bytes) -> bytes:
    """Return a path to be shown: of a viewer's link that no route has taken off, it has ``~...``."""
    return _SIGNATURE.sub(b"~...", path)


def query_value(target: bytes, name: bytes) -> bytes | None:
    """Return the value of the first parameter of this name in the query; empty without ``=``, None if there is none.

    Names are compared decoded. A plus sign stays one: it means a space in forms only.
    """
    for parameter in target.partition(b"?")[2].split(b"&"):
        key, _, value = parameter.partition(b"=")
        if key == name or (b"%" in key and unquote_to_bytes(key) == name):
            return unquote_to_bytes(value)
    return None
