"""``strip_prefix`` and ``add_prefix``: the target of a request, as its server gets it. Pure."""

from __future__ import annotations

from urllib.parse import quote

from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead
from lb.http1.target import routing_path
from lb.model import RouteSpec

__all__ = ["TargetChange"]

_SAFE = "/!$&'()*+,;=:@-._~"
"""Characters of a path that stay as they are: RFC 3986, section 3.3."""


class TargetChange:
    """The change of the targets of a route's requests."""

    def __init__(self, spec: RouteSpec) -> None:
        self._strip, self._add = spec.strip_prefix.encode(), spec.add_prefix.encode().removesuffix(b"/")

    def target(self, head: RequestHead) -> bytes:
        """Return the target that the server gets. A target that is no path, as of OPTIONS, stays."""
        target = head.target
        if not (self._strip or self._add) or not target.startswith(b"/"):
            return target
        path, mark, query = target.partition(b"?")
        return self._add + (self._stripped(path, head) if self._strip else path) + mark + query

    def _stripped(self, path: bytes, head: RequestHead) -> bytes:
        """Return the path without the prefix: as sent, if what is left of it means the same."""
        prefix, whole = self._strip, head.path
        if not _begins(whole, prefix):
            return path
        rest = whole[len(prefix) :] or b"/"
        sent = path[len(prefix) :] or b"/"
        if _begins(path, prefix) and (sent == rest or _means(sent, rest)):
            return sent
        return quote(rest, _SAFE).encode()


def _begins(path: bytes, prefix: bytes) -> bool:
    """Return True if a path begins with a prefix that ends at a segment's end."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/")


def _means(sent: bytes, path: bytes) -> bool:
    """Return True if a server understands what is sent as this path: it may hold dot segments that leave the prefix."""
    try:
        return routing_path(sent) == path
    except MalformedError:
        return False
