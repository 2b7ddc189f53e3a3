"""Regular expressions over a server's answer: those of Python's syntax that RE2 has, with the same meaning."""

import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.pattern import Pattern

SAME = [
    "",
    "ok",
    "^ok$",
    r"\Aok\Z",
    r"ok\$",
    "[$]",
    "[^]$]k$",
    r"[\]$]",
    "o.",
    r"^\+PONG",
    r"(?i)OK",
    r"(?m)^ok$",
    r"(?m)o$",
    "(?s)o.*k",
    "(?P<name>ok)+",
    r"\d+ up",
    r"\bok\b",
    "é",
    r"\xff",
    "(a|ok)*$",
    "o{1,2}k??",
]


@pytest.mark.parametrize("pattern", SAME)
@given(data=st.text("ok $]\n9é", max_size=8).map(str.encode) | st.binary(max_size=8))
def test_a_pattern_matches_what_it_does_in_python(pattern, data):
    assert (Pattern(pattern).end_in(data) is not None) is (re.search(pattern.encode(), data) is not None)


def test_where_a_match_ends():
    assert Pattern("b+").end_in(bytearray(b"abbc")) == 3
    assert Pattern("b+").end_in(b"ac") is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "missing ): ("),
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("(?=a)", "invalid perl operator: (?="),
        ("(?<!a)b", "invalid perl operator: (?<!"),
        ("a++", "bad repetition operator: ++"),
        ("a{0,5000}", "invalid repetition size: {0,5000}"),
    ],
)
def test_what_no_engine_does_in_linear_time_is_refused(pattern, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", [r"\d+ up", "(1+)+x", r"(1|11)*x", "1*1*1*x", r"(?:.*){30}x"])
def test_no_answer_takes_long(pattern):
    """Python's engine took ten seconds for the first, and more than a lifetime for the second."""
    compiled, began = Pattern(pattern), time.process_time()
    assert compiled.end_in(b"1" * 65_536) is None
    assert time.process_time() - began < 0.5


def test_the_engine_is_loaded_with_the_first_pattern():
    code = """
import sys
from healthcheck.probes.exchange import ExchangeProbe
from healthcheck.probes.http import HttpProbe
HttpProbe(), ExchangeProbe(send="x")
print("re2" in sys.modules)
HttpProbe(expect_body="x")
print("re2" in sys.modules)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "True"]
