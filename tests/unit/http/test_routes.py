"""Which route takes a request, compared with a specification that looks at all routes one by one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.route_names import problems
from lb.http.routes import Router, without_port
from lb.model import RouteSpec, ToPool


def route(name, *hosts, path="/", methods=()):
    return RouteSpec(name, ToPool(name), hosts, path.removeprefix("="), path.startswith("="), tuple(methods))


def router(*routes):
    return Router([(each, each.name) for each in routes])


def taken(found, host="", path="/", method="GET"):
    return found.find(host.encode(), path.encode(), method.encode())


# What the contract says, one sentence a test.


def test_the_host_as_written_wins_over_the_longest_wildcard_and_that_over_any_host():
    found = router(
        route("any", path="=/a"),
        route("short", "*.example.com", path="=/a"),
        route("long", "*.b.example.com", path="=/a"),
        route("exact", "a.b.example.com"),
    )
    assert taken(found, "a.b.example.com", "/a") == "exact", "however specific the others are in their paths"
    assert taken(found, "x.b.example.com", "/a") == "long"
    assert taken(found, "x.y.b.example.com", "/a") == "long"
    assert taken(found, "b.example.com", "/a") == "short"
    assert taken(found, "example.com", "/a") == "any", "a wildcard stands for a label or more"
    assert taken(found, "", "/a") == "any"


def test_an_exact_path_wins_over_the_longest_prefix_and_a_route_with_methods_over_one_without():
    found = router(
        route("root"),
        route("prefix", path="/a"),
        route("longer", path="/a/b"),
        route("exact", path="=/a/b"),
        route("post", path="/a/b", methods=["POST", "PUT"]),
    )
    assert taken(found, path="/a/b") == "exact"
    assert taken(found, path="/a/b", method="POST") == "exact"
    assert taken(found, path="/a/b/c") == "longer"
    assert taken(found, path="/a/b/c", method="PUT") == "post"
    assert taken(found, path="/a/c", method="PUT") == "prefix"
    assert taken(found, path="/b") == "root"


@pytest.mark.parametrize(
    ("prefix", "takes", "leaves"),
    [
        ("/a", ["/a", "/a/", "/a/b"], ["/", "/ab", "/A", "/b/a"]),
        ("/a/", ["/a/", "/a/b", "/a/b/c"], ["/a", "/ab", "/"]),
        ("/", ["/", "/a", "/a/b", "*"], []),
        ("=/a", ["/a"], ["/a/", "/a/b", "/"]),
        ("=/", ["/"], ["/a", "*"]),
        ("/ä b", ["/ä b/c"], ["/%C3%A4 b"]),
    ],
)
def test_a_prefix_ends_at_the_end_of_a_segment(prefix, takes, leaves):
    found = router(route("it", path=prefix))
    assert [path for path in [*takes, *leaves] if taken(found, path=path)] == takes


def test_a_shorter_path_than_all_prefixes_is_looked_up_as_any():
    found = router(route("short", path="/a"), route("long", path="/a/b/c/d"))
    assert taken(found, path="/a") == "short"
    assert taken(found, path="/") is None
    assert taken(found, path="") is None


@pytest.mark.parametrize("host", ["example.com", "example.com:80", "example.com:", "example.com.", "example.com.:8080"])
def test_neither_a_port_nor_the_dot_at_the_end_matters(host):
    assert taken(router(route("it", "example.com")), host) == "it"


def test_an_ipv6_address_is_a_host():
    found = router(route("it", "[::1]"))
    assert [taken(found, host) for host in ("[::1]", "[::1]:80", "[::2]")] == ["it", "it", None]
    assert without_port(b"[2001:db8::1]") == b"[2001:db8::1]"


def test_what_no_route_of_the_host_takes_goes_on_to_the_next_specific_one():
    found = router(route("api", "a.example.com", path="/api"), route("rest", "*.example.com", path="/x"), route("any"))
    assert taken(found, "a.example.com", "/api/v1") == "api"
    assert taken(found, "a.example.com", "/x") == "rest"
    assert taken(found, "a.example.com", "/y") == "any"


def test_a_method_that_a_route_does_not_take_is_as_another_path():
    found = router(route("post", path="/a", methods=["POST"]), route("other", path="/"))
    assert taken(found, path="/a", method="GET") == "other"
    assert taken(router(route("post", methods=["POST"])), method="GET") is None
    assert taken(router(route("get", methods=["GET"])), method="HEAD") is None


def test_what_a_route_carries_may_be_anything():
    carried = object()
    assert Router([(route("it"), carried)]).find(b"", b"/", b"GET") is carried
    assert Router([]).find(b"", b"/", b"GET") is None


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (("a.com", "/x", "GET"), "route exact: its host is a.com, its path is /x, any method"),
        (
            ("b.a.com:80", "/v/1", "PUT"),
            "route wild: *.a.com is the longest wildcard of b.a.com, /v is the longest prefix, it takes PUT",
        ),
        (("c.com", "/", "GET"), "route any: it takes any host, / is the longest prefix, it takes GET"),
        (("c.com", "/", "PUT"), "no route takes PUT c.com/; of this host and path, routes take GET only"),
    ],
)
def test_the_choice_is_explained_in_a_line(request_, text):
    found = router(
        route("exact", "a.com", "other.com", path="=/x"),
        route("wild", "*.a.com", "*.com.example", path="/v", methods=["PUT"]),
        route("any", methods=["GET"]),
    )
    assert found.explain(*(each.encode() for each in request_)) == text


# A specification: every route is asked, and the most specific of those that match wins.

LABELS = st.sampled_from(["a", "b", "c"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
RULES = st.lists(HOSTS | HOSTS.map("*.{}".format), max_size=2, unique=True).map(tuple)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))
METHODS = st.lists(st.sampled_from(["GET", "PUT", "POST"]), max_size=2, unique=True)
ROUTES = st.lists(
    st.builds(
        lambda hosts, exact, path, methods: route(
            f"{hosts}{exact}{path}{methods}", *hosts, path="=" * exact + path, methods=methods
        ),
        RULES,
        st.booleans(),
        PATHS,
        METHODS,
    ),
    max_size=12,
)


def specified(routes, host, path, method):
    def rank(spec):
        host_ranks = [(0, 0)] if not spec.hosts else []
        host_ranks += [(2, 0) for each in spec.hosts if each == host]
        host_ranks += [(1, len(each)) for each in spec.hosts if each[0] == "*" and host.endswith(each[1:])]
        below = path == spec.path or (path.startswith(spec.path.rstrip("/") + "/") and path.startswith(spec.path))
        matches = host_ranks and (path == spec.path if spec.exact else below)
        if not matches or (spec.methods and method not in spec.methods):
            return None
        return (max(host_ranks), spec.exact, len(spec.path), bool(spec.methods))

    ranks = {spec.name: rank(spec) for spec in routes}
    return max((name for name, each in ranks.items() if each), key=ranks.get, default=None)


@given(ROUTES, HOSTS | st.just(""), PATHS, st.sampled_from(["GET", "PUT", "HEAD"]), st.booleans())
def test_the_router_agrees_with_the_specification(routes, host, path, method, with_port):
    places = {str(index): spec for index, spec in enumerate(routes)}
    clashing = {place for place, _ in problems(places)}
    routes = [spec for place, spec in places.items() if place not in clashing]
    found = router(*routes)
    expected = specified(routes, host, path, method)
    assert taken(found, host + ":8080" * with_port, path, method) == expected
    line = found.explain(host.encode(), path.encode(), method.encode())
    assert line.startswith("no route takes" if expected is None else f"route {expected}: ")
    assert taken(router(*reversed(routes)), host, path, method) == expected, "in whatever order they stand"


def test_the_time_to_build_a_router_grows_with_the_number_of_routes_not_with_its_square():
    def seconds(count):
        routes = [route(str(number), "example.com", path=f"/{number}") for number in range(count)]
        times = []
        for _ in range(3):
            began = time.process_time()
            router(*routes)
            times.append(time.process_time() - began)
        return min(times)

    assert seconds(4000) < 24 * seconds(500), "8 times as many"


def test_hosts_that_nobody_knows_take_no_memory_for_ever_and_hosts_that_came_before_keep_their_routes():
    found = router(route("any"), route("one", "a.example.com"), route("many", "*.example.com"))
    for number in range(5_000):
        assert taken(found, f"{number}.example.net") == "any"
        assert taken(found, "a.example.com:80") == "one"
        assert taken(found, f"{number}.example.com.") == "many"
        assert len(found._known) <= 1024
    size = len(found._known)
    assert taken(found, "x" * 10_000) == "any"
    assert len(found._known) == size
