"""The body of a response that is compressed on its way: decoded from the server's framing, and sent in chunks."""

from __future__ import annotations

from collections.abc import Callable

from lb.http.encoders import Encoder
from lb.http1.coding import PlainCoding, chunk

__all__ = ["CompressedCoding"]


class CompressedCoding:
    """Implements :class:`lb.http.flow.Coding`. Trailers are dropped.

    ``chunked`` says how the server frames the body. ``resume`` gets what a thread has compressed, while :attr:`paused`
    has just become false: write it, and pump the flow.
    """

    def __init__(self, encoder: Encoder, resume: Callable[[bytes], None], *, chunked: bool) -> None:
        self._encoder = encoder
        self._resume = resume
        self._plain = PlainCoding() if chunked else None

    @property
    def paused(self) -> bool:
        """A thread is at work: feed nothing, and do not finish."""
        return self._encoder.paused

    def feed(self, data: bytes) -> bytes:
        """Return the chunk of what came; nothing if it is for a thread."""
        plain = data if self._plain is None else self._plain.feed(data)
        if self._encoder.is_quick(len(plain)):
            return chunk(self._encoder.feed(plain))
        self._encoder.feed_later(plain, self._encoded)
        return b""

    def _encoded(self, data: bytes) -> None:
        self._resume(chunk(data))

    def finish(self) -> bytes:
        return b"%s0\r\n\r\n" % chunk(self._encoder.finish())
