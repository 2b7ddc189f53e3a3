"""Markdown to roff and to plain text: no character of a page is lost, and none becomes a request."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from lb.tools.manual.blocks import Bullet, Code, Heading, Paragraph, Span, TableRow, blocks_of
from lb.tools.manual.roff import roff
from lb.tools.manual.text import plain_page

PAGE = r"""
## A `key` of it

Words with `code`, **much** and *some* of [a link](other.md#part) and [one](https://example.com/a/b).
The next line.

- one `a-b`
- two

1. first

| key | type | default | meaning | change it when |
|---|---|---|---|---|
| `name` | text | `"-"` | What it is. | |
| `other` | text | none | Another. | it matters |

```sh
.no request \d 'quoted' "^~`"
```
"""


def test_the_parts_of_a_page():
    heading, paragraph, one, _, first, name, other, code = blocks_of(PAGE)
    assert heading == Heading(2, (Span("A "), Span("key", "bold"), Span(" of it")))
    assert {Span("code", "bold"), Span("much", "bold"), Span("some", "italic"), Span("a link")} <= {*paragraph.text}
    assert Span(" <https://example.com/a/b>") in paragraph.text
    assert (one, first) == (Bullet((Span("one "), Span("a-b", "bold"))), Bullet((Span("first"),), 1))
    assert name == TableRow(
        (Span("name", "bold"),),
        (Span("text"), Span("; "), Span("default "), Span('"-"', "bold")),
        ((Span("What it is."),),),
    )
    assert other.body == ((Span("Another."),), (Span("Change it when: "), Span("it matters")))
    assert code == Code((""".no request \\d 'quoted' "^~`\"""",))


def test_plain_text():
    assert plain_page(blocks_of(PAGE)).splitlines() == [
        "A KEY OF IT",
        "",
        "       Words with code, much and some of a link and one",
        "       <https://example.com/a/b>. The next line.",
        "       - one a-b",
        "       - two",
        "       1. first",
        "",
        '       name (text; default "-")',
        "           What it is.",
        "",
        "       other (text; default none)",
        "           Another.",
        "           Change it when: it matters",
        "",
        """           .no request \\d 'quoted' "^~`\"""",
    ]


def test_a_line_that_looks_like_a_request_is_text():
    assert r"\&.SH here" in roff("x", 1, "x", [Paragraph((Span(".SH here"),))])
    assert "\n'" not in roff("x", 1, "x", [Paragraph((Span("'quoted'"),))])


@pytest.mark.parametrize("text", [r"\n \fB \\", "a-b --c", '"quoted"', "'s ^ ~ ` .", "… µs äß", "%{x} .TH ."])
def test_groff_prints_the_same_text(text):
    groff = shutil.which("groff")
    if groff is None:
        assert not os.environ.get("CI"), "groff is not installed"
        pytest.skip("there is no groff")
    source = roff("x", 1, "x", [Code((text,))])
    command = [groff, "-man", "-Tutf8", "-K", "utf8", "-P-c", "-ww"]
    printed = subprocess.run(command, input=source, check=True, capture_output=True, text=True, encoding="utf-8")
    assert printed.stderr == ""
    assert text in printed.stdout
