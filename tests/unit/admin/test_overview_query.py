"""What a request for the overview may ask for."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.admin.messages import HttpError
from lb.admin.overview_query import OverviewQuery


def test_without_parameters_everything_is_wanted():
    assert OverviewQuery.parse({}) == OverviewQuery()


def test_each_parameter_is_read():
    given = {"pool": ["web"], "search": ["  Two Words"], "trouble": ["1"], "sort": ["-rate"], "page": ["3"]}
    assert OverviewQuery.parse(given) == OverviewQuery("web", ("two", "words"), True, "rate", True, 3)


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ({"limit": ["1"]}, "unknown parameter"),
        ({"search": ["x" * 201]}, "200 characters"),
        ({"trouble": ["yes"]}, "trouble must be"),
        ({"sort": ["colour"]}, "sort must be one of"),
        ({"sort": ["--rate"]}, "sort must be one of"),
        ({"page": ["0"]}, "page must be"),
        ({"page": ["-1"]}, "page must be"),
        ({"page": ["99999999"]}, "page must be"),
        ({"page": ["\u0661"]}, "page must be"),
    ],
)
def test_anything_else_is_refused(parameter, reason):
    with pytest.raises(HttpError, match=reason) as refused:
        OverviewQuery.parse(parameter)
    assert refused.value.status == 400


@given(st.dictionaries(st.sampled_from(["pool", "search", "trouble", "sort", "page"]), st.lists(st.text(), min_size=1)))
def test_no_text_is_an_error_of_the_balancer(query):
    with suppress(HttpError):
        assert OverviewQuery.parse(query).page >= 1
