"""The member of Cache-Status: RFC 9211."""

from __future__ import annotations

import pytest

from lb.cache.cache_status import cache_status


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({}, b"trio-lb; hit"),
        ({"ttl": 30.9}, b"trio-lb; hit; ttl=30"),
        ({"ttl": -0.1, "detail": "updating"}, b"trio-lb; hit; ttl=-1; detail=updating"),
        ({"forward": "miss", "stored": True}, b"trio-lb; fwd=miss; stored"),
        ({"forward": "uri-miss", "collapsed": True}, b"trio-lb; fwd=uri-miss; collapsed"),
        ({"forward": "stale", "server_status": 304, "ttl": 60}, b"trio-lb; fwd=stale; fwd-status=304; ttl=60"),
        ({"forward": "bypass"}, b"trio-lb; fwd=bypass"),
    ],
)
def test_the_member_says_what_the_cache_did(told, text):
    assert cache_status(**told) == text
