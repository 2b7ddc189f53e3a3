"""HPACK, the writing side (RFC 7541): fields to header blocks that are valid on any connection at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from hpack.table import HeaderTable

__all__ = ["FORGET_TABLE", "encode_fields", "encode_status"]

FORGET_TABLE = b"\x20"
"""The beginning of the first block of a connection: the dynamic table has no room. So no setting of the peer's is ever
exceeded, and no later block has to say so."""

_INDEXED: Mapping[tuple[bytes, bytes], bytes] = {
    pair: bytes((0x80 | index,)) for index, pair in reversed([*enumerate(HeaderTable.STATIC_TABLE, 1)]) if pair[1]
}
_INDEX_OF_NAME: Mapping[bytes, int] = {
    name: index for index, (name, _) in reversed([*enumerate(HeaderTable.STATIC_TABLE, 1)])
}
_NEVER_INDEXED = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"))
"""Secrets: whoever passes them on must not index them either (RFC 7541, section 7.1.3)."""


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return fields as a header block, or a part of one: blocks may be joined.

    Names are written in lower case. Pseudo-headers come first (the caller sees to it); what belongs to connections of
    HTTP/1 only must not be there. Only the static table is used, so the same block can be sent on every connection.
    ``authorization``, ``cookie`` and the like are marked as never to be indexed. No Huffman code: it costs more than it
    saves where a block is sent once, and a block that is kept would differ from it.
    """
    return b"".join([_INDEXED.get(pair) or _literal(*pair) for pair in fields])


@lru_cache(maxsize=64)
def encode_status(status: int) -> bytes:
    """Return ``:status`` as the beginning of a response's block."""
    return encode_fields(((b":status", b"%d" % status),))


def _literal(name: bytes, value: bytes) -> bytes:
    size = len(value)
    begin = _name(name) if len(name) <= _MAX_KEPT else _name.__wrapped__(name)
    return b"%s%c%s" % (begin, size, value) if size < 0x7F else b"%s%s%s" % (begin, _integer(size, 0x7F, 0), value)


_MAX_KEPT = 64


@lru_cache(maxsize=1024)
def _name(name: bytes) -> bytes:
    """Return the beginning of a literal without indexing: RFC 7541, sections 6.2.2 and 6.2.3."""
    name = name.lower()
    pattern = 0x10 if name in _NEVER_INDEXED else 0
    index = _INDEX_OF_NAME.get(name)
    if index is not None:
        return _integer(index, 0x0F, pattern)
    return b"%c%s%s" % (pattern, _integer(len(name), 0x7F, 0), name)


def _integer(value: int, mask: int, pattern: int) -> bytes:
    """Return an integer with its prefix: RFC 7541, section 5.1."""
    if value < mask:
        return bytes((pattern | value,))
    value -= mask
    encoded = bytearray((pattern | mask,))
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
