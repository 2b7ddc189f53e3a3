"""A request and its response, derived from the request's number, so that both ends can check every byte."""

from __future__ import annotations

import hashlib
import random
import re
from typing import NamedTuple

__all__ = ["DIGEST", "FOREIGN", "FRAMINGS", "HTTP_VERSION", "NUMBER", "Ask", "number_in"]

FRAMINGS = ("length", "chunked", "close")
"""How the server frames its response."""
HTTP_VERSION = b" HTTP/1.1"
NUMBER, DIGEST = b"X-Number", b"X-Digest"
"""Fields of each response of a server: the number of its request, and the digest of the body that it has got."""
ASKED = re.compile(rb"/[^/]*/([0-9]{1,9})/([0-9]{1,9})/([0-9]{1,9})/([a-z]+)(?:\?.*)?")
"""The targets of requests."""
FOREIGN = -1
CHUNKS = (1, 9_000)
"""Minimum and maximum bytes of a chunk."""
WORDS = ("a", "videos", "%41b", "x.y", "a;b=c", "~u")
"""First segments of paths."""


def number_in(path: str) -> int:
    """Return the number of the request with this path; FOREIGN if no client of the ledger has made it."""
    match = ASKED.fullmatch(path.encode())
    return FOREIGN if match is None else int(match[1])


class Ask(NamedTuple):
    """A request with ``up`` bytes of body, and its response with ``down`` bytes."""

    number: int
    method: str
    up: int = 0
    down: int = 1
    framing: str = "length"
    chunked: bool = False
    """The request's body is chunked."""

    @classmethod
    def of(cls, method: bytes, target: bytes) -> Ask:
        """Parse the request line, as the server gets it. A foreign one gets a short response."""
        match = ASKED.fullmatch(target)
        if match is None:
            return cls(FOREIGN, method.decode())
        number, up, down = (int(match[group]) for group in (1, 2, 3))
        return cls(number, method.decode(), up, down, match[4].decode())

    @property
    def is_foreign(self) -> bool:
        """True for a request that no client of the ledger has made."""
        return self.number == FOREIGN

    @property
    def target(self) -> bytes:
        rng = random.Random(self.number)
        query = rng.choice(("", "?", "?q=%2f&r", f"?{rng.random()}"))
        return f"/{rng.choice(WORDS)}/{self.number}/{self.up}/{self.down}/{self.framing}{query}".encode()

    @property
    def upload(self) -> bytes:
        return self._bytes("ask", self.up)

    @property
    def download(self) -> bytes:
        return self._bytes("answer", self.down)

    def _bytes(self, direction: str, count: int) -> bytes:
        return hashlib.shake_128(f"{self.number} {direction}".encode()).digest(count)

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.upload).hexdigest().encode()

    def request(self, *, close: bool) -> bytes:
        """Return all bytes of the request."""
        fields = [b"Host: chaos.example", b"User-Agent: chaos"]
        fields += [b"Connection: close"] * close
        body = self.upload
        if self.chunked:
            fields.append(b"Transfer-Encoding: chunked")
            body = b"".join(chunks(random.Random(self.number), body))
        elif body or self.method == "POST":
            fields.append(b"Content-Length: %d" % len(body))
        return (
            self.method.encode()
            + b" "
            + self.target
            + HTTP_VERSION
            + b"\r\n"
            + b"\r\n".join(fields)
            + b"\r\n\r\n"
            + body
        )

    def response(self) -> tuple[bytes, bytes]:
        """Return head and body of the server's response."""
        fields = [NUMBER + b": %d" % self.number, DIGEST + b": " + self.digest]
        body = self.download
        if self.framing == "length":
            fields.append(b"Content-Length: %d" % len(body))
        elif self.framing == "chunked":
            fields.append(b"Transfer-Encoding: chunked")
            body = b"".join(chunks(random.Random(self.number), body))
        else:
            fields.append(b"Connection: close")
        head = b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(fields) + b"\r\n\r\n"
        return head, b"" if self.method == "HEAD" else body


def chunks(rng: random.Random, body: bytes) -> list[bytes]:
    """Return a chunked body: chunks of random sizes."""
    pieces, start = [], 0
    while start < len(body):
        piece = body[start : start + rng.randint(*CHUNKS)]
        start += len(piece)
        pieces.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return [*pieces, b"0\r\n\r\n"]
