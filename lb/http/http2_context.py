"""What the HTTP/2 connections of a listener share."""

from __future__ import annotations

import math

from lb.events import Http2Flood
from lb.http.frontend import HttpFrontend
from lb.http.http2_heads import HTTP2_VERSIONS
from lb.http1.request_head import RequestHeads
from lb.http2.hpack_reader import FieldSections
from lb.http2.limits import Http2Limits
from lb.model.address import Client
from lb.relay.epoll_loop import BUFFER

__all__ = ["Http2Context"]

_ANSWER_TIME = 5.0
"""Seconds in which a client has to answer that it knows of a drain. Until then, streams that it opens are served."""
_SILENT_FOR = 60.0
"""Seconds after a report of a flood in which there is no other of the listener."""


class Http2Context:
    """What applies to their new requests."""

    heads: RequestHeads
    sections: FieldSections
    """What was read before. What is kept in a section depends on the configuration, so a new one begins with none."""
    limits: Http2Limits
    """Of new connections."""

    def __init__(self, frontend: HttpFrontend) -> None:
        self.frontend = frontend
        self.drain_queue = frontend.context.deadlines.queue("drain", _ANSWER_TIME)
        self._floods = 0
        self._silent_until = -math.inf

    def configure(self, heads: RequestHeads, max_header: int) -> None:
        heads.versions = HTTP2_VERSIONS
        self.heads, self.sections = heads, FieldSections()
        self.limits = Http2Limits(max_header_list=max_header, max_output=BUFFER, extended_connect=True)

    def flooded(self, client: Client, problem: str) -> None:
        """A connection was ended, as its client did too much that brings nothing: report them, not each."""
        self._floods += 1
        context = self.frontend.context
        now = context.clock()
        if now >= self._silent_until:
            context.sink(Http2Flood(self.frontend.name, client, problem, self._floods))
            self._floods = 0
            self._silent_until = now + _SILENT_FOR
