"""The combined result of several checks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.result import Advice, CheckResult, combined

FINE = CheckResult(True, "fine", 1.0)
BAD = CheckResult(False, "HTTP 503", 2.0)


def verdict(require, **results):
    result = combined(results, require)
    return result and (result.passed, result.detail)


@pytest.mark.parametrize(
    ("require", "results", "expected"),
    [
        ("all", {"a": FINE, "b": FINE}, (True, "a: fine; b: fine")),
        ("all", {"a": FINE, "b": BAD}, (False, "b: HTTP 503")),
        ("all", {"a": BAD, "b": BAD}, (False, "a: HTTP 503; b: HTTP 503")),
        ("any", {"a": FINE, "b": BAD}, (True, "a: fine")),
        ("any", {"a": BAD, "b": BAD}, (False, "a: HTTP 503; b: HTTP 503")),
        ("all", {"a": None, "b": FINE}, None),
        ("all", {"a": None, "b": BAD}, (False, "b: HTTP 503")),
        ("any", {"a": None, "b": FINE}, (True, "b: fine")),
        ("any", {"a": None, "b": BAD}, None),
        ("all", {"a": None, "b": None}, None),
        ("any", {"a": None, "b": None}, None),
    ],
)
def test_all_or_any(require, results, expected):
    assert verdict(require, **results) == expected


WORD = st.none() | st.builds(
    CheckResult, st.booleans(), st.just("word"), st.floats(0, 9), at_once=st.booleans(), advice=st.builds(Advice)
)


@given(st.lists(WORD, min_size=1, max_size=4), st.sampled_from(["all", "any"]))
def test_a_check_that_could_not_be_made_does_not_matter_if_there_is_a_verdict(results, require):
    """If the missing result cannot change the combined one."""
    found = combined({str(number): result for number, result in enumerate(results)}, require)
    for instead in (FINE, BAD):
        whole = combined({str(number): result or instead for number, result in enumerate(results)}, require)
        assert whole is not None
        assert found is None or found.passed is whole.passed
        assert whole.passed is (all if require == "all" else any)((result or instead).passed for result in results)


def test_the_longest_check_is_how_long_it_took_and_a_bug_is_handed_on():
    bug = KeyError("oops")
    result = combined({"a": CheckResult(True, "fine", 5.0, exception=bug), "b": BAD}, "any")
    assert result
    assert result.ms == 5.0
    assert result.exception is bug


@pytest.mark.parametrize(
    ("require", "word", "other", "at_once"),
    [
        ("all", False, True, True),
        ("all", False, False, True),
        ("all", True, True, False),  # the other check's passes need confirmation
        ("any", True, True, True),
        ("any", False, True, False),  # outvoted
        ("any", False, False, True),
    ],
)
def test_a_word_counts_at_once_where_it_decides(require, word, other, at_once):
    said = CheckResult(word, "word", 1.0, at_once=True)
    result = combined({"agent": said, "tcp": CheckResult(other, "x", 1.0)}, require)
    assert result
    assert result.at_once is at_once


def test_wishes_are_heard_whatever_the_verdict():
    word = CheckResult(True, "drain 20%", 1.0, at_once=True, advice=Advice(20, "drain"))
    result = combined({"tcp": BAD, "agent": word}, "all")
    assert result
    assert result.advice == Advice(20, "drain")
