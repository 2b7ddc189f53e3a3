"""HPACK: what the tables of interned blocks say is what the library hpack says."""

from __future__ import annotations

import random
import tracemalloc

import attrs
import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.grammar import MAX_FIELDS
from lb.http2.errors import ErrorCode, Http2Error
from lb.http2.field_section import SectionKind, read_section
from lb.http2.hpack_field import judge_field
from lb.http2.hpack_reader import EMPTY_TABLE, FieldSections
from lb.http2.hpack_writer import FORGET_TABLE, encode_fields, encode_status
from tests.support.effort import DEEP

MAX_LIST = 32 * 1024
LISTS = 100_000 if DEEP else 3000

REQUEST = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"www.example.com"),
    (b":path", b"/"),
]
NAMES = (b"accept", b"user-agent", b"cookie", b"x-one", b"x-two", b"te", b"priority", b"content-length", b"host")
VALUES = (b"", b"*/*", b"a=1", b"trailers", b"u=1, i", b"12", b"www.example.com", b"\xc3\xa9", b"text; q=0.5")


def seen(section):
    return attrs.asdict(section, filter=lambda field, _: field.name != "kept")


def section_of(fields):
    judged = [judge_field(name, value) for name, value in fields]
    return read_section(judged, sum(field.size for field in judged))


class Pair:
    """An encoder and a decoder of hpack, and a table of ours."""

    def __init__(self):
        self.encoder, self.decoder, self.table = hpack.Encoder(), hpack.Decoder(), EMPTY_TABLE

    def check(self, sections, fields, *, huffman, sensitive):
        headers = [hpack.NeverIndexedHeaderTuple(*field) if sensitive else field for field in fields]
        block = self.encoder.encode(headers, huffman=huffman)
        expected = [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]
        assert expected == fields
        section, self.table = sections.read(self.table, block, MAX_LIST)
        assert seen(section) == seen(section_of(expected))
        assert [field.pair for field in self.table.fields] == [*self.decoder.header_table.dynamic_entries]
        assert self.table.size == self.decoder.header_table._current_size


def test_interned_blocks_mean_what_hpack_says():
    source, sections = random.Random(7), FieldSections()
    usual = [random_fields(source) for _ in range(30)]
    pairs = [Pair() for _ in range(8)]
    for number in range(LISTS):
        if number % 10 == 0:
            pairs[source.randrange(8)] = Pair()
        pair = pairs[source.randrange(8)]
        if source.random() < 0.05:
            pair.encoder.header_table_size = source.choice((0, 100, 500, 4096))
        fields = source.choice(usual) if source.random() < 0.8 else random_fields(source)
        pair.check(sections, fields, huffman=source.random() < 0.5, sensitive=source.random() < 0.1)
    assert len(sections.known) > 50


def random_fields(source):
    fields = [*REQUEST]
    if source.random() < 0.3:
        fields[3] = (b":path", b"/%d" % source.randrange(1000))
    for _ in range(source.randrange(8)):
        value = b"%x" % source.getrandbits(source.choice((8, 200, 9000))) if source.random() < 0.2 else None
        fields.append((source.choice(NAMES), value or source.choice(VALUES)))
    if source.random() < 0.1:
        source.shuffle(fields)
    return fields


def test_a_block_that_came_before_is_looked_up_on_a_fresh_connection_too():
    sections = FieldSections()
    blocks = [encoder_blocks() for _ in range(3)]
    found = []
    for first, second in blocks:
        one, table = sections.read(EMPTY_TABLE, first, MAX_LIST)
        two, after = sections.read(table, second, MAX_LIST)
        found.append((one, table, two, after))
    assert found[1][0] is found[2][0]
    assert found[1][1] is found[2][1]
    assert found[1][1] is found[1][3]  # the second block changes nothing
    assert EMPTY_TABLE.mark + blocks[0][0] in sections.known


def encoder_blocks():
    encoder = hpack.Encoder()
    return [encoder.encode([*REQUEST, (b"user-agent", b"one")]) for _ in range(2)]


def test_the_same_bytes_in_another_table_are_another_block():
    sections = FieldSections()
    tables = []
    for value in (b"one", b"two"):
        _, table = sections.read(EMPTY_TABLE, b"\x40\x03x-a" + bytes((len(value),)) + value, MAX_LIST)
        tables.append(table)
    for _ in range(3):
        fields = [sections.read(table, b"\xbe", MAX_LIST).section.fields for table in tables]
        assert fields == [((b"x-a", b"one"),), ((b"x-a", b"two"),)]


