"""Rows, sections and cells of the pages of the reference."""

from __future__ import annotations

import pytest

from lb.tools.reference.tables import literal, page, plain_text, rows, section
from tests.support.paths import DOCS


def test_a_page_is_that_of_the_documentation():
    assert page("events.md") == (DOCS / "reference" / "events.md").read_text()


def test_a_section_ends_at_the_next_heading():
    text = section("configuration.md", "## `[log]`")
    assert [*rows(text)] == ["level", "format", "connections"]
    with pytest.raises(LookupError, match="has no heading '## Nothing'"):
        section("configuration.md", "## Nothing")


@pytest.mark.parametrize(("cell", "value"), [("`3`", "3"), ('`"1m"`', '"1m"'), ("none", None), ("the pool", None)])
def test_a_default_is_a_value_or_prose(cell, value):
    assert literal(cell) == value


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("[a](b.md#c), [`[d]`](e)", "a, `[d]`"),
        (r"`a\|b`", "`a|b`"),
        ("`bind = [1]` (b)", "`bind = [1]` (b)"),
    ],
)
def test_plain_text_has_no_links(markdown, text):
    assert plain_text(markdown) == text
