"""Weights of Accept and Accept-Encoding."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.accept import best_coding, media_weight, read_weights

OURS = (b"zstd", b"br", b"gzip")


@pytest.mark.parametrize(
    ("value", "coding"),
    {
        b"": None,
        b"gzip": b"gzip",
        b"GZIP": b"gzip",
        b"x-gzip": b"gzip",
        b"gzip, deflate, br, zstd": b"zstd",
        b"gzip, deflate, br": b"br",
        b"deflate": None,
        b"br;q=0.9, gzip": b"gzip",
        b"br;q=0.9,gzip;q=0.901": b"gzip",
        b"br; q=0.9 , gzip ; Q=0.5": b"br",
        b"gzip;q=0": None,
        b"gzip;q=0.000, *": b"zstd",
        b"*": b"zstd",
        b"*;q=0": None,
        b"zstd;q=0, *;q=0.1": b"br",
        b"*;q=0.5, gzip": b"gzip",
        b"identity": None,
        b"identity, gzip;q=0.5": None,
        b"identity;q=0.5, gzip;q=0.5": b"gzip",
        b"identity;q=0": None,
        b"identity;q=0, gzip;q=0.001": b"gzip",
        b"gzip;q=1.001": None,
        b"gzip;q=2": None,
        b"gzip;q=-1": None,
        b"gzip;q=": None,
        b"gzip;q=nan": None,
        b"gzip;q=0.1234, br": b"br",
        b"gzip;q=0, gzip": None,
        b", ,gzip,": b"gzip",
        b"gzip;level=9": b"gzip",
    }.items(),
)
def test_the_coding_that_the_client_prefers(value, coding):
    assert best_coding(value, OURS) == coding


@pytest.mark.parametrize(
    ("value", "weight"),
    {
        b"": (0, 0),
        b"text/plain": (1000, 2),
        b"text/plain;q=0.3": (300, 2),
        b"text/*;q=0.3, */*": (300, 1),
        b"*/*;q=0.1": (100, 0),
        b"text/plain;q=0, text/*": (0, 2),
        b"TEXT/PLAIN": (1000, 2),
        b"text/plain;format=flowed;q=0.7": (700, 2),
        b"text/html": (0, 0),
        b"text/plain;q=high, */*": (1000, 0),
    }.items(),
)
def test_the_most_exact_range_says_what_a_media_type_weighs(value, weight):
    assert media_weight(value, b"text/plain") == weight


codings = st.sampled_from([b"gzip", b"br", b"zstd", b"deflate", b"*", b"identity"])


@given(st.dictionaries(codings, st.integers(0, 1000)), st.randoms())
def test_no_coding_weighs_more_than_the_best(weights, random):
    members = [b"%s;q=%.3f" % (name, weight / 1000) for name, weight in weights.items()]
    random.shuffle(members)
    best = best_coding(b", ".join(members), OURS)
    of_each = {coding: weights.get(coding, weights.get(b"*", 0)) for coding in OURS}
    most = max(of_each.values())
    if most == 0 or most < weights.get(b"identity", 0):
        assert best is None
    else:
        assert best == next(coding for coding in OURS if of_each[coding] == most)


@given(st.binary(max_size=3000))
def test_any_bytes_can_be_read_and_weigh_from_0_to_1000(value):
    assert all(0 <= weight <= 1000 for weight in read_weights(value).values())
    assert best_coding(value, OURS) in (*OURS, None)


def test_only_the_beginning_of_a_long_value_is_read():
    assert best_coding(b"gzip, " + b"a, " * 10_000, OURS) == b"gzip"
    assert best_coding(b"a, " * 1000 + b"gzip", OURS) is None
    assert best_coding(b"a" * 1021 + b", gzip", OURS) is None  # cut within "gzip", not read as "g"
    assert not read_weights(b"a" * 2000)


def test_a_value_without_end_costs_next_to_nothing():
    began = process_time()
    for number in range(100):
        read_weights(b'%d;q="' % number + b',;"\\' * 8000)
    assert process_time() - began < 0.5
