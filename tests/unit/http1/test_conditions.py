"""Conditional requests: RFC 9110, section 13."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.conditions import NO_VALIDATORS, Validators, is_unmodified, may_use_range, precondition
from lb.http1.field_block import FieldBlocks
from lb.model.http_dates import http_date

NOW = 1_764_000_000
MODIFIED = NOW - 86400
STRONG = Validators(b'"v1"', MODIFIED)
WEAK = Validators(b'W/"v1"', MODIFIED)


def block(*lines):
    return FieldBlocks().read(b"".join(line + b"\r\n" for line in (b"Host: a", *lines)))


def date(name, seconds):
    return name + b": " + http_date(seconds)


BEFORE, SAME, AFTER = MODIFIED - 1, MODIFIED, MODIFIED + 1
IF_MATCH, IF_NONE_MATCH = b"If-Match: ", b"If-None-Match: "
SINCE, UNSINCE = b"If-Modified-Since", b"If-Unmodified-Since"

GET_CASES = {
    "nothing is asked": ((), None),
    "the tag is there": ((IF_MATCH + b'"v1"',), None),
    "the tag is in a list": ((IF_MATCH + b'"v0", "v1"',), None),
    "the tag is in a second line": ((IF_MATCH + b'"v0"', IF_MATCH + b'"v1"'), None),
    "another tag": ((IF_MATCH + b'"v2"',), 412),
    "a weak tag does not match strongly": ((IF_MATCH + b'W/"v1"',), 412),
    "any": ((IF_MATCH + b"*",), None),
    "any is alone": ((IF_MATCH + b'*, "v2"',), 412),
    "a malformed list matches nothing": ((IF_MATCH + b'"v1" "v1"',), 412),
    "an open quote matches nothing": ((IF_MATCH + b'"v1', IF_MATCH + b"v1"), 412),
    "not a tag": ((IF_MATCH + b"v1",), 412),
    "unmodified since": ((date(UNSINCE, SAME),), None),
    "modified since": ((date(UNSINCE, BEFORE),), 412),
    "If-Match is before If-Unmodified-Since": ((IF_MATCH + b'"v1"', date(UNSINCE, BEFORE)), None),
    "an If-Unmodified-Since that is no date": ((UNSINCE + b": yesterday",), None),
    "the client has it": ((IF_NONE_MATCH + b'"v1"',), 304),
    "the client has it, weakly": ((IF_NONE_MATCH + b'W/"v1"',), 304),
    "the client has one of them": ((IF_NONE_MATCH + b'"v0" ,, \t"v1",',), 304),
    "the client has another": ((IF_NONE_MATCH + b'"v2"',), None),
    "the client has any": ((IF_NONE_MATCH + b"*",), 304),
    "a tag with a comma": ((IF_NONE_MATCH + b'"x,", "v1"',), 304),
    "a tag within a tag is none": ((IF_NONE_MATCH + b'"x, ""v1"',), None),
    "not modified since": ((date(SINCE, SAME),), 304),
    "not modified for longer": ((date(SINCE, AFTER),), 304),
    "modified after": ((date(SINCE, BEFORE),), None),
    "If-None-Match is before If-Modified-Since": ((IF_NONE_MATCH + b'"v2"', date(SINCE, AFTER)), None),
    "If-Match is before If-None-Match": ((IF_MATCH + b'"v2"', IF_NONE_MATCH + b'"v1"'), 412),
    "both are evaluated": ((IF_MATCH + b'"v1"', IF_NONE_MATCH + b'"v1"'), 304),
    "an If-Modified-Since that is no date": ((SINCE + b": yesterday",), None),
    "an If-Modified-Since that is there twice": ((date(SINCE, AFTER), date(SINCE, AFTER)), None),
}


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("case", GET_CASES)
def test_what_a_read_gets(case, method):
    lines, status = GET_CASES[case]
    assert precondition(method, block(*lines), STRONG, NOW) == status


PUT_CASES = {
    "the state that is expected": ((IF_MATCH + b'"v1"',), None),
    "another state": ((IF_MATCH + b'"v2"',), 412),
    "only if there is none": ((IF_NONE_MATCH + b"*",), 412),
    "not if it is this": ((IF_NONE_MATCH + b'"v1"',), 412),
    "not if it is another": ((IF_NONE_MATCH + b'"v2"',), None),
    "If-Modified-Since is for reads": ((date(SINCE, AFTER),), None),
}


@pytest.mark.parametrize("case", PUT_CASES)
def test_what_a_write_gets(case):
    lines, status = PUT_CASES[case]
    assert precondition(b"PUT", block(*lines), STRONG, NOW) == status


def test_a_weak_tag_is_no_base_for_a_write_but_spares_a_read():
    assert precondition(b"GET", block(IF_MATCH + b'W/"v1"'), WEAK, NOW) == 412
    assert precondition(b"GET", block(IF_MATCH + b'"v1"'), WEAK, NOW) == 412
    assert precondition(b"GET", block(IF_NONE_MATCH + b'"v1"'), WEAK, NOW) == 304


def test_without_validators_dates_are_not_heeded():
    lines = (date(SINCE, AFTER), date(UNSINCE, BEFORE))
    assert precondition(b"GET", block(*lines), NO_VALIDATORS, NOW) is None
    assert precondition(b"GET", block(IF_NONE_MATCH + b'"v1"'), NO_VALIDATORS, NOW) is None
    assert precondition(b"GET", block(IF_MATCH + b'"v1"'), NO_VALIDATORS, NOW) == 412


def test_a_cache_does_not_evaluate_what_is_for_the_server():
    assert is_unmodified(block(IF_MATCH + b'"v2"', IF_NONE_MATCH + b'"v1"'), STRONG, NOW)


RANGE_CASES = {
    "no condition": ((), True),
    "the same tag": ((b'If-Range: "v1"',), True),
    "another tag": ((b'If-Range: "v2"',), False),
    "a weak tag": ((b'If-Range: W/"v1"',), False),
    "a list": ((b'If-Range: "v1", "v1"',), False),
    "the same date": ((date(b"If-Range", SAME),), True),
    "an earlier date": ((date(b"If-Range", BEFORE),), False),
    "a later date": ((date(b"If-Range", AFTER),), False),
    "not a date": ((b"If-Range: v1",), False),
    "twice": ((b'If-Range: "v1"', b'If-Range: "v1"'), False),
}


@pytest.mark.parametrize("case", RANGE_CASES)
def test_whether_a_part_fits_what_the_client_has(case):
    lines, fits = RANGE_CASES[case]
    assert may_use_range(block(*lines), STRONG, NOW) is fits


def test_a_part_of_a_state_with_a_weak_tag_fits_nothing():
    assert not may_use_range(block(b'If-Range: W/"v1"'), WEAK, NOW)


TAG = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"], exclude_characters='" \x7f'), max_size=6)
SPACE = st.sampled_from(["", " ", "\t", "  "])


@st.composite
def tag_lists(draw):
    tags = draw(st.lists(st.tuples(st.booleans(), TAG), min_size=1, max_size=5))
    text = ""
    for weak, tag in tags:
        empty = draw(st.sampled_from(["", ",", ", ,"]))
        text += f'{draw(SPACE)}{empty}{draw(SPACE)}{"W/" if weak else ""}"{tag}"{draw(SPACE)},'
    return tags, text.removesuffix(",") if draw(st.booleans()) else text


@given(tag_lists(), TAG)
def test_a_list_means_its_tags(tagged, other):
    tags, text = tagged
    lines = block(IF_NONE_MATCH + text.encode("latin-1")), block(IF_MATCH + text.encode("latin-1"))
    for tag in {tag for _, tag in tags} | {other}:
        state = Validators(f'"{tag}"'.encode("latin-1"))
        listed = tag in {each for _, each in tags}
        assert precondition(b"GET", lines[0], state, NOW) == (304 if listed else None)
        assert precondition(b"GET", lines[1], state, NOW) == (None if (False, tag) in tags else 412)


@given(st.text(st.sampled_from('",W/ \tab*'), max_size=12))
def test_any_value_is_judged(text):
    value = text.encode()
    assert precondition(b"GET", block(IF_NONE_MATCH + value), STRONG, NOW) in (None, 304)
    assert precondition(b"PUT", block(IF_MATCH + value), STRONG, NOW) == (None if value.strip(b" \t") == b"*" else 412)
