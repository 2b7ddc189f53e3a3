"""``viewer_secret_file``: who has a link that is valid gets in."""

from __future__ import annotations

import time

from lb.http.steps import ExchangeView
from lb.http.viewer_links import ViewerLinks, problem
from lb.http1.request_head import RequestHead

__all__ = ["ViewerAccess"]

_EVERY_ORIGIN = (b"Access-Control-Allow-Origin", b"*")
"""So that a page of another site can tell its viewer why."""


class ViewerAccess(ViewerLinks):
    """The links of a route, as a step of it. Implements Step."""

    def lets_in(self, head: RequestHead) -> bool:
        """Return whether a request has a link that is valid now."""
        return not problem(head, time.time())

    def begin(self, exchange: ExchangeView) -> bool:
        found = problem(exchange.head, time.time())
        if found:
            exchange.fail(403, "denied", (_EVERY_ORIGIN,), f"The request is refused: {found}.")
        return not found
