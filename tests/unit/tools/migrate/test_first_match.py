"""Rules of which the first counts, as routes: a request gets the same from both, by the router of mode http."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lb.config.load import parse
from lb.http.routes import Router
from lb.tools.migrate.draft import Draft
from lb.tools.migrate.first_match import (
    ALWAYS,
    MOST_COMBINATIONS,
    ConditionTerm,
    RequestMatch,
    combinations,
    holds,
    negation,
    routes_for,
    write_routes,
)
from lb.tools.migrate.toml_text import toml_text

HOSTS = ["", "a.example", "b.a.example", "*.example", "*.a.example", "other.test"]
PATHS = ["", "/a", "/a/", "/a/b", "=/a", "=/a/b", "/c/"]
METHODS = ["", "", "GET", "POST"]
REQUESTS = [
    (host, path, method)
    for host in ("a.example", "b.a.example", "x.y.example", "other.test", "third.test")
    for path in ("/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/c", "/c/d")
    for method in ("GET", "POST", "PUT")
]
MATCHES = st.builds(RequestMatch, st.sampled_from(HOSTS), st.sampled_from(PATHS), st.sampled_from(METHODS))
TERMS = st.builds(ConditionTerm, st.lists(MATCHES | st.just("tls"), min_size=1, max_size=3).map(tuple), st.booleans())
ONE_MATCH = MATCHES.map(lambda match: ((ConditionTerm((match,)),),))
CONDITIONS = ONE_MATCH | st.lists(st.lists(TERMS, min_size=1, max_size=2).map(tuple), min_size=1, max_size=2).map(tuple)


def takes(match, host, path, method):
    """Whether a request is one of those of a match, said in another way than there."""
    wanted = match.path.removeprefix("=")
    by_path = path == wanted or (
        not match.path.startswith("=") and path.startswith(wanted if wanted.endswith("/") else wanted + "/")
    )
    by_host = host == match.host or (match.host.startswith("*") and host.endswith(match.host[1:]))
    return (not match.host or by_host) and (not match.path or by_path) and match.method in ("", method)


def is_true(condition, request, facts):
    return any(
        all(
            any(each in facts if isinstance(each, str) else takes(each, *request) for each in term.any_of)
            is not term.is_negated
            for term in terms
        )
        for terms in condition
    )


def router_of(conditions, facts):
    """Return the router for rules, each with a pool of its own, and one for what no rule takes."""

    def decide(match):
        found = next((number for number, each in enumerate(conditions) if holds(each, match, facts)), len(conditions))
        return {"pool": f"p{found}"}

    draft = Draft()
    listener = draft.listener("www")
    listener.update({"mode": "http", "bind": "127.0.0.1:80"})
    write_routes(listener, routes_for(combinations(conditions), decide))
    for number in range(len(conditions) + 1):
        draft.pool(f"p{number}")["servers"] = ["127.0.0.1:81"]
    spec = parse(toml_text(draft), "lb.toml").listeners["www"].settings
    router = Router((route, route.target.pool) for route in spec.routes)
    return lambda host, path, method: router.find(host.encode(), path.encode(), method.encode()) or spec.pool


POSTS_BUT_BELOW = (
    (
        ConditionTerm((RequestMatch(path="/a", method="POST"),)),
        ConditionTerm((RequestMatch(path="/a/b"),), is_negated=True),
    ),
)


@example([POSTS_BUT_BELOW, ((ConditionTerm((RequestMatch(path="/a"),)),),)], frozenset())
@settings(max_examples=4 * settings().max_examples)
@given(st.lists(CONDITIONS, min_size=2, max_size=4), st.sampled_from([frozenset(), frozenset({"tls"})]))
def test_a_request_gets_what_the_first_rule_says(conditions, facts):
    find = router_of(conditions, facts)
    for request in REQUESTS:
        first = next((n for n, each in enumerate(conditions) if is_true(each, request, facts)), len(conditions))
        assert find(*request) == f"p{first}"


@given(CONDITIONS)
def test_a_condition_or_its_negation_is_true(condition):
    for request in REQUESTS[::7]:
        assert is_true(condition, request, ()) is not is_true(negation(condition), request, ())


def test_what_the_wider_route_does_is_not_said_again():
    rules = [((ConditionTerm((RequestMatch(host="a.example"),)),),), ALWAYS]
    routes = routes_for(combinations(rules), lambda _: {"pool": "same"})
    assert routes == [(RequestMatch(), {"pool": "same"})]


def test_too_many_combinations_are_refused():
    hosts = tuple(RequestMatch(host=f"h{number}.example") for number in range(200))
    paths = tuple(RequestMatch(path=f"/p{number}") for number in range(MOST_COMBINATIONS // 200))
    condition = ((ConditionTerm(hosts), ConditionTerm(paths)),)
    with pytest.raises(ValueError, match="combinations of hosts, paths and methods"):
        combinations([condition])
