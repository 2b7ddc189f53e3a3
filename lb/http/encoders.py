"""Encoders of content codings: zstd (RFC 8878), br (RFC 7932) and gzip (RFC 1952), for bodies that pass through.

Imported when a route compresses: the libraries take memory and time.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import brotli
import zstandard

from lb.net.threads import Threads

__all__ = ["QUICK_TOTAL", "Encoder", "Spawn"]

QUICK_TOTAL = 64 * 1024
"""Bytes of a body that are encoded in the event loop: one or two milliseconds in all. Most texts have no more."""
QUICK_PIECE = 2 * 1024
"""Bytes of a piece that is encoded there in any case. A thread for it costs more than the work."""
MAX_THREADS = 4
"""Pieces in work at a time in a process. A guess: the rest of the CPUs is for other workers."""

_Spawned: TypeAlias = Callable[[bytes, Callable[[bytes], None]], Awaitable[object]]
_Feed: TypeAlias = Callable[[bytes], bytes]
_Finish: TypeAlias = Callable[[], bytes]

_threads = Threads(MAX_THREADS)


class Spawn(Protocol):
    """Runs a task that is cancelled when the request ends."""

    def __call__(self, async_fn: _Spawned, data: bytes, done: Callable[[bytes], None], /) -> None: ...


class Encoder:
    """Encodes the body of one response. Of each piece that comes in, all goes out at once.

    It holds no piece but the one in work. Its memory is 0.3 (gzip), 0.45 (zstd) or 0.8 MB (br).
    """

    def __init__(self, coding: bytes, spawn: Spawn) -> None:
        self._feed, self._finish = _CODINGS[coding]()
        self._spawn = spawn
        self._quick_left = QUICK_TOTAL
        self.paused = False
        """A piece is in work elsewhere: feed nothing, and do not finish, until it is done."""

    def is_quick(self, size: int) -> bool:
        """Return True if a piece of so many bytes is for :meth:`feed`, False if it is for :meth:`feed_later`."""
        return size <= QUICK_PIECE or size <= self._quick_left

    def feed(self, data: bytes) -> bytes:
        """Return the encoded bytes of a piece."""
        self._quick_left -= len(data)
        return self._feed(data) if data else b""

    def feed_later(self, data: bytes, done: Callable[[bytes], None]) -> None:
        """Encode a piece in a thread. ``done`` gets the encoded bytes, unless the request ends before."""
        self.paused = True
        self._spawn(self._feed_in_thread, data, done)

    async def _feed_in_thread(self, data: bytes, done: Callable[[bytes], None]) -> None:
        encoded = await _threads.run(self.feed, data)
        self.paused = False
        done(encoded)

    def finish(self) -> bytes:
        """Return the end of the body. Quick: no piece is left."""
        return self._finish()


def _gzip() -> tuple[_Feed, _Finish]:
    """Level 5 takes three quarters of the time of level 6, the usual one, and makes 2% more bytes."""
    encoder = zlib.compressobj(5, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return lambda data: encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH), encoder.flush


def _br() -> tuple[_Feed, _Finish]:
    """Quality 5 takes 1.5 times as long. A window above 64 KiB takes half a megabyte more. Each saves a few percent."""
    encoder = brotli.Compressor(quality=4, lgwin=16)
    return lambda data: encoder.process(data) + encoder.flush(), encoder.finish


_ZSTD = zstandard.ZstdCompressionParameters.from_level(3, window_log=17, hash_log=14, chain_log=14)
"""A third of the memory of level 3 as it is, less time, as the tables stay in the CPU's cache, and 4% more bytes."""


def _zstd() -> tuple[_Feed, _Finish]:
    encoder = zstandard.ZstdCompressor(compression_params=_ZSTD).compressobj()
    return (
        lambda data: encoder.compress(data) + encoder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK),
        lambda: encoder.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH),
    )


_CODINGS: dict[bytes, Callable[[], tuple[_Feed, _Finish]]] = {b"gzip": _gzip, b"br": _br, b"zstd": _zstd}