def test_blocks_that_refer_to_no_table_are_looked_up_in_any():
    """As nginx writes them: each field enters the table, and none is taken from it."""
    sections, decoder, table = FieldSections(), hpack.Decoder(), EMPTY_TABLE
    for number in range(400):
        block = b"\x88\x76\x05nginx\x61\x02%02d\x5f\x02ab\x5c\x01%d" % (number // 50, number % 2)
        section, table = sections.read(table, block, MAX_LIST)
        decoder.decode(block, raw=True)
        assert [field.pair for field in table.fields] == [*decoder.header_table.dynamic_entries]
        assert section.fields[1] == (b"date", b"%02d" % (number // 50))
    assert table.size == decoder.header_table._current_size
    assert sections._free_blocks.find(block).section is section


@given(st.lists(st.tuples(st.sampled_from([10, 700, 3900, 5000]), st.booleans()), max_size=8))
def test_entries_that_do_not_fit_empty_the_table_of_a_known_block_too(entries):
    block = b"".join(
        b"\x40\x01a" + (b"\x7f" + encode_length(size - 127) if size >= 127 else bytes((size,))) + b"v" * size
        for size, _ in entries
    )
    sections, decoder, table = FieldSections(), hpack.Decoder(max_header_list_size=2**20), EMPTY_TABLE
    for _ in range(4):
        _, table = sections.read(table, block, MAX_LIST)
        decoder.decode(block, raw=True)
        assert [field.pair for field in table.fields] == [*decoder.header_table.dynamic_entries]


def encode_length(rest):
    return bytes((rest & 0x7F | 0x80, rest >> 7)) if rest >= 0x80 else bytes((rest,))


PATHS = st.one_of(st.sampled_from([b"/", b"*", b"", b"/a#b", b"/a b", b"x", b"/%41?b=c"]), st.binary(max_size=40))


@given(PATHS, st.booleans(), st.booleans(), st.permutations(range(4)), st.sampled_from([b"", b"\x84", b"\x04\x02/x"]))
def test_a_path_is_cut_out_and_means_the_same(path, huffman, never, order, more):
    """With a second path behind it, too, and wherever it stands."""
    encoder = hpack.Encoder()
    field = (b":path", path)
    fields = [*REQUEST[:3], hpack.NeverIndexedHeaderTuple(*field) if never else field]
    sections, table = FieldSections(), EMPTY_TABLE
    for _ in range(3):
        if never:
            block = encoder.encode([fields[at] for at in order], huffman=huffman)
        else:
            block = encode_fields([fields[at] for at in order])
        section, table = sections.read(table, block + more, MAX_LIST)
        expected = [(b":path", {b"\x84": b"/", b"\x04\x02/x": b"/x"}[more])] if more else []
        assert seen(section) == seen(section_of([tuple(fields[at]) for at in order] + expected))


def test_requests_for_many_paths_share_all_else():
    encoder, sections, table = hpack.Encoder(), FieldSections(), EMPTY_TABLE
    found = []
    for number in range(5):
        path = hpack.NeverIndexedHeaderTuple(b":path", b"/%d" % number)
        section, table = sections.read(table, encoder.encode([*REQUEST[:3], path, (b"a", b"b")]), MAX_LIST)
        found.append(section)
    assert [section.path for section in found] == [b"/%d" % number for number in range(5)]
    assert found[3].fields is found[4].fields


def test_a_name_of_the_dynamic_table_is_not_mistaken():
    sections = FieldSections()
    tables = [sections.read(EMPTY_TABLE, b"\x40\x03" + name + b"\x01v", MAX_LIST).table for name in (b"x-a", b"x-b")]
    for _ in range(3):
        names = [sections.read(table, b"\x0f\x2f\x01w", MAX_LIST).section.fields[0][0] for table in tables]
        assert names == [b"x-a", b"x-b"]


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # an index above both tables
        b"\xff\xff\xff\xff\xff\xff\x7f",  # an integer that overflows
        b"\x7e\x01a",  # a name of an index above both tables
        b"\x00\x03ab",  # a name that is cut
        b"\x00\x01a\x7f",  # a length that is cut
        b"\x00\x01a\x05abcd",  # a value that is cut
        b"\x3f\xe2\x1f",  # a table of 4097 bytes
        b"\x82\x20",  # a table size behind a field
        b"\x00\x81\xff\x01a",  # Huffman padding that is too long
        b"\x00\x84\xff\xff\xff\xff\x01a",  # EOS in Huffman code
        b"\x00\x81\x18\x01a",  # Huffman padding of zeros
    ],
)
def test_what_is_no_hpack_ends_the_connection(block):
    with pytest.raises(Http2Error) as raised:
        FieldSections().read(EMPTY_TABLE, block, MAX_LIST)
    assert raised.value.code == ErrorCode.COMPRESSION_ERROR


@given(st.binary(max_size=60))
def test_any_bytes_are_judged_as_hpack_judges_them(block):
    try:
        expected = [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]
    except (hpack.HPACKError, OverflowError):
        expected = None
    try:
        section = FieldSections().read(EMPTY_TABLE, block, MAX_LIST).section
    except Http2Error:
        assert expected is None
    else:
        assert expected is not None
        assert seen(section) == seen(section_of(expected))


def test_a_bomb_is_not_unpacked():
    bomb = b"\x40\x01a\x7f\x81\x1e" + b"b" * 4000 + b"\xbe" * 20_000
    with pytest.raises(Http2Error) as raised:
        FieldSections().read(EMPTY_TABLE, bomb, MAX_LIST)
    assert raised.value.code == ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("fields", [[(b"x", b"y" * 33_000)], [(b"x%d" % number, b"") for number in range(101)]])
def test_a_list_that_is_too_large_keeps_the_table(fields):
    block = hpack.Encoder().encode([*fields, (b"x-last", b"1")])
    section, table = FieldSections().read(EMPTY_TABLE, block, MAX_LIST)
    assert section.kind is SectionKind.TOO_LARGE
    assert section.fields == ()
    assert table.fields[0].pair == (b"x-last", b"1")


def test_many_crumbs_of_a_cookie_are_one_field():
    crumbs = [(b"cookie", b"c%d=1" % number) for number in range(2 * MAX_FIELDS)]
    section = section_of([*REQUEST, (b"a", b"1"), *crumbs, (b"b", b"2")])
    assert [name for name, _ in section.fields] == [b"a", b"cookie", b"b"]
    assert section.fields[1][1] == b"; ".join(value for _, value in crumbs)


def test_heads_that_are_all_different_push_nothing_out():
    sections, source = FieldSections(), random.Random(1)
    for _ in range(2):
        sections.read(EMPTY_TABLE, b"\x82", MAX_LIST)
    for _ in range(5000):
        sections.read(EMPTY_TABLE, b"\x00\x01a\x08%08x" % source.getrandbits(32), MAX_LIST)
    assert EMPTY_TABLE.mark + b"\x82" in sections.known
    assert len(sections.known) < 10


@pytest.mark.slow
def test_blocks_of_the_worst_kind_stay_within_their_memory():
    """Each leaves another table with large entries, and comes twice."""
    sections = FieldSections()
    tracemalloc.start()
    try:
        for number in range(200):
            block = b"\x82" + b"".join(b"\x40\x03x-a\x0c%06d%06d" % (number, field) for field in range(80))
            for _ in range(2):
                sections.read(EMPTY_TABLE, block, MAX_LIST)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(sections.known) > 10
    assert held < 24 * 1024 * 1024  # two generations of blocks and of fields, and what was counted short


# What makes a section malformed: RFC 9113, section 8


GET = dict(REQUEST)


def request(*more, **changes):
    pseudo = {**GET, **{b":" + name.encode(): value for name, value in changes.items()}}
    return [(name, value) for name, value in pseudo.items() if value is not None] + [*more]


@pytest.mark.parametrize(
    "fields",
    [
        request(method=None),
        request(scheme=None),
        request(path=None),
        request(path=b""),
        request(path=b"x"),
        request(path=b"*"),
        request(path=b"/a b"),
        request(path=b"/a#b"),
        request(method=b"G T"),
        request(scheme=b"ht tp"),
        request(authority=b"user@www.example.com"),
        request(authority=b""),
        request(status=b"200"),
        request(unknown=b"1"),
        request((b":path", b"/again")),
        [(b"accept", b"*/*"), *REQUEST],
        [*REQUEST[:3], (b"accept", b"*/*"), REQUEST[3]],
        [*REQUEST[:3], (b"cookie", b"a"), REQUEST[3]],
        [*REQUEST[:3], (b"host", b"www.example.com"), REQUEST[3]],
        request((b"Accept", b"*/*")),
        request((b"", b"x")),
        request((b"a b", b"x")),
        request((b"a:", b"x")),
        request((b"a", b"x\0")),
        request((b"a", b"x\r\ny: z")),
        request((b"a", b" x")),
        request((b"a", b"x\t")),
        request((b"connection", b"close")),
        request((b"proxy-connection", b"close")),
        request((b"keep-alive", b"1")),
        request((b"transfer-encoding", b"chunked")),
        request((b"upgrade", b"websocket")),
        request((b"te", b"gzip")),
        request((b"host", b"other.example.com")),
        request((b"host", b"a b"), authority=None),
        request((b"content-length", b"1"), (b"content-length", b"1")),
        request((b"content-length", b"+1")),
        request(method=b"CONNECT"),
        request(method=b"CONNECT", scheme=None, path=None, authority=None),
        request(protocol=b"websocket"),
        request(protocol=b"websocket", method=b"CONNECT", authority=None),
        [(b":status", b"20")],
        [(b":status", b"101")],
        [(b":status", b"600")],
        [(b":status", b"200"), (b":status", b"200")],
    ],
)
def test_a_malformed_section_is_found(fields):
    section = section_of(fields)
    assert section.kind is SectionKind.MALFORMED
    assert section.problem


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (request(), {"method": b"GET", "scheme": b"https", "authority": b"www.example.com", "path": b"/"}),
        (request((b"host", b"WWW.example.com")), {"authority": b"www.example.com", "fields": ()}),
        (request((b"host", b"b.example"), authority=None), {"authority": b"b.example"}),
        (request(authority=None), {"authority": b""}),
        (request(method=b"OPTIONS", path=b"*"), {"path": b"*"}),
        (request(method=b"CONNECT", scheme=None, path=None), {"method": b"CONNECT", "path": b""}),
        (request(method=b"CONNECT", protocol=b"websocket"), {"protocol": b"websocket", "path": b"/"}),
        (request((b"content-length", b"12")), {"length": 12, "fields": ((b"content-length", b"12"),)}),
        (request((b"priority", b"i, u=5")), {"urgency": 5}),
        (request((b"priority", b"u=9")), {"urgency": 3}),
        (request((b"te", b"trailers"), (b"x", b"\xff")), {"fields": ((b"te", b"trailers"), (b"x", b"\xff"))}),
        ([(b":status", b"204"), (b"a", b"")], {"kind": SectionKind.RESPONSE, "status": 204, "fields": ((b"a", b""),)}),
        ([(b"grpc-status", b"0")], {"kind": SectionKind.TRAILERS}),
        ([], {"kind": SectionKind.TRAILERS, "fields": ()}),
    ],
)
def test_a_valid_section_is_read(fields, expected):
    section = section_of(fields)
    assert {name: getattr(section, name) for name in expected} == expected


