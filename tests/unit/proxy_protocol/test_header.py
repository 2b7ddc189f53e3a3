"""PROXY headers: which are accepted or refused, and which bytes are left for the stream, in pieces of any size."""

from __future__ import annotations

import struct

import hypothesis.strategies as st
import pytest
from crc32c import crc32c
from hypothesis import example, given

from lb.model.address import Client
from lb.proxy_protocol.endpoints import BadProxyHeader, Endpoints
from lb.proxy_protocol.header import HeaderReader, local_header, proxy_header
from lb.proxy_protocol.tlvs import kept_tlvs
from tests.support.paths import DATA

CORPUS = DATA / "proxy_headers"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = Endpoints(Client("10.1.2.3", 5555), Client("10.0.0.1", 80))
SIX = Endpoints(Client("2001:db8::1", 5555), Client("::1", 80))
UNIX = Endpoints(Client("", 0), Client("", 0))
ENDS = {
    0x11: (bytes([10, 1, 2, 3, 10, 0, 0, 1]) + struct.pack("!HH", 5555, 80), FOUR),
    0x21: (bytes.fromhex("20010db8000000000000000000000001" + "0" * 31 + "1") + struct.pack("!HH", 5555, 80), SIX),
    0x31: (b"/run/client".ljust(108, b"\0") + b"/run/lb".ljust(108, b"\0"), UNIX),
}


def v2(family, block, command=0x21, length=None):
    return SIGNATURE + struct.pack("!BBH", command, family, len(block) if length is None else length) + block


def tlv(kind, value, length=None):
    return struct.pack("!BH", kind, len(value) if length is None else length) + value


def with_checksum(family, block, after=b""):
    """A header with a correct checksum, followed by other TLVs."""
    zeroed = v2(family, block + tlv(3, bytes(4)) + after)
    return v2(family, block + tlv(3, crc32c(zeroed).to_bytes(4, "big")) + after)


def take(pieces):
    """Return the header's endpoints and the bytes left for the stream. Until it is complete, none may be left."""
    reader, rest = HeaderReader(), b""
    for piece in pieces:
        if reader.complete:
            rest += piece
        else:
            taken = reader.take(piece)
            assert reader.complete or taken == len(piece)
            rest += piece[taken:]
    assert reader.complete
    return reader.endpoints, rest


GOOD = [
    (b"PROXY TCP4 10.1.2.3 10.0.0.1 5555 80\r\n", FOUR),
    (b"PROXY TCP6 2001:db8::1 ::1 5555 80\r\n", SIX),
    (b"PROXY TCP6 2001:DB8:0:0:0:0:0:1 0:0:0:0:0:0:0:1 5555 80\r\n", SIX),
    (b"PROXY TCP6 ::ffff:10.1.2.3 ::ffff:10.0.0.1 5555 80\r\n", FOUR),
    (
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
        Endpoints(Client("0.0.0.0", 0), Client("255.255.255.255", 65535)),
    ),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN anything at all \xff\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),
    *((v2(family, block), ends) for family, (block, ends) in ENDS.items()),
    *((v2(family + 1, block), None) for family, (block, _) in ENDS.items()),  # datagrams
    *((v2(family, block + tlv(4, b"no-op") + tlv(1, b"")), ends) for family, (block, ends) in ENDS.items()),
    *((with_checksum(family, block, tlv(0xE0, b"own")), ends) for family, (block, ends) in ENDS.items()),
    (v2(0x11, ENDS[0x11][0] + tlv(4, bytes(4096 - 16 - 12 - 3))), FOUR),
    (v2(0x11, ENDS[0x11][0] + 64 * tlv(4, b"")), FOUR),
    (v2(0x00, b""), None),
    (v2(0x00, b"whatever this is"), None),
    (v2(0x00, b"", command=0x20), None),
    (v2(0x11, ENDS[0x11][0], command=0x20), None),
    (v2(0xFF, b"ignored", command=0x20), None),
]
BAD = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"proxy TCP4 10.1.2.3 10.0.0.1 5555 80\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 5555 80\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 5555\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 5555 80 \r\n",
    b"PROXY TCP4  10.1.2.3 10.0.0.1 5555 80\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 5555 65536\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 05555 80\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 +5555 80\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 -1 80\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 \xd9\xa5 80\r\n",  # an Arabic digit
    b"PROXY TCP4 10.1.2.03 10.0.0.1 5555 80\r\n",
    b"PROXY TCP4 10.1.2.256 10.0.0.1 5555 80\r\n",
    b"PROXY TCP4 ::1 ::1 5555 80\r\n",
    b"PROXY TCP6 10.1.2.3 10.0.0.1 5555 80\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 5555 80\r\n",
    b"PROXY UDP4 10.1.2.3 10.0.0.1 5555 80\r\n",
    b'PROXY TCP4 10.1.2.3"\x1b[ 10.0.0.1 5555 80\r\n',
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY UNKNOWNX\r\n",
    SIGNATURE[:11] + b"X" + b"\x21\x11\0\0",
    v2(0x11, ENDS[0x11][0], command=0x11),
    v2(0x11, ENDS[0x11][0], command=0x22),
    v2(0x41, ENDS[0x11][0]),
    v2(0x13, ENDS[0x11][0]),
    *(v2(family, block[:-1]) for family, (block, _) in ENDS.items()),
    v2(0x11, b""),
    *(v2(family, block + tlv(4, b"four", length=5)) for family, (block, _) in ENDS.items()),
    v2(0x11, ENDS[0x11][0] + b"\x04\x00"),
    v2(0x11, ENDS[0x11][0] + tlv(4, b"", length=0xFFFF)),
    v2(0x11, ENDS[0x11][0] + tlv(3, bytes(4))),
    v2(0x11, ENDS[0x11][0] + tlv(3, b"abc")),
    with_checksum(0x11, ENDS[0x11][0], tlv(3, bytes(4))),
    v2(0x11, ENDS[0x11][0] + 65 * tlv(4, b"")),
]


