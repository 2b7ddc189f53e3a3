"""Rules of which the first that matches counts, as routes of which the most specific counts. Pure.

Hosts are a tree (any, wildcards, names), and so are paths (prefixes, single paths): of two, one holds the other, or
they have nothing in common. So the combinations of all hosts, paths and methods that rules name are closed under
intersection: all requests whose most specific combination is the same are the same to every rule. Each combination
gets what the rules say of it, and those that get what the next wider one gets are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import TypeAlias

import attrs

from lb.tools.migrate.draft import DraftTable, DraftValue

__all__ = [
    "ALWAYS",
    "MOST_COMBINATIONS",
    "ConditionTerm",
    "RequestCondition",
    "RequestMatch",
    "RouteKeys",
    "combinations",
    "holds",
    "negation",
    "routes_for",
    "write_routes",
]

MOST_COMBINATIONS = 20_000
"""Combinations of hosts, paths and methods of a listener. A guess: a file with more is made by a program."""


@attrs.frozen
class RequestMatch:
    """Some requests, in the words of routes. What is empty is any."""

    host: str = ""
    """A name, or ``*.`` and a name."""
    path: str = ""
    """A prefix by whole segments, or ``=`` and a path."""
    method: str = ""

    def covers(self, other: RequestMatch) -> bool:
        """Whether each request of the other one is one of these."""
        return (
            self.method in ("", other.method)
            and (not self.host or self.host in _wider_hosts(other.host))
            and (not self.path or self.path in _wider_paths(other.path))
        )


@attrs.frozen
class ConditionTerm:
    """Requests that are some of these, or none of them if it is negated. A text is a fact about the listener."""

    any_of: tuple[RequestMatch | str, ...]
    is_negated: bool = False


RequestCondition: TypeAlias = tuple[tuple[ConditionTerm, ...], ...]
"""Alternatives; each is true if all of its terms are."""
ALWAYS: RequestCondition = ((),)

RouteKeys: TypeAlias = Mapping[str, DraftValue]
"""What a route says beside host, path and methods."""


def holds(condition: RequestCondition, match: RequestMatch, facts: Iterable[str]) -> bool:
    """Whether a condition is true of the requests of a combination that are of no narrower one."""
    return any(all(_is_true(term, match, facts) for term in terms) for terms in condition)


def _is_true(term: ConditionTerm, match: RequestMatch, facts: Iterable[str]) -> bool:
    found = any(each in facts if isinstance(each, str) else each.covers(match) for each in term.any_of)
    return found is not term.is_negated


def negation(condition: RequestCondition) -> RequestCondition:
    """Return the opposite of a condition."""
    flipped = [[attrs.evolve(term, is_negated=not term.is_negated) for term in terms] for terms in condition]
    return tuple(product(*flipped))


def combinations(conditions: Iterable[RequestCondition]) -> list[RequestMatch]:
    """Return the combinations of what conditions name, the wider ones before the narrower ones. Raises ValueError if
    they are too many."""
    found = [each for condition in conditions for terms in condition for term in terms for each in term.any_of]
    named = [each for each in found if isinstance(each, RequestMatch)]
    hosts = sorted(dict.fromkeys(["", *(each.host for each in named)]), key=lambda host: len([*_wider_hosts(host)]))
    paths = sorted(dict.fromkeys(["", *(each.path for each in named)]), key=lambda path: len([*_wider_paths(path)]))
    methods = [*dict.fromkeys(["", *(each.method for each in named)])]
    if len(hosts) * len(paths) * len(methods) > MOST_COMBINATIONS:
        raise ValueError(f"more than {MOST_COMBINATIONS} combinations of hosts, paths and methods")
    return [RequestMatch(*each) for each in product(hosts, paths, methods)]


def routes_for(
    matches: Iterable[RequestMatch], decide: Callable[[RequestMatch], RouteKeys]
) -> list[tuple[RequestMatch, RouteKeys]]:
    """Return the combinations that get something else than the next wider one, with what they get.

    ``matches`` come from :func:`combinations`: the first is any request.
    """
    kept: dict[RequestMatch, RouteKeys] = {}
    for match in matches:
        keys = decide(match)
        if next((kept[each] for each in _wider(match) if each in kept), None) != keys:
            kept[match] = keys
    return [*kept.items()]


def _wider(match: RequestMatch) -> Iterator[RequestMatch]:
    """Yield what covers some requests, in the order in which routes are tried."""
    for host in _wider_hosts(match.host):
        for path in _wider_paths(match.path):
            yield from (RequestMatch(host, path, method) for method in dict.fromkeys((match.method, "")))


def _wider_hosts(host: str) -> Iterator[str]:
    """Yield a host, the wildcards that it is in, and any."""
    yield host
    rest = host.removeprefix("*.")
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"
    if host:
        yield ""


def _wider_paths(path: str) -> Iterator[str]:
    """Yield a path, the prefixes that it is in, and any."""
    yield path
    rest = path.removeprefix("=")
    if rest != path:
        yield rest
    while rest.strip("/"):
        rest = rest[:-1] if rest.endswith("/") else rest[: rest.rindex("/") + 1]
        if rest != "/":
            yield rest
    if path:
        yield ""


def write_routes(listener: DraftTable, routes: Iterable[tuple[RequestMatch, RouteKeys]]) -> None:
    """Write routes into a listener: hosts, and methods, that get the same share one. The widest comes last."""
    by_hosts: dict[tuple[str, str, str, bool], tuple[RouteKeys, list[str]]] = {}
    for match, keys in routes:
        at = (match.path, match.method, json.dumps(keys, sort_keys=True), bool(match.host))
        by_hosts.setdefault(at, (keys, []))[1].append(match.host)
    by_methods: dict[tuple[str, str, str], tuple[RouteKeys, list[str], list[str]]] = {}
    for (path, method, text, _), (keys, hosts) in by_hosts.items():
        row = by_methods.setdefault(
            (path, text, " ".join(hosts) if method else f"{' '.join(hosts)} any"), (keys, hosts, [])
        )
        row[2].extend([method] if method else [])
    rows = [(path, *row) for (path, _, _), row in by_methods.items()]
    for path, keys, hosts, methods in sorted(rows, key=lambda row: (row[2] == [""], not row[0])):
        if hosts == [""] and not path and not methods and keys.keys() == {"pool"}:
            listener["pool"] = keys["pool"]
            continue
        route = listener.add("routes")
        if hosts != [""]:
            route["host"] = hosts[0] if len(hosts) == 1 else [*hosts]
        if path:
            route["path"] = path
        if methods:
            route["methods"] = [*methods]
        route.update(keys)
