"""Texts from outside as texts for people."""

from __future__ import annotations

import pytest

from lb.model.printable import printable, shortened


@pytest.mark.parametrize(("text", "shown"), [("é a", "é a"), ("a\n\x1b[0m", r"a\n\x1b[0m"), ("\\xff\n", r"\xff\n")])
def test_what_is_not_printable_is_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(("text", "cut"), [("", ""), ("abcd", "abcd"), ("abcde", "abc…")])
def test_a_long_text_is_cut(text, cut):
    assert shortened(text, 4) == cut