@pytest.mark.parametrize(("header", "ends"), GOOD)
@pytest.mark.parametrize("payload", [b"", b"payload\r\nPROXY "])
def test_a_good_header_is_understood_and_what_follows_is_left(header, ends, payload):
    assert take([header + payload]) == (ends, payload)
    if len(header) < 1000:
        assert take([bytes([byte]) for byte in header + payload]) == (ends, payload)
        for split in range(1, len(header)):
            assert take([header[:split], header[split:] + payload]) == (ends, payload)


@pytest.mark.parametrize("header", BAD)
def test_a_bad_header_is_refused_whatever_the_pieces(header):
    with pytest.raises(BadProxyHeader):
        take([header])
    with pytest.raises(BadProxyHeader):
        take([bytes([byte]) for byte in header])


@pytest.mark.parametrize("block", [4096 - 16 + 1, 0xFFFF])
@pytest.mark.parametrize("command", [0x20, 0x21])
def test_a_header_of_more_than_4_kib_is_refused_before_its_bytes_are_read(block, command):
    with pytest.raises(BadProxyHeader):
        take([v2(0x11, b"", command=command, length=block)])


def test_who_sends_something_else_is_refused_at_the_first_byte():
    with pytest.raises(BadProxyHeader):
        HeaderReader().take(b"G")


def test_a_line_without_an_end_is_refused_before_it_is_long():
    with pytest.raises(BadProxyHeader):
        HeaderReader().take(b"PROXY UNKNOWN ".ljust(107, b"x"))


def test_two_checksums_are_refused_even_if_the_first_is_right():
    header = with_checksum(0x11, ENDS[0x11][0], tlv(3, bytes(4)))
    with pytest.raises(BadProxyHeader, match="two checksums"):
        take([header])


# Sent headers

ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(str)
ports = st.integers(0, 65_535)


@given(st.sampled_from(["v1", "v2"]), st.sampled_from([ipv4, ipv6]), st.data())
def test_what_is_sent_is_understood(version, addresses, data):
    source, destination = (Client(data.draw(addresses), data.draw(ports)) for _ in range(2))
    header = proxy_header(version, source, destination)
    assert take([header + b"payload"]) == ((source, destination), b"payload")


kept_kinds = st.integers(0, 255).filter(lambda kind: kind not in (3, 4))


@given(st.lists(st.tuples(kept_kinds, st.binary(max_size=60)), max_size=20))
@example([])
def test_tlvs_that_are_sent_are_understood_and_the_checksum_holds(tlvs):
    for checksum in (False, True):
        header = proxy_header("v2", *FOUR, tlvs, checksum=checksum)
        reader = HeaderReader()
        assert reader.take(header + b"payload") == len(header)
        assert reader.endpoints == FOUR
        assert [*kept_tlvs(reader.tlvs)] == tlvs
    assert header == with_checksum_last(0x11, ENDS[0x11][0] + b"".join(tlv(*each) for each in tlvs))


def with_checksum_last(family, block):
    zeroed = v2(family, block + tlv(3, bytes(4)))
    return zeroed[:-4] + crc32c(zeroed).to_bytes(4, "big")


@pytest.mark.parametrize("family", ENDS)
def test_tlvs_begin_after_the_addresses(family):
    block, _ = ENDS[family]
    reader = HeaderReader()
    reader.take(v2(family, block + tlv(2, b"web") + tlv(4, b"padding")))
    assert [*kept_tlvs(reader.tlvs)] == [(2, b"web")]
    plain = HeaderReader()
    plain.take(b"PROXY TCP4 10.1.2.3 10.0.0.1 5555 80\r\n")
    assert plain.tlvs == b""


