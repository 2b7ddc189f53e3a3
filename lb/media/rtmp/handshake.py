"""The handshake: the peers exchange blocks of noise, plain ("simple") or signed ("digest", as the Flash Player did).

A client's signed block is answered with signed ones, for some clients insist on them; all else is echoed. Nobody is
proven to be anybody by that: the keys are public.
"""

from __future__ import annotations

import hmac

import attrs

from lb.media.rtmp.errors import ProtocolError

__all__ = ["NOISE_BYTES", "RtmpClientHandshake", "RtmpHandshake", "RtmpServerHandshake"]

NOISE_BYTES = 1528
_VERSION = b"\x03"
_BLOCK = 1536
_OPENING = len(_VERSION) + _BLOCK
_DIGEST = 32
_SCHEMES = (8, 772)
"""Where in a block the four bytes stand whose sum tells the place of its digest."""
_SERVER_KEY = b"Genuine Adobe Flash Media Server 001"
_CLIENT_KEY = b"Genuine Adobe Flash Player 001"
_REPLY_KEY_END = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
"""Stands behind the keys where they sign a reply."""
_SERVER_VERSION = b"\x04\x05\x00\x01"
_CLIENT_VERSION = b"\x09\x00\x7c\x02"


class RtmpHandshake:
    """One side of a handshake. ``noise``: random bytes, ``NOISE_BYTES`` of them."""

    def __init__(self, noise: bytes) -> None:
        self._noise = noise
        self._buffer = bytearray()
        self._opened = False
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the peer, return what to send to it. Raises ProtocolError."""
        self._buffer += data
        if not self._opened and self._buffer and self._buffer[:1] != _VERSION:
            raise ProtocolError("the first byte is not that of RTMP", "handshake")
        answer = b""
        if not self._opened and len(self._buffer) >= _OPENING:
            answer = self._answer(_take(self._buffer, _OPENING)[len(_VERSION) :])
            self._opened = True
        if self._opened and not self.done and len(self._buffer) >= _BLOCK:
            _take(self._buffer, _BLOCK)
            self.done = True
        return answer

    def leftover(self) -> bytes:
        """Return what the peer has sent behind the handshake, once."""
        return _take(self._buffer, len(self._buffer))

    def _answer(self, block: bytes) -> bytes:
        raise NotImplementedError


class RtmpServerHandshake(RtmpHandshake):
    """The server's side."""

    def _answer(self, block: bytes) -> bytes:
        signature = _find_signature(block, _CLIENT_KEY)
        if signature is None:
            return _VERSION + bytes(8) + self._noise + block
        own = _sign(bytes(4) + _SERVER_VERSION + self._noise, signature.scheme, _SERVER_KEY)
        return _VERSION + own + _signed_reply(self._noise, signature.digest, _SERVER_KEY)


class RtmpClientHandshake(RtmpHandshake):
    """The client's side, with a signed block."""

    def opening(self) -> bytes:
        """Return what to send first."""
        return _VERSION + _sign(bytes(4) + _CLIENT_VERSION + self._noise, _SCHEMES[0], _CLIENT_KEY)

    def _answer(self, block: bytes) -> bytes:
        signature = _find_signature(block, _SERVER_KEY)
        return block if signature is None else _signed_reply(self._noise, signature.digest, _CLIENT_KEY)


@attrs.frozen
class _Signature:
    scheme: int
    digest: bytes


def _take(buffer: bytearray, size: int) -> bytes:
    taken = bytes(buffer[:size])
    del buffer[:size]
    return taken


def _find_signature(block: bytes, key: bytes) -> _Signature | None:
    """Return the valid signature of a block."""
    for scheme in _SCHEMES:
        place = _digest_place(block, scheme)
        digest = block[place : place + _DIGEST]
        if hmac.compare_digest(digest, _digest(block, place, key)):
            return _Signature(scheme, digest)
    return None


def _sign(block: bytes, scheme: int, key: bytes) -> bytes:
    place = _digest_place(block, scheme)
    return block[:place] + _digest(block, place, key) + block[place + _DIGEST :]


def _digest_place(block: bytes, scheme: int) -> int:
    return sum(block[scheme : scheme + 4]) % 728 + scheme + 4


def _digest(block: bytes, place: int, key: bytes) -> bytes:
    return hmac.digest(key, block[:place] + block[place + _DIGEST :], "sha256")


def _signed_reply(noise: bytes, digest: bytes, key: bytes) -> bytes:
    """Return a block of noise that ends with a digest; its key comes from the digest of the other's block."""
    start = noise[: _BLOCK - _DIGEST]
    return start + hmac.digest(hmac.digest(key + _REPLY_KEY_END, digest, "sha256"), start, "sha256")
