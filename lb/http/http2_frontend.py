"""HTTP/2 towards the clients of a listener."""

from __future__ import annotations

from lb.http.http2_client import Http2Client
from lb.http.http2_context import Http2Context
from lb.http.http2_support import FirstConnection

__all__ = ["Http2Frontend"]


class Http2Frontend(Http2Context):
    """Implements :class:`lb.http.http2_support.Http2Support`."""

    def take_over(self, first: FirstConnection, begun: bytes = b"") -> None:
        Http2Client(first, self, begun)
