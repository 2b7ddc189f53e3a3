"""Requests and answers of the gateway as values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.etcd.messages import (
    Comparison,
    KeyValue,
    PrefixEvent,
    Put,
    RangeRequest,
    StoreState,
    WatchAnswer,
    as_base64,
    keep_alive_answer,
    prefix_end,
    range_answer,
    txn_request,
    watch_answer,
)

HEADER = {"cluster_id": "14841639068965178418", "member_id": "1", "revision": "7", "raft_term": "2"}
STATE = StoreState(14841639068965178418, 7)


@given(st.binary(), st.binary())
def test_the_range_of_a_prefix_has_the_keys_that_begin_with_it_and_no_others(prefix, key):
    end = prefix_end(prefix)
    assert (prefix <= key and (key < end or end == b"\0")) == key.startswith(prefix)


def test_an_answer_of_a_range_is_read():
    kv = {"key": as_base64(b"/a"), "value": as_base64(b"\xff"), "create_revision": "3", "mod_revision": "5"}
    answer = range_answer({"header": HEADER, "kvs": [{**kv, "version": "2", "lease": "9"}], "count": "4", "more": True})
    assert answer.state == STATE
    assert answer.found == (KeyValue(b"/a", b"\xff", 3, 5, 2, 9),)
    assert answer.count == 4


def test_what_is_empty_or_0_is_left_out():
    answer = range_answer({"header": {"cluster_id": "1"}})
    assert (answer.state, answer.found, answer.count) == (StoreState(1, 0), (), 0)
    assert keep_alive_answer({"result": {"header": HEADER, "ID": "1"}}) == 0


def test_a_watch_tells_of_keys_that_were_set_and_deleted():
    events = [
        {"kv": {"key": as_base64(b"/a"), "value": as_base64(b"1"), "mod_revision": "6"}},
        {"type": "DELETE", "kv": {"key": as_base64(b"/b"), "mod_revision": "7"}},
    ]
    assert watch_answer({"result": {"header": HEADER, "events": events}}) == WatchAnswer(
        STATE,
        (
            PrefixEvent(KeyValue(b"/a", b"1", mod_revision=6)),
            PrefixEvent(KeyValue(b"/b", b"", mod_revision=7), deleted=True),
        ),
    )


def test_a_watch_tells_why_it_ends():
    canceled = {"header": HEADER, "created": True, "canceled": True, "cancel_reason": "no", "compact_revision": "5"}
    assert watch_answer({"result": canceled}) == WatchAnswer(STATE, (), True, True, "no", 5)


def test_requests_are_json_with_what_is_not_the_default():
    request = RangeRequest(b"/a/", b"/a0", revision=3, limit=2, min_mod_revision=4, keys_only=True)
    assert json.loads(json.dumps(request.encoded())) == {
        "key": as_base64(b"/a/"),
        "range_end": as_base64(b"/a0"),
        "revision": "3",
        "limit": "2",
        "min_mod_revision": "4",
        "keys_only": True,
    }
    assert RangeRequest(b"/a").encoded() == {"key": as_base64(b"/a")}


def test_a_transaction_has_conditions_and_operations():
    put = Put(b"/a", b"1", lease=5)
    assert txn_request((Comparison(b"/a", "MOD", "EQUAL", 3),), (put,)) == {
        "compare": [{"key": as_base64(b"/a"), "target": "MOD", "result": "EQUAL", "mod_revision": "3"}],
        "success": [{"request_put": put.request()}],
    }


@pytest.mark.parametrize(
    "answer", [{}, {"header": {}}, {"header": HEADER, "kvs": [{}]}, {"header": HEADER, "count": []}]
)
def test_what_is_not_an_answer_is_refused(answer):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        range_answer(answer)
