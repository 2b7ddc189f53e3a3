"""Lines of a stream that comes in pieces."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from lb.etcd.line_buffer import LineBuffer


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b""))), st.lists(st.integers(1, 30)))
def test_lines_are_whole_however_they_come(lines, sizes):
    stream = b"".join(line + b"\n" for line in lines)

    async def read():
        buffer = LineBuffer(10_000)
        found = []

        async def take():
            found.extend([await buffer.next() for _ in lines])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            rest = stream
            for size in sizes or [1]:
                assert buffer.put(rest[:size])
                rest = rest[size:]
                await trio.lowlevel.checkpoint()
            assert buffer.put(rest)
        return found

    assert trio.run(read) == lines


async def test_a_line_without_end_is_not_taken_for_ever():
    buffer = LineBuffer(100)
    assert buffer.put(b"x" * 100)
    assert not buffer.put(b"x")
