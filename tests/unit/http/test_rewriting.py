"""``strip_prefix`` and ``add_prefix``: what a server gets, and that nothing leads out of the prefix that is added."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lb.http.rewriting import TargetChange
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHeads
from lb.http1.target import routing_path
from lb.model import RouteSpec, ToPool


def rewritten(target, strip="", add="", method="GET"):
    head = RequestHeads().read(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    spec = RouteSpec("web", ToPool("web"), strip_prefix=strip, add_prefix=add)
    return TargetChange(spec).target(head).decode()


@pytest.mark.parametrize(
    ("target", "strip", "add", "got"),
    [
        ("/videos/a?b=/videos", "/videos", "", "/a?b=/videos"),
        ("/videos", "/videos", "", "/"),
        ("/videos?a", "/videos", "", "/?a"),
        ("/videos/", "/videos", "/v", "/v/"),
        ("/videosx/a", "/videos", "", "/videosx/a"),
        ("/videos/%C3%A9/b%20c", "/videos", "", "/%C3%A9/b%20c"),
        ("/%76ideos/%C3%A9", "/videos", "", "/%C3%A9"),
        ("/a/../videos/b%3Fc", "/videos", "", "/b%3Fc"),
        ("//videos//a", "/videos", "", "/a"),
        ("/a//b/./c", "", "/v", "/v/a//b/./c"),
        ("/a", "", "/v%20w", "/v%20w/a"),
    ],
)
def test_a_prefix_is_taken_off_and_another_put_before(target, strip, add, got):
    assert rewritten(target, strip, add) == got


def test_a_target_that_is_no_path_stays():
    assert rewritten("*", "/videos", "/v", method="OPTIONS") == "*"


@pytest.mark.parametrize(
    ("target", "got"),
    [
        ("/videos/../secret", "/public/videos/../secret"),
        ("/videos/a/../../videos/b", "/public/b"),
        ("/videos/%2e%2e/videos/../secret", "/public/videos/%2e%2e/videos/../secret"),
    ],
)
def test_dot_segments_behind_a_prefix_that_is_taken_off_do_not_leave_the_one_that_is_added(target, got):
    assert rewritten(target, "/videos", "/public") == got


SEGMENTS = st.lists(st.sampled_from(["videos", "a", "..", ".", "", "%2e%2e", "%2E", "%76ideos", "b%20"]), max_size=6)


@given(SEGMENTS)
def test_what_a_server_gets_means_what_the_route_was_chosen_by(segments):
    target = "/" + "/".join(segments)
    try:
        path = routing_path(target.encode()).decode()
    except MalformedError:
        assume(False)
    inner = path.removeprefix("/videos") if path == "/videos" or path.startswith("/videos/") else path
    assert routing_path(rewritten(target, "/videos", "/public").encode()).decode() == "/public" + (inner or "/")
