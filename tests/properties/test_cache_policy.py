"""The policy of the cache beside that of hishel, another implementation of RFC 9111, where both speak of the same.

Where they differ on purpose, and so nothing is drawn here:

- hishel does not count the field Age, takes a response without a Date as new for ever, and one with a Date in the
  future as new until then. Here Age counts, and age begins when a response comes (section 4.2.3).
- It does not know ``must-understand``, ``CDN-Cache-Control`` and ``X-Accel-Expires``.
- It guesses a lifetime, where none is given, of at most a week, by the time since the last change until now. Here it is
  a day, and the time until the response was made, so the guess does not grow while the response is stored.
- It stores what is of no use, as it is neither fresh nor has a validator; responses with Set-Cookie; and responses with
  ``Vary: *``, which match no request. It stores responses to HEAD. Here they are not stored.
"""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import hishel
from hypothesis import event, example, given
from hypothesis import strategies as st

from lb.cache.policy import Reuse, reuse, storing
from lb.model import CacheSpec, RouteCache
from lb.model.http_dates import http_date
from tests.support.cached_requests import request

NOW = 1_764_000_000
RULES = RouteCache(CacheSpec("videos"), use_stale=frozenset())
DAY = 86400

seconds = st.sampled_from([0, 1, 10, 60, 3600, 2 * DAY])
directives = st.one_of(
    st.sampled_from(["public", "private", "no-store", "no-cache", "must-revalidate", "proxy-revalidate", "immutable"]),
    st.sampled_from(['private="X-A"', 'no-cache="X-A"', 'x="no-store, max-age=9"', "x", "X=y"]),
    st.builds("{}={}".format, st.sampled_from(["max-age", "s-maxage", "Max-Age"]), seconds),
)
controls = st.lists(directives, max_size=4, unique_by=lambda each: each.partition("=")[0].lower())
statuses = st.sampled_from([200, 203, 204, 206, 299, 301, 302, 304, 308, 403, 404, 410, 500, 501, 503, 599])
offsets = st.none() | st.sampled_from([-DAY, -60, -10, -1, 0, 1, 10, 60, DAY])


@st.composite
def responses(draw):
    """Draw a status and header fields."""
    fields = {"Date": http_date(NOW - draw(st.sampled_from([0, 1, 30, 3600]))).decode()}
    control = draw(controls)
    if control:
        fields["Cache-Control"] = ", ".join(control)
    offset = draw(offsets)
    if offset is not None:
        fields["Expires"] = http_date(NOW + offset).decode()
    if "Expires" in fields or any("max" in each for each in control):
        fields["Last-Modified"] = http_date(NOW - DAY).decode()
    if draw(st.booleans()):
        fields["ETag"] = '"x"'
    return draw(statuses), fields


def their_clock(now):
    return mock.patch("hishel._core._spec.time", SimpleNamespace(time=lambda: now))


def stored_by_hishel(asked, status, fields):
    """Return the response that hishel stores; None if it stores none."""
    response = hishel.Response(status, hishel.Headers(fields))
    with their_clock(NOW):
        state = hishel.CacheMiss(request=asked, options=hishel.CacheOptions(shared=True)).next(response)
    return state.response if isinstance(state, hishel.StoreAndUse) else None


def used_by_hishel(asked, response, now):
    entry = hishel.Entry(id=mock.sentinel.id, request=asked, response=response)
    with their_clock(now):
        state = hishel.IdleClient(options=hishel.CacheOptions(shared=True)).next(asked, [entry])
    return isinstance(state, hishel.FromCache)


@given(responses(), st.booleans(), st.sampled_from([0, 1, 5, 59, 61, 3599, 3601, 3 * DAY]))
@example((200, {"Date": http_date(NOW).decode(), "Cache-Control": "max-age=60"}), False, 59)
def test_both_store_and_reuse_the_same_responses(response, authorized, later):
    status, fields = response
    asked = request(*(["Authorization: x"] if authorized else []))
    their_request = hishel.Request(
        "GET", "http://example.com/", hishel.Headers({"authorization": "x"} if authorized else {})
    )
    ours = storing(RULES, asked, status, [(name.encode(), value.encode()) for name, value in fields.items()], NOW, NOW)
    theirs = stored_by_hishel(their_request, status, fields)
    assert ours is None or theirs is not None
    if theirs is None:
        event("stored by none")
        return
    is_used = used_by_hishel(their_request, theirs, NOW + later)
    if ours is None:
        event("stored by hishel, for no use")
        assert not is_used
    else:
        event(f"used by both: {is_used}")
        assert (reuse(RULES, ours, asked, NOW + later) is Reuse.FRESH) == is_used