def test_what_is_sent_is_what_the_specification_says():
    assert proxy_header("v1", *FOUR) == b"PROXY TCP4 10.1.2.3 10.0.0.1 5555 80\r\n"
    assert proxy_header("v1", *SIX) == b"PROXY TCP6 2001:db8::1 ::1 5555 80\r\n"
    assert proxy_header("v2", *FOUR) == v2(0x11, ENDS[0x11][0])
    assert proxy_header("v2", *SIX) == v2(0x21, ENDS[0x21][0])


def test_unix_ends_have_no_addresses_to_send():
    assert proxy_header("v1", *UNIX) == b"PROXY UNKNOWN\r\n"
    assert proxy_header("v2", *UNIX) == v2(0x31, bytes(216))
    assert take([proxy_header("v2", *UNIX)]) == (UNIX, b"")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_ends_of_different_families_are_sent_as_ipv6(version):
    mixed = Endpoints(FOUR.source, SIX.destination)
    assert take([proxy_header(version, *mixed)]) == (mixed, b"")
    assert b"TCP6" in proxy_header("v1", *mixed)
    assert proxy_header("v2", *mixed)[13] == 0x21


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_scope_is_not_sent(version):
    header = proxy_header(version, Client("fe80::1%eth0", 1), Client("fe80::2%eth0", 2))
    assert take([header]) == ((Client("fe80::1", 1), Client("fe80::2", 2)), b"")


def test_a_connection_without_a_client_is_said_to_be_local():
    assert local_header(*FOUR) == SIGNATURE + b"\x20\0\0\0"


# The checksum


@given(st.integers(0, len(with_checksum(0x11, ENDS[0x11][0], tlv(2, b"web"))) * 8 - 1))
def test_any_bit_that_flips_is_noticed(bit):
    """The header may also stay incomplete or carry no endpoints, but it never carries other endpoints."""
    header = bytearray(with_checksum(0x11, ENDS[0x11][0], tlv(2, b"web")))
    header[bit // 8] ^= 1 << bit % 8
    reader = HeaderReader()
    try:
        reader.take(bytes(header))
        said = reader.endpoints if reader.complete else None
    except BadProxyHeader:
        said = None
    assert said is None or is_checksum_type(header, bit)


def is_checksum_type(header, bit):
    """The bit belongs to the type of the TLV: no checksum is left."""
    return bit // 8 == 16 + 12


# Arbitrary bytes


def verdict(pieces):
    """Return the endpoints and the number of bytes taken; "bad"; or "more" if the header is incomplete."""
    reader, taken = HeaderReader(), 0
    try:
        for piece in pieces:
            if reader.complete:
                break
            taken += reader.take(piece)
        ends = reader.endpoints if reader.complete else None
    except BadProxyHeader:
        return "bad"
    return (ends, taken) if reader.complete else "more"


def corpus():
    """Headers from earlier runs and from other senders, one per file."""
    return [path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))]


def mutated(header):
    """A header with some bytes changed, removed or inserted."""
    places = st.integers(0, len(header))
    change = st.tuples(places, st.integers(0, 4), st.binary(max_size=4))

    def apply(changes):
        result = header
        for place, cut, put in changes:
            result = result[:place] + put + result[place + cut :]
        return result

    return st.lists(change, min_size=1, max_size=3).map(apply)


headers = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(corpus()).flatmap(mutated),
    st.sampled_from([header for header, _ in GOOD if len(header) < 1000] + BAD).flatmap(mutated),
    st.binary(max_size=300).map(lambda rest: SIGNATURE + rest),
    st.binary(max_size=120).map(lambda rest: b"PROXY TCP4 " + rest),
)


@given(headers, st.lists(st.integers(1, 50), max_size=10))
@example(b"PROXY TCP4 1 1 1 1\r\n", [1])
def test_whatever_arrives_gets_the_same_verdict_in_any_pieces(data, sizes):
    pieces, rest = [], data
    for size in sizes:
        pieces, rest = [*pieces, rest[:size]], rest[size:]
    pieces = [piece for piece in (*pieces, rest) if piece]
    whole = verdict([data] if data else [])
    assert verdict(pieces) == whole
    if isinstance(whole, tuple) and whole[0] is not None:
        for client in whole[0]:
            assert str(client).isprintable()
            assert set(client.host) <= set("0123456789abcdef.:")


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.bin")), ids=lambda path: path.stem)
def test_the_corpus_gets_the_verdict_that_its_name_says(path):
    found = verdict([path.read_bytes()])
    expected = path.stem.partition("_")[0]
    assert expected == (found if isinstance(found, str) else "none" if found[0] is None else "client")
