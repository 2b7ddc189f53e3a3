"""PROXY protocol version 2: a binary header (section 2.2).

After a 12-byte signature come version and command, family and transport, and the length of the rest. The rest is the
two addresses, then TLVs (type, length, value; :mod:`lb.proxy_protocol.tlvs`). The length of a header and the number of
its TLVs are bounded, so that any header costs only microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from lb.model.address import Client
from lb.proxy_protocol.endpoints import BadProxyHeader, Endpoints, host_of
from lb.proxy_protocol.tlvs import CRC32C, TLV_HEAD, Tlv, join_tlvs

__all__ = ["LOCAL", "SIGNATURE", "encode", "end_of_header", "parse", "tlvs_in"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
_VERSION = 0x20
_OWN, _PROXY = 0, 1
_INET, _INET6, _UNIX = 1, 2, 3
_STREAM = 1
_MOST_FAMILY, _MOST_TRANSPORT = 3, 2
_ENDS = {_INET: struct.Struct("!4s4sHH"), _INET6: struct.Struct("!16s16sHH"), _UNIX: struct.Struct("!108s108s")}
_VERSIONS = {_INET: 4, _INET6: 6}
LOCAL: bytes = _FIXED.pack(SIGNATURE, _VERSION | _OWN, 0, 0)
"""The header of a connection of the proxy itself."""
_LONGEST = 4096
"""Maximum bytes of a header. With a certificate's name, an ID and a checksum, one has a few hundred."""
_MOST_TLVS = 64
"""Maximum number of TLVs. The specification has eleven types; a proxy may add its own."""


def end_of_header(head: bytes) -> int | None:
    """Return the length of the header at the start of ``head``; None if it is incomplete. Raises BadProxyHeader."""
    if not SIGNATURE.startswith(head[: len(SIGNATURE)]):
        raise BadProxyHeader("not a PROXY header")
    if len(head) < _FIXED.size:
        return None
    end = _FIXED.size + int(_FIXED.unpack_from(head)[3])
    if end > _LONGEST:
        raise BadProxyHeader("the header is too long")
    return end if end <= len(head) else None


def parse(header: bytes) -> Endpoints | None:
    """Parse a complete header. Return None if it does not name the client. Raises BadProxyHeader."""
    _, version_and_command, family_and_transport, _ = _FIXED.unpack_from(header)
    command = version_and_command ^ _VERSION
    if command == _OWN:
        return None  # "must discard the protocol block including the family"
    if command != _PROXY:
        raise BadProxyHeader("unknown version or command")
    family, transport = family_and_transport >> 4, family_and_transport & 0xF
    if family > _MOST_FAMILY or transport > _MOST_TRANSPORT:
        raise BadProxyHeader("unknown family or transport")
    if not family:
        return None  # the start of the TLVs is unknown
    ends = _ENDS[family]
    if len(header) < _FIXED.size + ends.size:
        raise BadProxyHeader("the header is shorter than its addresses")
    _check_tlvs(header, _FIXED.size + ends.size)
    if transport != _STREAM:
        return None  # "must … fall back to the UNSPEC mode for valid combinations that it does not support"
    if family == _UNIX:
        return Endpoints(Client("", 0), Client("", 0))
    source, destination, source_port, destination_port = ends.unpack_from(header, _FIXED.size)
    version = _VERSIONS[family]
    return Endpoints(
        Client(host_of(source, version), source_port), Client(host_of(destination, version), destination_port)
    )


def tlvs_in(header: bytes) -> bytes:
    """Return the TLVs of a header that :meth:`parse` has found to be valid, and to name a client."""
    return header[_FIXED.size + _ENDS[header[13] >> 4].size :]


def _check_tlvs(header: bytes, position: int) -> None:
    """Check the TLVs. Raises BadProxyHeader if one exceeds the header, there are too many, or the checksum is wrong."""
    checked = False
    count = 0
    while position < len(header):
        count += 1
        if count > _MOST_TLVS:
            raise BadProxyHeader("too many TLVs")
        value = position + TLV_HEAD.size
        if value > len(header):
            raise BadProxyHeader("a TLV is truncated")
        kind, length = TLV_HEAD.unpack_from(header, position)
        position = value + length
        if position > len(header):
            raise BadProxyHeader("a TLV is longer than the header")
        if kind == CRC32C:
            if checked:
                raise BadProxyHeader("two checksums")
            checked = True
            _verify_checksum(header, value, position)


def _verify_checksum(header: bytes, start: int, end: int) -> None:
    """Check the checksum: CRC-32C of the whole header, with zeros in place of the checksum."""
    received = header[start:end]
    if len(received) != 4 or int.from_bytes(received, "big") != _crc32c(header[:start] + bytes(4) + header[end:]):
        raise BadProxyHeader("the checksum is wrong")


def encode(endpoints: Endpoints, tlvs: Iterable[Tlv] = (), *, checksum: bool = False) -> bytes:
    """Build the header, with a CRC-32C if ``checksum``. The paths of unix ends are empty."""
    addresses = endpoints.addresses()
    if addresses is None:
        family, block = _UNIX, bytes(_ENDS[_UNIX].size)
    else:
        source, destination = addresses
        family = _INET if source.version == 4 else _INET6
        ports = endpoints.source.port, endpoints.destination.port
        block = _ENDS[family].pack(source.packed, destination.packed, *ports)
    block += join_tlvs([*tlvs, (CRC32C, bytes(4))] if checksum else tlvs)
    header = _FIXED.pack(SIGNATURE, _VERSION | _PROXY, family << 4 | _STREAM, len(block)) + block
    return header[:-4] + _crc32c(header).to_bytes(4, "big") if checksum else header


def _crc32c(header: bytes) -> int:
    from crc32c import crc32c  # noqa: PLC0415 - few proxies send a checksum

    return crc32c(header)
