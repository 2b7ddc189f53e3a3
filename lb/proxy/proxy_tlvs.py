"""What PROXY headers towards servers tell beside the addresses: what the client's header told, and what we know."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from lb.model import ProxyTlv
from lb.model.address import Client
from lb.proxy_protocol.tlvs import ALPN, AUTHORITY, SSL, UNIQUE_ID, Tlv, kept_tlvs, ssl_value
from lb.tls.layer import Tls

__all__ = ["ProxiedClient", "tlvs_of"]

PROCESS = secrets.token_hex(8)
"""Makes the ids of connections unique among processes. Workers share it, and count connections together."""

LONGEST_FACT = 255
"""Maximum bytes of a fact of ours. Names have no more (RFC 6066, RFC 7301); a client may send what is none."""


class ProxiedClient(Protocol):
    """A client, as a PROXY header towards a server describes it."""

    @property
    def id(self) -> int: ...

    @property
    def sock(self) -> socket.SocketType:
        """The client's socket."""

    @property
    def client(self) -> Client:
        """The client's address."""

    @property
    def destination(self) -> Client | None:
        """The client's destination, if it is not the socket's own address."""

    @property
    def tlvs(self) -> bytes:
        """The TLVs of the client's own PROXY header."""

    @property
    def server_name(self) -> str | None:
        """The server name (SNI) of an SNI listener."""

    @property
    def tls(self) -> Tls | None:
        """TLS on the client's side."""


def tlvs_of(client: ProxiedClient, names: Sequence[ProxyTlv]) -> Iterator[Tlv]:
    """Yield the TLVs of a header. Those that came are kept: a proxy in front knows more about the client."""
    kinds = set()
    for kind, value in kept_tlvs(client.tlvs):
        kinds.add(kind)
        yield kind, value
    for name in names:
        if name in FACTS:
            kind, fact = FACTS[name]
            own = fact(client) if kind not in kinds else None
            if own and len(own) <= LONGEST_FACT:
                yield kind, own


def _authority(client: ProxiedClient) -> bytes | None:
    name = client.server_name if client.tls is None else client.tls.client_server_name
    return name.encode() if name else None


def _alpn(client: ProxiedClient) -> bytes | None:
    protocol = client.tls.protocol if client.tls is not None else None
    return protocol.encode() if protocol else None


def _unique_id(client: ProxiedClient) -> bytes:
    return f"{PROCESS}-{client.id}".encode()


def _ssl(client: ProxiedClient) -> bytes | None:
    return None if client.tls is None else ssl_value(client.tls.version, client.tls.cipher, client.tls.common_name)


FACTS: Mapping[str, tuple[int, Callable[[ProxiedClient], bytes | None]]] = {
    "authority": (AUTHORITY, _authority),
    "alpn": (ALPN, _alpn),
    "unique-id": (UNIQUE_ID, _unique_id),
    "ssl": (SSL, _ssl),
}
"""Type, and the function that returns the value or None. ``crc32c`` is about the header itself."""
