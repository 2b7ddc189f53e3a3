"""Links for viewers: what is taken off a target, when, and who gets in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.routes import Router
from lb.http.viewer_links import LinkedHeads, ViewerLinks, problem
from lb.http1.request_head import RequestHeads
from lb.model import RouteSpec, Secret, ToPool
from tests.support.viewer_link import viewer_link

NOW = 1_796_000_000
KEY = b"a key\xff"
LIVE = ViewerLinks(Secret(KEY), "/live/")
ALL = ViewerLinks(Secret(b"other"), "/")


def heads(*routes):
    """Return what reads heads, where these paths have links, or None."""
    router = Router([(RouteSpec(path, ToPool("p"), path=path), links) for path, links in routes])

    return LinkedHeads(lambda head: router.find(head.host, head.path, head.method))


def image(target, *lines):
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: example.com", *lines, "", ""]).encode()


def read(target, *lines, routes=(("/live/", LIVE), ("/", None))):
    return heads(*routes).read(image(target, *lines))


def test_a_link_is_taken_off_and_ends_when_it_says():
    link = viewer_link(KEY, "/live/", NOW)
    head = read(f"{link}/live/show/v0.m3u8?_HLS_msn=7")
    assert (head.target, head.path) == (b"/live/show/v0.m3u8?_HLS_msn=7", b"/live/show/v0.m3u8")
    assert head.link_until == NOW
    assert (problem(head, NOW - 0.5), problem(head, NOW)) == ("", "")
    assert problem(head, NOW + 0.5) == "its link for viewers has expired"


@pytest.mark.parametrize(
    "target",
    [
        viewer_link(KEY, "/live", NOW) + "/live/show",
        viewer_link(b"a key", "/live/", NOW) + "/live/show",
        viewer_link(KEY, "/live/", NOW).replace(str(NOW), str(NOW + 1)) + "/live/show",
        viewer_link(KEY, "/live/", NOW)[:-1] + "/live/show",
        viewer_link(KEY, "/live/", NOW) + "0/live/show",
        "/~/live/show",
        "/~x/live/show",
        "/~1./live/show",
        f"/~{NOW}.{'0' * 64}/live/show",
    ],
)
def test_a_wrong_link_lets_nobody_in(target):
    head = read(target)
    assert head.target == b"/live/show"
    assert problem(head, NOW - 1) == "its link for viewers is not valid"


@pytest.mark.parametrize("target", ["/live/show", "/live/~1.2/show", "/live/", "//~1.2/live/show"])
def test_without_a_link_nobody_gets_in(target):
    head = read(target)
    assert head.target == target.encode()
    assert problem(head, NOW) == "it has no link for viewers"


def test_what_is_no_link_of_a_route_stays_as_it_is():
    link = viewer_link(KEY, "/live/", NOW)
    for target in (
        f"{link}/films/a",
        "/~alice/index.html",
        "/~alice",
        f"{link}",
        f"{link}/live/../a",
        f"{link}/../live",
    ):
        head = read(target)
        assert (head.target, head.link_until) == (target.encode(), None)


def test_a_link_of_one_route_opens_no_other():
    routes = (("/live/", LIVE), ("/", ALL))
    link = viewer_link(b"other", "/", NOW)
    assert problem(read(f"{link}/a", routes=routes), NOW) == ""
    assert problem(read(f"{link}/live/a", routes=routes), NOW) == "its link for viewers is not valid"
    twice = read(f"{link}{viewer_link(KEY, '/live/', NOW)}/live/a", routes=routes)
    assert problem(twice, NOW) == "it has no link for viewers", "of two links, another worker would take off the second"


def test_a_url_and_an_escape_mean_the_same():
    link = viewer_link(KEY, "/live/", NOW)
    for target in (f"http://example.com{link}/live/a", f"/%7e{link[2:]}/live/a", f"/%7E{link[2:].upper()}/live/a"):
        head = read(target)
        assert (head.target, head.host, problem(head, NOW)) == (b"/live/a", b"example.com", "")


def test_heads_of_all_links_and_cookies_share_what_is_the_same():
    reader = heads(("/live/", LIVE))
    images = [
        image(f"{viewer_link(KEY, '/live/', NOW + each)}/live/a", *([f"Cookie: a={each}"] if each % 2 else []))
        for each in range(4)
    ]
    for _ in range(2):
        read = [reader.read(data) for data in images]
    assert len({id(head) for head in read}) == 4
    assert len({id(head.without_cookie) for head in read}) == 1
    assert read[0].without_cookie is reader.read(image("/live/a"))
    assert [head.link_until for head in read] == [NOW, NOW + 1, NOW + 2, NOW + 3]
    assert [head.cookies for head in read] == [None, b"a=1", None, b"a=3"]
    assert read[0].without_cookie.link_until is None


def test_no_record_has_a_link():
    link = viewer_link(KEY, "/live/", NOW)
    assert read(f"{link}/live/a?b").described[2] == "/live/a"
    for reader in (heads(("/live/", LIVE)), RequestHeads()):
        assert reader.read(image(f"{link}/lvie/a?b")).described[2] == "/~.../lvie/a"
        assert reader.read(image(link)).described[2] == "/~..."
    assert read("/~alice/a").described[2] == "/~alice/a"


@given(st.binary(min_size=1), st.integers(0, 10**12 - 1), st.sampled_from(["/", "/live/", "/films/ü"]))
def test_a_link_made_as_the_documentation_says_is_valid(key, expires, path):
    links = ViewerLinks(Secret(key), path)
    link = viewer_link(key, path, expires).removeprefix("/~").encode()
    assert links.valid_until(link) == expires
    assert ViewerLinks(Secret(key + b"x"), path).valid_until(link) == 0


@given(st.binary())
def test_no_bytes_break_the_check(link):
    assert LIVE.valid_until(link) == 0
