"""The PROXY protocol without I/O: what a proxy says of the client that it speaks for, before the client's bytes.

Written from "The PROXY protocol, versions 1 and 2" of HAProxy (doc/proxy-protocol.txt); its sections are named below.
Version 1 is a line of text (:mod:`lb.proxy_protocol.v1`), version 2 is binary (:mod:`lb.proxy_protocol.v2`).
"""

from __future__ import annotations

from lb.address import Client
from lb.proxy_protocol import v1 as proxy_v1
from lb.proxy_protocol import v2 as proxy_v2
from lb.proxy_protocol.endpoints import BadProxyHeader, Endpoints

__all__ = ["BadProxyHeader", "Endpoints", "HeaderReader", "own_header", "proxy_header"]


class HeaderReader:
    """Takes a header from the bytes that arrive, in whatever pieces, and leaves what follows it."""

    def __init__(self) -> None:
        self.complete = False
        self._head = bytearray()

    def take(self, seen: bytes) -> int:
        """How many of these bytes, which come next, belong to the header: they are the reader's now.

        Until the header is complete that is all of them. Raises BadProxyHeader if it can be none any more.
        """
        before = len(self._head)
        self._head += seen
        version = proxy_v2 if self._head[:1] == proxy_v2.SIGNATURE[:1] else proxy_v1
        end = version.end_of_header(self._head)
        if end is not None:
            self.complete = True
            del self._head[end:]
        return len(self._head) - before

    @property
    def endpoints(self) -> Endpoints | None:
        """Of a complete header: the connection that the proxy speaks for.

        None if it speaks for itself (LOCAL), or cannot say (UNKNOWN): then the socket's own addresses count.
        Raises BadProxyHeader.
        """
        head = bytes(self._head)
        return proxy_v2.parse(head) if head.startswith(proxy_v2.SIGNATURE) else proxy_v1.parse(head)


def proxy_header(version: str, source: Client, destination: Client) -> bytes:
    """The header ("v1" or "v2") for a connection that came from ``source`` to ``destination``."""
    endpoints = Endpoints(source, destination)
    return proxy_v1.encode(endpoints) if version == "v1" else proxy_v2.encode(endpoints)


def own_header(version: str) -> bytes:
    """The header for a connection of our own, say a check: UNKNOWN in version 1, LOCAL in version 2, none if "off"."""
    headers: dict[str, bytes] = {"v1": proxy_v1.OWN, "v2": proxy_v2.OWN, "off": b""}
    return headers[version]
