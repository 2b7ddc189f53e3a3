"""TLVs of PROXY headers of version 2 (section 2.2): type, length and value of further facts about a connection."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TypeAlias

__all__ = [
    "ALPN",
    "AUTHORITY",
    "CRC32C",
    "SSL",
    "TLV_HEAD",
    "UNIQUE_ID",
    "Tlv",
    "join_tlvs",
    "kept_tlvs",
    "ssl_value",
]

ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20
_SSL_VERSION, _SSL_CN, _SSL_CIPHER = 0x21, 0x22, 0x23
_CLIENT_SSL, _CLIENT_CERTIFICATE = 0x01, 0x02 | 0x04
"""Bits: the client uses TLS; it has a certificate, in this connection and in its session."""
TLV_HEAD = struct.Struct("!BH")
_SSL_HEAD = struct.Struct("!BI")

Tlv: TypeAlias = tuple[int, bytes]
"""Type and value."""


def kept_tlvs(block: bytes) -> Iterator[Tlv]:
    """Yield the TLVs of a valid header that hold in the next header too: all but checksum and padding."""
    position = 0
    while position < len(block):
        kind, length = TLV_HEAD.unpack_from(block, position)
        start = position + TLV_HEAD.size
        position = start + length
        if kind not in (CRC32C, NOOP):
            yield kind, block[start:position]


def join_tlvs(tlvs: Iterable[Tlv]) -> bytes:
    return b"".join(TLV_HEAD.pack(kind, len(value)) + value for kind, value in tlvs)


def ssl_value(version: str, cipher: str, common_name: str | None) -> bytes:
    """Return the value of the type SSL. ``common_name`` is that of a verified client certificate, else None."""
    client = _CLIENT_SSL | (0 if common_name is None else _CLIENT_CERTIFICATE)
    facts = [(_SSL_VERSION, version), (_SSL_CIPHER, cipher), (_SSL_CN, common_name)]
    known = [(kind, fact.encode()) for kind, fact in facts if fact]
    return _SSL_HEAD.pack(client, common_name is None) + join_tlvs(known)
