"""nginx's times, sizes and expressions: the same in the units of lb.toml."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model.values import byte_size, duration
from lb.tools.migrate.nginx.locations import is_about_dot_files, paths_of_regex
from lb.tools.migrate.nginx.units import as_duration, as_size, byte_count, time_in_seconds
from lb.tools.migrate.nginx.variables import hash_key_of, key_text

TIMES = st.builds("{}{}".format, st.integers(0, 3000), st.sampled_from(("", "ms", "s", "m", "h", "d", "w")))
SIZES = st.builds("{}{}".format, st.integers(0, 5000), st.sampled_from(("", "k", "K", "m", "M", "g")))


@given(TIMES)
def test_a_time_stays_as_long(text):
    assert duration(as_duration(text)) == pytest.approx(time_in_seconds(text))


@given(SIZES)
def test_a_size_stays_as_large(text):
    assert byte_size(most=10**15)(as_size(text)) == byte_count(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", "90s"), ("60", "1m"), ("1h", "1h"), ("1d", "24h"), ("120m", "2h"), ("1h 30m", "90m"), ("0", "0")],
)
def test_times_are_written_plainly(text, expected):
    assert as_duration(text) == expected


@pytest.mark.parametrize("text", ["", "x", "10q", "$time", "1.5s"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="is no time"):
        as_duration(text)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("^/api/", [("/api/", False)]),
        ("^/(a|b)/", [("/a/", False), ("/b/", False)]),
        ("^/(?:a|b)/c", [("/a/c", False), ("/b/c", False)]),
        ("^/feed$", [("/feed", True)]),
        (r"^/robots\.txt$", [("/robots.txt", True)]),
        ("^/app/(.*)$", [("/app/", False)]),
        ("^/app(/.*)?$", [("/app", False)]),
        ("^/app/?$", [("/app", True), ("/app/", True)]),
        (r"\.php$", None),
        ("^/user/[0-9]+", None),
        (r"^/(\d+)/", None),
        ("/api/", None),
        ("^/a.b$", None),
    ],
)
def test_an_expression_that_means_paths(expression, expected):
    found = paths_of_regex(expression)
    assert (found if found is None else [*found]) == expected
    for path, _ in expected or ():
        assert re.match(expression, path)


@pytest.mark.parametrize("expression", [r"/\.", r"/\.ht", r"/\.(?!well-known)", r"(^|/)\.", r"/\.git"])
def test_expressions_for_hidden_files(expression):
    assert is_about_dot_files(expression)


@pytest.mark.parametrize("expression", [r"\.php$", r"\.(jpg|png)$", "^/a/"])
def test_expressions_for_other_files(expression):
    assert not is_about_dot_files(expression)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$scheme$host$request_uri", "{scheme}{host}{uri}"),
        ("$host$uri$is_args$args", "{host}{uri}"),
        ("${host}${cookie_lang}", "{host}{cookie:lang}"),
        ("$uri$http_x_user$arg_page", "{path}{header:X-User}{argument:page}"),
        ("$host$remote_addr", None),
    ],
)
def test_keys_of_caches(text, expected):
    assert key_text(text, {}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$remote_addr", "source-ip"),
        ("$binary_remote_addr", "source-ip"),
        ("$remote_addr$remote_port", "source-ip-port"),
        ("${request_uri}", "uri"),
        ("$http_x_user", "header:X-User"),
        ("$cookie_a", "cookie:a"),
        ("$arg_q", "query:q"),
        ("$foo", None),
    ],
)
def test_keys_of_hashes(text, expected):
    assert hash_key_of(text) == expected
