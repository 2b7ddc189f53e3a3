"""The writing of log lines."""

from __future__ import annotations

import select

from hypothesis import given
from hypothesis import strategies as st

from lb.log.lines import whole_lines


@given(st.lists(st.binary(max_size=9000).map(lambda line: line.replace(b"\n", b".") + b"\n"), max_size=8))
def test_lines_of_two_processes_never_mix_as_pieces_are_whole_lines(lines):
    data = memoryview(b"".join(lines))
    pieces = []
    while data:
        pieces.append(bytes(whole_lines(data)))
        data = data[len(pieces[-1]) :]
    assert b"".join(pieces) == b"".join(lines)
    for piece in pieces:
        assert piece.endswith(b"\n")
        assert len(piece) <= select.PIPE_BUF or piece.count(b"\n") == 1
