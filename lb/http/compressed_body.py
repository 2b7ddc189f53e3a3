"""The body of a response that is compressed on its way: from the server's framing into the client's."""

from __future__ import annotations

from collections.abc import Callable

from lb.http.encoders import Encoder
from lb.http1.coding import PlainCoding, chunk

__all__ = ["CompressedCoding"]


class CompressedCoding:
    """Implements :class:`lb.http.flow.Coding`. Trailers are dropped.

    ``decodes``: the server sends the body in chunks; ``encodes``: the client gets chunks. ``resume`` gets what a thread
    has compressed, while :attr:`paused` has just become false: write it, and pump the flow.
    """

    def __init__(self, encoder: Encoder, resume: Callable[[bytes], None], *, decodes: bool, encodes: bool) -> None:
        self._encoder = encoder
        self._resume = resume
        self._plain = PlainCoding() if decodes else None
        self._encodes = encodes

    @property
    def paused(self) -> bool:
        """A thread is at work: feed nothing, and do not finish."""
        return self._encoder.paused

    def feed(self, data: bytes) -> bytes:
        """Return what came, encoded; nothing if it is for a thread."""
        plain = data if self._plain is None else self._plain.feed(data)
        if self._encoder.is_quick(len(plain)):
            return self._framed(self._encoder.feed(plain))
        self._encoder.feed_later(plain, self._encoded)
        return b""

    def _encoded(self, data: bytes) -> None:
        self._resume(self._framed(data))

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self._encodes else data

    def finish(self) -> bytes:
        rest = self._framed(self._encoder.finish())
        return b"%s0\r\n\r\n" % rest if self._encodes else rest
