"""What a draft is written as: TOML that says the same, in the usual order, with its comments."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from lb.tools.migrate.draft import Draft, DraftTable
from lb.tools.migrate.toml_text import WIDTH, toml_text

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
VALUES = st.recursive(
    TEXTS | st.integers(-(2**31), 2**31) | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
KEYS = st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3)


def draft(content):
    """Return a draft whose tables are those of a dictionary two levels deep."""
    found = Draft()
    for kind, tables in content.items():
        for name, keys in tables.items():
            found.table(kind, name).update(keys)
    return found


@given(st.fixed_dictionaries({"listeners": st.dictionaries(TEXTS, KEYS, min_size=1, max_size=2)}))
def test_any_draft_is_toml_and_says_the_same(content):
    assert tomllib.loads(toml_text(draft(content))) == content


def test_the_order_of_the_file_and_of_keys():
    found = Draft()
    found.pool("web")["servers"] = ["10.0.0.1:80"]
    www = found.listener("www")
    route = www.add("routes")
    route["strip_prefix"] = "/a"
    route["path"] = "/a"
    route["pool"] = "web"
    www["bind"] = ":80"
    www["mode"] = "http"
    found.table("caches", "films")["path"] = "/var/cache"
    assert toml_text(found) == (
        '[caches.films]\npath = "/var/cache"\n\n'
        '[listeners.www]\nmode = "http"\nbind = ":80"\n\n'
        '[[listeners.www.routes]]\npath = "/a"\npool = "web"\nstrip_prefix = "/a"\n\n'
        '[pools.web]\nservers = ["10.0.0.1:80"]\n'
    )


def test_comments_stand_below_the_keys_of_their_table_and_are_wrapped():
    found = Draft()
    found.note("of the file")
    found.table("log")["level"] = "info"
    found.table("log").note("word " * 40)
    lines = toml_text(found).splitlines()
    assert lines[:4] == ["# of the file", "", "[log]", 'level = "info"']
    assert lines[4].startswith("# word word")
    assert lines[5].startswith("#   word word")
    assert max(map(len, lines)) <= WIDTH


def test_a_small_table_that_is_too_wide_gets_a_header():
    found = Draft()
    route = found.listener("www").add("routes")
    route["response_headers"] = {"add": {f"X-Name-{number}": "a value of some length" for number in range(6)}}
    text = toml_text(found)
    assert "[listeners.www.routes.response_headers.add]\n" in text
    assert tomllib.loads(text)["listeners"]["www"]["routes"] == [route.keys]


def test_what_is_empty_is_not_written():
    found = Draft()
    found.table("process")
    found.listener("www").table("tls")
    assert found.is_empty()
    assert DraftTable().is_empty()
    assert toml_text(found).strip() == ""
