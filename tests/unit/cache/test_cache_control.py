"""Cache-Control: what is there twice, invalid or in quotes is read in the strictest way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cache.cache_control import MAX_SECONDS, cache_control, delta_seconds, targeted_cache_control


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ([b"max-age=60"], 60),
        ([b"public, MAX-AGE=60"], 60),
        ([b'max-age="60"'], 60),
        ([b"max-age=0060"], 60),
        ([b"max-age=60, max-age=5"], 5),
        ([b"max-age=5", b"max-age=60"], 5),
        ([b"max-age=2147483649"], MAX_SECONDS),
        ([b"max-age=" + b"9" * 5000], MAX_SECONDS),
        ([b"max-age"], 0),
        ([b"max-age="], 0),
        ([b"max-age=-60"], 0),
        ([b"max-age=60.5"], 0),
        ([b"max-age=60s"], 0),
        ([b"max-age='60'"], 0),
        ([b"max-age =60"], 0),
        ([b"max-age= 60"], 0),
        ([b"max-age=60;x"], 0),
        ("max-age=٦٠".encode(), 0),
        ([b'x="max-age=60"'], None),
        ([b'x="\\", max-age=60"'], None),
        ([b'x="a, max-age=60'], 60),  # no end of the quotes: it hides nothing
        ([b"s-maxage=60"], None),
        ([b""], None),
        ([b",,"], None),
        ([], None),
    ],
)
def test_the_time_of_a_directive(lines, seconds):
    assert cache_control([lines] if isinstance(lines, bytes) else lines).seconds(b"max-age") == seconds


@pytest.mark.parametrize(
    ("value", "whole", "fields"),
    [
        (b"private", True, ()),
        (b"PRIVATE", True, ()),
        (b'private="A, b"', False, (b"a", b"b")),
        (b"private=a", False, (b"a",)),
        (b'private=""', True, ()),
        (b'private=" , "', True, ()),
        (b"private=", True, ()),
        (b'private ="a"', True, ()),
        (b'private="a", private', True, (b"a",)),
        (b'private="a", private="b"', False, (b"a", b"b")),
        (b'x="private"', False, ()),
        (b"", False, ()),
    ],
)
def test_a_directive_for_named_fields_is_not_for_the_whole_response(value, whole, fields):
    control = cache_control([value])
    assert (control.is_whole(b"private"), control.fields(b"private")) == (whole, frozenset(fields))


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_any_bytes_are_read(lines):
    seconds = cache_control(lines).seconds(b"max-age")
    assert seconds is None or 0 <= seconds <= MAX_SECONDS
    targeted_cache_control(lines)


directive = st.one_of(
    st.sampled_from(["public", "no-store", "x", 'ext="a, b"', "private"]),
    st.integers(0, 99).map(lambda seconds: f"max-age={seconds}"),
)


@given(st.lists(directive, min_size=1, max_size=6), st.integers(0, 6))
def test_directives_in_one_line_or_several_are_the_same(directives, at):
    one = cache_control([", ".join(directives).encode()])
    several = cache_control([" ,".join(part).encode() for part in (directives[:at], directives[at:])])
    for name in (b"public", b"no-store", b"private", b"b"):
        assert (name in one) == (name in several) == (name.decode() in directives)
    assert one.seconds(b"max-age") == several.seconds(b"max-age")


@pytest.mark.parametrize("value", [b'"' * 200_001, b'"\\' * 100_000, b'x="' + b"\\" * 200_001, b"a=" * 100_000])
def test_a_long_value_takes_no_long_time(value):
    """Quadratic reading would take minutes."""
    cache_control([value])
    targeted_cache_control([value])
    targeted_cache_control([b"a=" + value])


@given(st.integers(0, 10**12))
def test_seconds_have_a_limit(seconds):
    assert delta_seconds(b"%d" % seconds) == min(seconds, MAX_SECONDS)


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ([b"max-age=60"], 60),
        ([b"public, max-age=60;x=y"], 60),
        ([b"max-age=5, max-age=60"], 60),  # the last one, as in all dictionaries
        ([b"max-age=5", b"max-age=60"], 60),
        ([b'a=("x" y);z, b=?1, c=:YQ==:, d=1.5, max-age=60'], 60),
        ([b"max-age=-1"], 0),
        ([b"max-age=99999999999"], MAX_SECONDS),
        ([b"no-store"], None),
    ],
)
def test_a_targeted_field_is_a_dictionary(lines, seconds):
    control = targeted_cache_control(lines)
    assert control is not None
    assert control.seconds(b"max-age") == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"max-age=60, &&&",
        b'max-age="60"',
        b"max-age=60.0",
        b"max-age",
        b"max-age=?1",
        b"max-age=(60)",
        b"MAX-AGE=60",
        b"max-age =60",
        b"max-age= 60",
        b"max-age=60,",
        b",max-age=60",
        b"max-age=60 private",
        b'private="a',
        b"max-age=1234567890123456",
    ],
)
def test_a_targeted_field_that_is_malformed_or_empty_is_none(value):
    assert targeted_cache_control([value]) is None
    assert targeted_cache_control([]) is None


def test_a_directive_of_a_targeted_field_that_is_false_is_missing():
    control = targeted_cache_control([b"private=?0, no-cache=?1, no-store"])
    assert control is not None
    assert b"private" not in control
    assert control.is_whole(b"no-cache")
    assert b"no-store" in control
