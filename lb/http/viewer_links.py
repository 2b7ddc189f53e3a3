"""Links for viewers: ``/~<expires>.<hmac>`` before the path of a route that has a ``viewer_secret_file``.

The part is taken off the target before anything else sees it: routes, keys of a cache, servers, records. As lists of
segments name them relatively, a player keeps it for all that it asks for. What differs from link to link is little: the
heads of all links share what was read of the rest.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from contextlib import suppress

from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead, RequestHeads
from lb.model import Secret
from lb.model.viewer_link import link_signature

__all__ = ["LinkedHeads", "ViewerLinks", "problem"]

_LINK = re.compile(rb"([A-Z_-]+ (?:(?i:https?)://[^/?# \r]*)?)/(?:~|%7[Ee])([^/?# \r]*)(?=/(?!~|%7[Ee]))")
"""The begin of a head with a link. What is left begins with no other one, or a cache of another worker would take that
off, too."""
_SIGNED = re.compile(rb"([0-9]{1,12})\.([0-9A-Fa-f]{64})")


class ViewerLinks:
    """The links of a route: what makes them right."""

    def __init__(self, secret: Secret, path: str) -> None:
        self._secret = secret
        self._path = path.encode()

    def valid_until(self, link: bytes) -> float:
        """Return when a link ends, in seconds since 1970; 0 if it is none of this route."""
        match = _SIGNED.fullmatch(link)
        if match is None:
            return 0.0
        expires, given = match.groups()
        right = link_signature(self._secret, expires, self._path).encode()
        return float(expires) if hmac.compare_digest(right, given.lower()) else 0.0


def problem(head: RequestHead, now: float) -> str:
    """Return why a request is not let in; empty if it is. ``now`` is in seconds since 1970."""
    until = head.link_until
    if until is None:
        return "it has no link for viewers"
    if not until:
        return "its link for viewers is not valid"
    return "" if now <= until else "its link for viewers has expired"


class LinkedHeads(RequestHeads):
    """Heads of a listener with such routes.

    ``links_of`` returns those of the route that a head is for, None if it needs none. It may raise MalformedError.
    """

    def __init__(self, links_of: Callable[[RequestHead], ViewerLinks | None]) -> None:
        super().__init__()
        self._links_of = links_of

    def _parse(self, data: bytes) -> RequestHead:
        match = _LINK.match(data)
        if match is not None:
            head = self._look_up(match[1] + data[match.end() :], super()._parse)
            with suppress(MalformedError):  # of the path without the link: then it has none, and is refused as it came
                links = self._links_of(head)
                if links is not None:
                    return head.with_link(links.valid_until(match[2]))
        return super()._parse(data)
