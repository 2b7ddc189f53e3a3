"""The routes of one server: its locations, and what it does where none takes a request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from lb.http.route_readers import path_and_kind
from lb.tools.migrate.draft import Draft, DraftTable
from lb.tools.migrate.migration import Directive, Migration
from lb.tools.migrate.nginx.access import copied_fields, fill_auth, fill_compress, fill_forward_auth, fill_rates
from lb.tools.migrate.nginx.closing import close_route, reasons_to_close, refuses
from lb.tools.migrate.nginx.conditions import AnsweringIf, condition_of, redirecting_rewrite
from lb.tools.migrate.nginx.locations import LocationBlock, is_about_dot_files, locations_of, paths_of_regex
from lb.tools.migrate.nginx.methods import method_rules, split_by_method
from lb.tools.migrate.nginx.pools import PoolDrafts
from lb.tools.migrate.nginx.route_headers import fill_response_headers
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.targets import Proxied, as_url_path, fill_files, fill_proxied, fill_return, proxied_by
from lb.tools.migrate.nginx.words import nearest

__all__ = ["FileFacts", "ServerRoutes"]

_ORDER = {"=": 0, "^~": 1, "~": 2, "~*": 2, "": 3}
"""Which of two locations with the same path counts."""
_PASSES = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass")
_GUARDS = ("allow", "auth_basic", "auth_request")
_FOUND = {"$uri", "$uri/", "$uri/index.html", "$document_root$uri"}
_HOST_ONLY = 2


@attrs.frozen
class FileFacts:
    """What is known of the whole file."""

    zones: set[str]
    """Names of caches."""
    media: Mapping[str, str]
    """Applications for live streams, by the directories of their playlists."""
    directory: Path
    """That of the file."""


def _is_path(path: str, *, exact: bool) -> bool:
    """Whether a path can be that of a route: it may be one that no request has."""
    try:
        path_and_kind(f"={path}" if exact else path)
    except ValueError:
        return False
    return True


@attrs.define
class ServerRoutes:
    """Makes the routes of one server on one listener."""

    scope: Scope
    listener: DraftTable
    hosts: list[str]
    """Empty: any."""
    is_default: bool
    """Whether requests for hosts of no server come to it."""
    others: frozenset[str]
    """Hosts of the other servers on this listener."""
    is_alone: bool
    """Whether no other server has routes on this listener: then a request without one gets 404 anyway."""
    draft: Draft
    pools: PoolDrafts
    known: FileFacts
    judged: frozenset[Directive]
    """Rules about networks that hold for the whole listener."""
    places: list[Scope] = attrs.field(factory=list)
    """Filled: the locations that have become routes."""
    _taken: set[tuple[str, str, bool]] = attrs.field(factory=set)
    _services: dict[str, tuple[Scope, Proxied]] = attrs.field(factory=dict)
    _named: dict[str, LocationBlock] = attrs.field(factory=dict)
    _method_rules: list[AnsweringIf] = attrs.field(factory=list)

    @property
    def _migration(self) -> Migration:
        return self.scope.migration

    def make(self) -> None:
        """Add the routes."""
        if not self._hosts_that_go_on():
            return
        answer = next(iter(self.scope.own("return")), None) or self._redirected()
        if answer is not None:
            self._answer(answer, LocationBlock("", "/", self.scope))
            for each in self.scope.block.all():
                if each.name == "location":
                    self._migration.all_not_needed(each, "the server answers before it looks for a location")
            return
        for route in self._locations():
            self._check(route)
        self._rest()

    # Hosts and conditions

    def _hosts_that_go_on(self) -> bool:
        """Make the routes of the server's ``if``. Return False if they take all of its requests."""
        for each in self.scope.own("if"):
            found = condition_of(self.scope.inside(each))
            if found is None:
                continue
            if found.variable == "scheme" and (self.scope.scheme in found.values) != found.is_negated:
                self._answer(found.answer, LocationBlock("", "/", found.scope))
                return False
            if found.variable == "host":
                self._answer_hosts(found)
                if not (self.hosts or self.is_default):
                    return False
            elif found.variable == "request_method":
                self._method_rules.append(found)
        return True

    def _answer_hosts(self, found: AnsweringIf) -> None:
        """Make a route for a host that is answered; the others go on. Hosts of other servers do not come here."""
        location = LocationBlock("", "/", found.scope)
        named = [each for each in found.values if each not in self.others]
        if not found.is_negated:
            if named:
                self._answer(found.answer, location, hosts=named)
            self.hosts = [each for each in self.hosts if each not in found.values]
            return
        others = [each for each in self.hosts if each not in found.values]
        if others or self.is_default:
            self._answer(found.answer, location, hosts=[] if self.is_default else others)
        self.hosts = named
        self.is_default = False

    def _redirected(self) -> Directive | None:
        """Return a ``rewrite`` of the server that redirects all; make routes of those that redirect one path."""
        for each in self.scope.own("rewrite"):
            whole = redirecting_rewrite(each)
            if whole is not None:
                self._migration.translated(each, "listeners.NAME.routes.redirect")
                return whole
            paths = paths_of_regex(each.args[0])
            if paths and all(exact for _, exact in paths) and each.args[-1] in ("permanent", "redirect"):
                self._migration.translated(each, "listeners.NAME.routes.redirect")
                for path, _ in paths:
                    status = "301" if each.args[-1] == "permanent" else "302"
                    self._answer(attrs.evolve(each, args=(status, each.args[1])), LocationBlock("=", path, self.scope))
            else:
                self._migration.gap(each, "`redirect` of an exact path, `strip_prefix` and `add_prefix` of a prefix")
        return None

    def _answer(self, answer: Directive, location: LocationBlock, hosts: Sequence[str] | None = None) -> None:
        route = self._route(location.path, exact=location.kind == "=", hosts=self.hosts if hosts is None else hosts)
        if route is None:
            return
        self._migration.place(location.scope.block, route)
        if not fill_return(route, location.scope, answer):
            self.listener.rows("routes").remove(route)

    # Locations

    def _locations(self) -> Iterator[DraftTable]:
        """Make the routes of the locations, and yield them."""
        found = [*locations_of(self.scope)]
        for each in found:
            proxied = proxied_by(each.scope) if each.kind in ("=", "", "^~") else None
            if each.kind == "@":
                self._named[each.path] = each
            elif proxied is not None:
                self._services[each.path] = (each.scope, proxied)
        for each in sorted(found, key=lambda location: _ORDER.get(location.kind, 4)):
            if each.is_internal:
                self._internal(each)
            else:
                yield from self._of_location(each, found)

    def _internal(self, location: LocationBlock) -> None:
        """Answer 404 where only nginx itself may go."""
        block = location.scope.block
        self._migration.not_needed(block, "clients cannot reach it")
        self._migration.all_not_needed(block, "a part of a location that clients cannot reach")
        exact = location.kind == "="
        if location.kind != "@" and not location.is_regex and _is_path(location.path, exact=exact):
            route = self._route(location.path, exact=exact, hosts=self.hosts)
            if route is not None:
                route.update({"respond": "", "status": 404})

    def _of_location(self, location: LocationBlock, others: Sequence[LocationBlock]) -> Iterator[DraftTable]:
        block = location.scope.block
        paths = self._paths(location)
        if paths is None:
            return
        self._migration.translated(block)
        for path, exact in paths:
            if not _is_path(path, exact=exact):
                self._migration.gap(block, "a path is written decoded, with single slashes and without dot segments")
                continue
            at = attrs.evolve(location, path=path)
            route = self._route(path, exact=exact, hosts=self.hosts)
            if route is None:
                self._migration.not_needed(block, "another location takes its requests")
                continue
            self._migration.place(block, route)
            self.places.append(location.scope)
            rules = [*self._method_rules, *method_rules(location.scope)]
            split_by_method(self.listener, route, rules, location.scope)
            self._fill(route, at)
            self._slash(route, at, others)
            yield route
        if location.is_regex:
            self._shadowed(location, paths, others)

    def _shadowed(
        self, location: LocationBlock, paths: Sequence[tuple[str, bool]], others: Sequence[LocationBlock]
    ) -> None:
        """Say of an expression that longer prefixes win here; in nginx the expression does."""
        longer = sorted(
            each.path
            for each in others
            if each.kind == "" and any(each.path.startswith(path) and not exact for path, exact in paths)
        )
        if longer:
            self._migration.gap(location.scope.block, f"the longest prefix wins: {' '.join(longer)} takes its requests")

    def _paths(self, location: LocationBlock) -> Sequence[tuple[str, bool]] | None:
        """Return the paths of a location, and whether each is exact; None if they are not known."""
        if not location.is_regex:
            return [(location.path, location.kind == "=")]
        block = location.scope.block
        refusing = location.scope.own("deny") or refuses(block.block or ())
        if is_about_dot_files(location.path) and refusing:
            self._migration.all_not_needed(block, "names that begin with a dot are never served by `files`")
            if self._services:
                self._migration.gap(block, "`files` never serves such names; pools get them as others")
            return None
        paths = paths_of_regex(location.path)
        if paths is not None:
            return paths
        text = "routes are by whole segments at the begin of a path: name the directories"
        if any(location.scope.own(each) for each in _PASSES):
            text += "; without it, files of this kind are served as they are: keep them out of the directory"
        elif refusing or any(location.scope.own(each) for each in _GUARDS):
            text += "; what it guards is open here, to those whom the other routes let in"
        self._migration.gap(block, text)
        self._migration.all_not_needed(block, "a part of a location that has no counterpart")
        return None

    def _fill(self, route: DraftTable, location: LocationBlock) -> None:
        """Fill the target of a route and what happens on the way."""
        scope = location.scope
        answer = next(iter(scope.own("return")), None) or self._denied(scope) or self._rewritten(scope)
        if answer is not None:
            if not fill_return(route, scope, answer):
                route.update({"respond": "", "status": 404})
            return
        proxied = proxied_by(scope)
        if proxied is not None:
            self._pass(route, location, proxied)
        elif any(scope.own(each) for each in (*_PASSES, "proxy_pass", "grpc_pass")):
            for name in _PASSES:
                for each in scope.own(name):
                    self._migration.gap(each, nearest(name))
            route.update({"respond": "", "status": 502})
        elif not self._files(route, location):
            route.update({"respond": "", "status": 404})
            return
        fill_compress(route, scope)
        fill_rates(route, scope)
        fill_auth(route, scope, self.draft, self.known.directory)
        fill_forward_auth(route, scope, self._services, self.pools)
        closing = [*reasons_to_close(scope, self.judged)]
        if closing:
            close_route(route, closing, self._migration)

    def _pass(self, route: DraftTable, location: LocationBlock, proxied: Proxied) -> None:
        fill_proxied(
            route,
            location,
            proxied,
            pools=self.pools,
            zones=self.known.zones,
            hint=self._hint(location),
            copied=copied_fields(location.scope) if self._asks_first(location.scope) else {},
            directory=self.known.directory,
        )

    def _asks_first(self, scope: Scope) -> bool:
        """Whether ``auth_request`` names a location that is known."""
        directive = scope.last("auth_request")
        return directive is not None and directive.args[0] in self._services

    def _hint(self, location: LocationBlock) -> str:
        """Return a name for a pool: of the path, else of the host."""
        segment = re.sub(r"[^A-Za-z0-9_-]+", "-", location.path.strip("/").partition("/")[0]).strip("-")
        labels = [
            each for each in self.scope.facts.get("server_name", "").split(".") if each not in ("www", "*", "", "_")
        ]
        return segment or (labels[0] if len(labels) >= _HOST_ONLY or labels == ["localhost"] else "") or "backend"

    def _denied(self, scope: Scope) -> Directive | None:
        """Return ``deny all`` of a location as the answer that it is."""
        rules = [each for each in scope.block.block or () if each.name in ("allow", "deny")]
        if [each.args for each in rules] != [("all",)] or rules[0].name != "deny":
            return None
        self._migration.translated(rules[0], "listeners.NAME.routes.respond")
        return attrs.evolve(rules[0], name="return", args=("403",))

    def _rewritten(self, scope: Scope) -> Directive | None:
        for each in scope.own("rewrite"):
            found = redirecting_rewrite(each)
            if found is not None:
                self._migration.translated(each, "listeners.NAME.routes.redirect")
                return found
            if not (scope.own("proxy_pass") or scope.own("grpc_pass")):
                self._migration.gap(each, "`redirect` of an exact path, `strip_prefix` and `add_prefix` of a prefix")
        return None

    def _files(self, route: DraftTable, location: LocationBlock) -> bool:
        """Fill a route to files, or to what ``try_files`` falls back to."""
        tries = location.scope.own("try_files")
        fallback = tries[-1].args[-1] if tries else "=404"
        named = self._named.get(fallback)
        proxied = proxied_by(named.scope) if named is not None else None
        if named is not None and proxied is not None:
            self._migration.gap(
                tries[-1], "a route has files or a pool: give the paths of files one of their own with `files`"
            )
            at = attrs.evolve(named, path=location.path, kind="")
            self._migration.place(named.scope.block, route)
            self._migration.translated(named.scope.block)
            self.places.append(named.scope)
            self._pass(route, at, proxied)
            return True
        if tries and (set(tries[-1].args[:-1]) - _FOUND or fallback != "=404"):
            self._migration.gap(tries[-1], "a path that is no file gets 404")
        elif tries:
            self._migration.translated(tries[-1])
        return fill_files(route, location, self.known.media)

    def _slash(self, route: DraftTable, location: LocationBlock, others: Sequence[LocationBlock]) -> None:
        """Add what nginx does by itself: a path without the slash of its location is redirected to the location."""
        path = location.path.rstrip("/")
        if location.is_regex or "pool" not in route:
            return
        known = {each.path for each in others if not each.is_regex}
        if location.path.endswith("/") and path and location.kind != "=" and path not in known:
            found = self._route(path, exact=True, hosts=self.hosts)
            if found is not None:
                found.update({"redirect": as_url_path(f"{path}/"), "status": 301})

    # The rest

    def _rest(self) -> None:
        """Make the route for what no location takes: files of the server, else 404 if another server might take it."""
        location = LocationBlock("", "/", self.scope)
        has_files = self.scope.last("root") is not None
        if not has_files and (self.is_alone or not self.hosts):
            return
        route = self._route("/", exact=False, hosts=self.hosts)
        if route is None:
            return
        if has_files:
            self.places.append(self.scope)
            split_by_method(self.listener, route, self._method_rules, self.scope)
            self._fill(route, location)
        else:
            route.update({"respond": "", "status": 404})
            fill_response_headers(route, self.scope, is_cached=False, from_server=False)

    def _route(self, path: str, *, exact: bool, hosts: Sequence[str]) -> DraftTable | None:
        """Add a route for the hosts that have none of this path; None if all have one."""
        free = [each for each in (hosts or [""]) if (each, path, exact) not in self._taken]
        if not free:
            return None
        self._taken.update((each, path, exact) for each in free)
        route = self.listener.add("routes")
        if hosts:
            route["host"] = free[0] if len(free) == 1 else [*free]
        if path != "/" or exact:
            route["path"] = f"={path}" if exact else path
        return route

    def _check(self, route: DraftTable) -> None:
        """Say of a prefix that it ends at a segment's end here."""
        path = str(route.get("path") or "/")
        if not path.endswith("/") and not path.startswith("="):
            route.note(f"{path} takes {path}/… here; in nginx it takes {path}… too")
