"""AMF0: what is written is read back, and bad bytes end in one error."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.rtmp.amf0 import MAX_AMF_BYTES, decode_amf0, encode_amf0
from lb.media.rtmp.errors import ProtocolError

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def nested(depth):
    value = 1.0
    for _ in range(depth):
        value = {"in": value}
    return value


@given(st.lists(VALUES))
def test_values_come_back(values):
    assert decode_amf0(encode_amf0(*values)) == values


def test_a_long_text_comes_back():
    assert decode_amf0(encode_amf0("x" * 65_530)) == ["x" * 65_530]
    assert encode_amf0("x" * 70_000)[:5] == b"\x0c" + (70_000).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x06", None),
        (b"\x0d", None),
        (b"\x0b" + struct.pack(">d", 1e12) + b"\0\0", 1e12),
        (b"\x08\0\0\0\x63\0\x01a\x05\0\0\x09", {"a": None}),
        (b"\x10\0\x03cls\0\x01a\x01\x01\0\0\x09", {"a": True}),
        (b"\x0c\0\0\0\x02hi", "hi"),
        (b"\x0f\0\0\0\x03<a>", "<a>"),
        (b"\x02\0\x04a\xff\xfeb", "ab"),
        (b"\x03\0\0\x05\0\0\x09", {"": None}),
    ],
)
def test_what_only_others_write_is_read(data, value):
    assert decode_amf0(data) == [value]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x04", "protocol"),
        (b"\x07\0\x01", "protocol"),
        (b"\x11\x01", "protocol"),
        (b"\x00\0\0", "protocol"),
        (b"\x02\0\x05abc", "protocol"),
        (b"\x03\0\x01a\x05", "protocol"),
        (b"\x0a\xff\xff\xff\xff\x05", "protocol"),
        (b"\x0c\xff\xff\xff\xffx", "protocol"),
        (b"\x05" * (MAX_AMF_BYTES + 1), "limit"),
        (b"\x03\0\x01a" * 9, "limit"),
        (b"\x0a\0\0\0\x01" * 9, "limit"),
    ],
)
def test_bad_values_are_refused(data, reason):
    with pytest.raises(ProtocolError) as caught:
        decode_amf0(data)
    assert caught.value.reason == reason


def test_values_nest_eight_deep():
    assert decode_amf0(encode_amf0(nested(8))) == [nested(8)]
    with pytest.raises(ProtocolError):
        decode_amf0(encode_amf0(nested(9)))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_what_is_read_can_be_sent_on(data):
    try:
        values = decode_amf0(data)
    except ProtocolError:
        return
    assert len(encode_amf0(*values)) <= len(data)
    decode_amf0(encode_amf0(*values))


@given(st.lists(VALUES), st.data())
def test_changed_bytes_are_read_or_refused(values, data):
    whole = bytearray(encode_amf0(*values))
    for _ in range(data.draw(st.integers(0, 3)) if whole else 0):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError):
        decode_amf0(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
