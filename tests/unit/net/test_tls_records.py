"""Arriving bytes are split where TLS records end, and counted."""

from __future__ import annotations

import struct

import hypothesis.strategies as st
from hypothesis import given

from lb.net.tls_records import MOST_RECORDS, RecordHeads

LENGTHS = st.one_of(st.integers(0, 30), st.integers(0, 17_000))


def record(length):
    return struct.pack("!BHH", 23, 0x0303, length) + bytes(length)


@given(st.lists(LENGTHS, max_size=40), st.lists(st.integers(1, 3000), max_size=40), st.integers(1, 5000))
def test_whatever_the_chunks_all_bytes_are_there_and_all_records_counted(lengths, sizes, longest):
    records = list(map(record, lengths))
    stream, heads, position, counted, pieces = b"".join(records), RecordHeads(), 0, 0, []
    for size in [*sizes, len(stream) + 1]:
        chunk = stream[position : position + size]
        position += len(chunk)
        if len(records) > 1 or not heads.is_one_record(chunk):
            for piece, count in heads.split(memoryview(chunk), longest):
                assert 0 < len(piece) <= longest
                assert count <= MOST_RECORDS
                pieces.append(bytes(piece))
                counted += count
        else:
            pieces.append(chunk)
            counted += 1
        assert b"".join(pieces) == stream[:position]
    assert counted == len(records)


def test_one_whole_record_is_recognized_and_nothing_else_is():
    heads, whole = RecordHeads(), record(100)
    assert heads.is_one_record(whole)
    assert not heads.is_one_record(whole[:-1])
    assert not heads.is_one_record(whole + b"x")
    assert not heads.is_one_record(whole[:4])
    list(heads.split(memoryview(whole)[:3], 1000))
    assert not heads.is_one_record(whole), "it is the rest of another record"
