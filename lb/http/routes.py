"""Which route takes a request: the most specific one of those that match. Pure."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from operator import neg
from typing import Generic, TypeAlias, TypeVar

import attrs

from lb.model import HttpSettings, RouteSpec, ToPool

__all__ = ["Router", "all_routes", "without_port"]

T = TypeVar("T")
Routed: TypeAlias = tuple[RouteSpec, T]

_SLASH, _COLON = b"/:"
_MOST_HOSTS = 1024
"""Hosts whose places are remembered."""
_LONGEST_HOST = 255
"""Bytes of a host that is remembered. No name is longer."""
_ANY = b""
"""The key of the route that takes any method. A method is never empty."""


@attrs.define
class _Paths(Generic[T]):
    """The routes of one host or wildcard: by path, then by method."""

    exact: dict[bytes, dict[bytes, Routed[T]]] = attrs.field(factory=dict)
    prefixes: dict[bytes, dict[bytes, Routed[T]]] = attrs.field(factory=dict)
    """The prefix ``/`` is empty here: it takes all targets, also ``*``."""
    lengths: list[int] = attrs.field(factory=list)
    """Those of the prefixes, the longest first. A path of any number of segments costs one look-up for each."""

    def add(self, route: Routed[T]) -> None:
        spec = route[0]
        if spec.exact:
            by_method = self.exact.setdefault(spec.path.encode(), {})
        else:
            prefix = b"" if spec.path == "/" else spec.path.encode()
            by_method = self.prefixes.setdefault(prefix, {})
            self._note_length(len(prefix))
        for method in spec.methods or ("",):
            by_method[method.encode()] = route

    def _note_length(self, length: int) -> None:
        if length not in self.lengths:
            insort(self.lengths, length, key=neg)

    def find(self, path: bytes, method: bytes) -> Routed[T] | None:
        """Return the most specific route for a path and a method."""
        by_method = self.exact.get(path)
        found = by_method.get(method) or by_method.get(_ANY) if by_method is not None else None
        if found is not None:
            return found
        for length in self.lengths:
            if length <= len(path):
                by_method = self.prefixes.get(path[:length])
                if by_method is not None and _ends_segment(path, length):
                    found = by_method.get(method) or by_method.get(_ANY)
                    if found is not None:
                        return found
        return None

    def methods(self, path: bytes) -> set[bytes]:
        """Return the methods that the routes of a path take."""
        prefixes = [path[:length] for length in self.lengths if length <= len(path) and _ends_segment(path, length)]
        return {*self.exact.get(path, ())}.union(*(self.prefixes.get(prefix, ()) for prefix in prefixes))


def _ends_segment(path: bytes, length: int) -> bool:
    """Return whether a prefix of ``length`` bytes is a whole number of segments: ``/a`` and ``/a/`` of ``/a/b``."""
    return not length or path[length - 1] == _SLASH or path[length : length + 1] in (b"", b"/")


class Router(Generic[T]):
    """Finds the route of a request, with what the route carries.

    Of the routes that match in host, path and method, the one wins that is most specific in its host (as written, the
    longest wildcard, any), then in its path (exact, the longest prefix), then in its methods (some, any). So a request
    that no route of its host takes goes on to those of a wildcard, and then of any host.

    No two routes have the same host, path and method: the configuration forbids it.
    """

    def __init__(self, routes: Iterable[tuple[RouteSpec, T]]) -> None:
        self._hosts: dict[bytes, _Paths[T]] = {}
        self._wildcards: dict[bytes, _Paths[T]] = {}
        """By what follows the asterisk: ``.example.com``."""
        self._any: _Paths[T] = _Paths()
        for route in routes:
            for paths in self._places(route[0]):
                paths.add(route)
        self._lengths = sorted(set(map(len, self._wildcards)), reverse=True)
        self._known: dict[bytes, Sequence[_Paths[T]]] = {}
        """Where the routes of hosts are that came before."""

    def _places(self, spec: RouteSpec) -> Iterator[_Paths[T]]:
        if not spec.hosts:
            yield self._any
        for host in map(str.encode, spec.hosts):
            if host.startswith(b"*"):
                yield self._wildcards.setdefault(host[1:], _Paths())
            else:
                yield self._hosts.setdefault(host, _Paths())

    def find(self, host: bytes, path: bytes, method: bytes) -> T | None:
        """Return what the route of a request carries; None if no route takes the request.

        ``host`` is that of the request in lower case, with or without a port; empty if it has none. ``path`` is
        decoded.
        """
        found = self._find(host, path, method)
        return None if found is None else found[1]

    def _find(self, host: bytes, path: bytes, method: bytes) -> Routed[T] | None:
        for paths in self._known.get(host) or self._look_up(host):
            found = paths.find(path, method)
            if found is not None:
                return found
        return None

    def _look_up(self, host: bytes) -> Sequence[_Paths[T]]:
        """Return where the routes of a host are, the most specific first."""
        name = without_port(host)
        wildcards = [self._wildcards.get(name[-length:]) for length in self._lengths if length < len(name)]
        found = [paths for paths in (self._hosts.get(name), *wildcards, self._any) if paths is not None]
        if len(host) <= _LONGEST_HOST:
            if len(self._known) == _MOST_HOSTS:
                self._known.clear()
            self._known[host] = found
        return found

    def explain(self, host: bytes, path: bytes, method: bytes) -> str:
        """Return why a request gets its route, or none, in one line."""
        name = without_port(host)
        found = self._find(host, path, method)
        if found is not None:
            spec = found[0]
            return f"route {spec.name}: {_host_rule(spec, name)}, {_path_rule(spec)}, {_method_rule(spec, method)}"
        taken = sorted(each.decode() for each in self._methods(host, path))
        others = f"; of this host and path, routes take {', '.join(taken)} only" if taken else ""
        return f"no route takes {_text(method)} {_text(name)}{_text(path)}{others}"

    def _methods(self, host: bytes, path: bytes) -> set[bytes]:
        """Return the methods that routes take of this host and path."""
        return set().union(*(paths.methods(path) for paths in self._look_up(host)))


def all_routes(settings: HttpSettings) -> list[RouteSpec]:
    """Return the routes of a listener, with one for what no other takes if it has a pool."""
    if not settings.pool or any(_takes_all(route) for route in settings.routes):
        return list(settings.routes)
    return [*settings.routes, RouteSpec(settings.pool, ToPool(settings.pool))]


def _takes_all(route: RouteSpec) -> bool:
    return not route.hosts and route.path == "/" and not route.exact and not route.methods


def without_port(host: bytes) -> bytes:
    """Return the host of a Host field without its port, and without the dot at the end of a full name."""
    if _COLON in host and not host.endswith(b"]"):
        host = host.rpartition(b":")[0]
    return host.removesuffix(b".")


def _host_rule(spec: RouteSpec, host: bytes) -> str:
    name = _text(host)
    if name in spec.hosts:
        return f"its host is {name}"
    wildcards = [each for each in spec.hosts if each.startswith("*") and name.endswith(each[1:])]
    return f"{max(wildcards, key=len)} is the longest wildcard of {name}" if wildcards else "it takes any host"


def _path_rule(spec: RouteSpec) -> str:
    return f"its path is {spec.path}" if spec.exact else f"{spec.path} is the longest prefix"


def _method_rule(spec: RouteSpec, method: bytes) -> str:
    return f"it takes {_text(method)}" if spec.methods else "any method"


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