# Writing


NAME = st.sampled_from([b":status", b"Content-Type", b"x-custom", b"set-cookie", b"accept-encoding", b"x" * 200])
VALUE = st.one_of(st.sampled_from([b"200", b"gzip, deflate", b""]), st.binary(max_size=300))


@given(st.lists(st.tuples(NAME, VALUE)))
def test_what_is_written_is_read_by_hpack(fields):
    decoder = hpack.Decoder()
    block = FORGET_TABLE + encode_fields(fields)
    for _ in range(2):
        read = [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
        assert read == [(name.lower(), value) for name, value in fields]
    assert not decoder.header_table.dynamic_entries


def test_long_values_and_names_are_written():
    fields = [(b"x" * 5000, b"y" * 20_000)]
    assert hpack.Decoder(max_header_list_size=2**20).decode(encode_fields(fields), raw=True) == fields


def test_usual_fields_take_a_byte():
    assert encode_status(200) == b"\x88"
    assert (
        encode_fields([(b":method", b"GET"), (b":path", b"/"), (b"accept-encoding", b"gzip, deflate")])
        == b"\x82\x84\x90"
    )
    assert encode_status(200) is encode_status(200)


def test_secrets_are_never_indexed():
    decoded = hpack.Decoder().decode(encode_fields([(b"Authorization", b"x"), (b"cookie", b"y"), (b"accept", b"z")]))
    assert [type(field).__name__ for field in decoded] == ["NeverIndexedHeaderTuple"] * 2 + ["HeaderTuple"]
