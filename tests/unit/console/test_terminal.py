"""The terminal of a live view: parsing of keys, and restoring the terminal."""

from __future__ import annotations

import os
import pty
import termios

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from lb.console.terminal import keys, single_keys, split_keys
from tests.support.balancer import PATIENCE


def test_an_exception_leaves_the_terminal_as_it_was():
    ours, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)

    def fail_on_the_way():
        with single_keys(terminal):
            assert termios.tcgetattr(terminal) != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_on_the_way()
    assert termios.tcgetattr(terminal) == before
    os.close(ours)
    os.close(terminal)


SENT = {"\x1b[A": "up", "\x1bOB": "down", "\x1b[5~": "page up", "\x1b[1;5A": "\x1b[1;5A", "q": "q", "ä": "ä", "[": "["}


@given(st.lists(st.sampled_from([*SENT])), st.integers(min_value=1, max_value=4))
def test_keys_are_found_however_the_line_cuts_them(sent, size):
    text = "".join(sent)
    found, rest = [], ""
    for start in range(0, len(text), size):
        more, rest = split_keys(rest + text[start : start + size])
        found += more
    assert (found, rest) == ([SENT[each] for each in sent], "")


def test_an_escape_is_a_key_once_it_cannot_be_the_beginning_of_one():
    assert split_keys("\x1b") == ([], "\x1b")
    assert split_keys("\x1bq") == (["\x1b", "q"], "")


async def test_keys_end_with_the_terminal():
    ours, terminal = pty.openpty()
    with single_keys(terminal):
        os.write(ours, b"a\x1b[B")
        pressed = keys(terminal)
        assert [await anext(pressed), await anext(pressed)] == ["a", "down"]
        os.close(ours)
        with trio.fail_after(PATIENCE):
            assert [key async for key in pressed] == []
    os.close(terminal)
