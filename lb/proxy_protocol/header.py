"""PROXY headers without I/O: a proxy sends the client's addresses before the client's bytes.

The source is "The PROXY protocol, versions 1 and 2" of HAProxy (doc/proxy-protocol.txt); section numbers refer to it.
Version 1 is a line of text (:mod:`lb.proxy_protocol.v1`), version 2 is binary (:mod:`lb.proxy_protocol.v2`).
"""

from __future__ import annotations

from collections.abc import Iterable

from lb.model.address import Client
from lb.proxy_protocol import v1 as proxy_v1
from lb.proxy_protocol import v2 as proxy_v2
from lb.proxy_protocol.endpoints import BadProxyHeader, Endpoints
from lb.proxy_protocol.tlvs import Tlv

__all__ = ["BadProxyHeader", "Endpoints", "HeaderReader", "local_header", "proxy_header"]


class HeaderReader:
    """Reads a header from arriving bytes, in pieces of any size, and leaves the bytes after it."""

    def __init__(self) -> None:
        self.complete = False
        self._head = bytearray()

    def take(self, seen: bytes) -> int:
        """Take the next bytes. Return the number of them that belong to the header.

        Until the header is complete, all of them do. Raises BadProxyHeader as soon as the header cannot be valid.
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
        """The endpoints in the complete header.

        None for a connection of the proxy itself (LOCAL) or without addresses (UNKNOWN): the socket's own addresses
        apply then. Raises BadProxyHeader.
        """
        head = bytes(self._head)
        return proxy_v2.parse(head) if head.startswith(proxy_v2.SIGNATURE) else proxy_v1.parse(head)

    @property
    def tlvs(self) -> bytes:
        """The TLVs of a header with endpoints."""
        head = bytes(self._head)
        return proxy_v2.tlvs_in(head) if head.startswith(proxy_v2.SIGNATURE) else b""


def proxy_header(
    version: str, source: Client, destination: Client, tlvs: Iterable[Tlv] = (), *, checksum: bool = False
) -> bytes:
    """Return the header ("v1" or "v2") for a connection from ``source`` to ``destination``.

    Version 1 has neither TLVs nor a checksum.
    """
    endpoints = Endpoints(source, destination)
    return proxy_v1.encode(endpoints) if version == "v1" else proxy_v2.encode(endpoints, tlvs, checksum=checksum)


def local_header(source: Client, destination: Client) -> bytes:  # noqa: ARG001 - as in proxy_header
    """Return the header of version 2 for a connection on which the proxy sends nothing but the header: LOCAL.

    Version 1 has no such header: UNKNOWN leaves the server without an address, and some refuse it.
    """
    return proxy_v2.LOCAL
