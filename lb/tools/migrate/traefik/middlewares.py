"""Traefik's middlewares: what each does to a route."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from lb.tools.migrate.draft import Draft, DraftValue
from lb.tools.migrate.first_match import ConditionTerm, RequestCondition, RequestMatch
from lb.tools.migrate.paths_and_hosts import prefix_change
from lb.tools.migrate.route_edits import (
    HeaderSide,
    RouteEdits,
    answer_with,
    change_prefixes,
    edit_header,
    remove_header,
)
from lb.tools.migrate.traefik.durations import go_seconds
from lb.tools.migrate.traefik.sections import Section
from lb.tools.migrate.traefik.services import plain_name

__all__ = ["Middleware", "Middlewares"]

_SECURITY = {
    "framedeny": ("X-Frame-Options", "DENY"),
    "contenttypenosniff": ("X-Content-Type-Options", "nosniff"),
    "browserxssfilter": ("X-XSS-Protection", "1; mode=block"),
}
_SECURITY_TEXTS = {
    "customframeoptionsvalue": "X-Frame-Options",
    "custombrowserxssvalue": "X-XSS-Protection",
    "contentsecuritypolicy": "Content-Security-Policy",
    "referrerpolicy": "Referrer-Policy",
    "permissionspolicy": "Permissions-Policy",
}
_NEAREST = {
    "inflightreq": "`max_connections` of servers, with a `queue` of the pool",
    "circuitbreaker": "`[pools.NAME.passive]` with `statuses`, and `[pools.NAME.outlier]`",
    "errors": "errors of servers pass as they came; `use_stale` of a cache serves the last good response",
    "digestauth": "`auth`: basic authentication, over TLS",
    "passtlsclientcert": "a PROXY header with the TLV `ssl` tells servers the common name",
    "buffering": "`max_body` of the listener; bodies pass as they come",
    "plugin": "programs cannot be run in a request: `forward_auth` asks one first",
    "grpcweb": "servers must speak gRPC-Web themselves",
    "stripprefixregex": "`strip_prefix` takes segments off the path",
    "replacepath": "`strip_prefix` and `add_prefix`",
    "encodedcharacters": "a path with an encoded slash gets 400",
}
_GUARDS = ("digestauth", "plugin")
"""Kinds that may let some requests in and others not: nothing is opened."""
_REDIRECTED = re.compile(
    r"\^?(?:\(?https?\??(?:://|:\\/\\/)\)?)(?P<host>(?:[\w.-]|\\\.)+)(?:/|\\/)?\(\.\*\)\$? "
    r"(?P<to>https?://[\w.-]+(?::[0-9]+)?)/?\$(?:1|\{1\})"
)
_PERIODS = {1: "s", 60: "m", 3600: "h"}

_Act = Callable[[RouteEdits, RequestMatch, bool], bool]
"""Changes what some requests get; gets whether the listener has TLS, too. True: it is an answer."""


@attrs.frozen
class Middleware:
    """One middleware, or a chain of them."""

    acts: tuple[_Act, ...] = ()
    about: tuple[RequestMatch, ...] = ()
    """Requests that it treats in another way than the rest."""
    allowed: tuple[str, ...] = ()
    """Networks of the clients that it lets in; empty: all."""
    attempts: int = 0
    """How often a request is tried; 0: it does not say."""

    def conditions(self) -> Iterator[RequestCondition]:
        yield from (((ConditionTerm((each,)),),) for each in self.about)


@attrs.define
class Middlewares:
    """The middlewares of ``http``, read when a router uses them."""

    section: Section
    draft: Draft
    _known: dict[str, Middleware] = attrs.field(factory=dict)

    def named(self, name: str) -> Middleware | None:
        """Return a middleware; None if there is none of this name."""
        name = plain_name(name)
        if name not in self._known:
            found = self.section.entry("middlewares", name)
            if found is None:
                return None
            self._known[name] = Middleware()  # a chain that holds itself ends here
            self._known[name] = self._read(found)
        return self._known[name]

    def _read(self, section: Section) -> Middleware:
        kinds = section.directive.block or ()
        if len(kinds) != 1:
            section.gap("a middleware has one kind")
            return Middleware()
        inner = section.child(kinds[0].name)
        assert inner is not None  # noqa: S101 - it is there
        kind = kinds[0].name.lower()
        readers: Mapping[str, Callable[[Section], Middleware]] = {
            "chain": self._chain,
            "stripprefix": _strip,
            "addprefix": lambda each: _setting("add_prefix", each.text("prefix").rstrip("/")),
            "replacepathregex": _replace_path,
            "redirectscheme": _redirect_scheme,
            "redirectregex": _redirect_regex,
            "basicauth": lambda each: self._basic_auth(each, section.name),
            "forwardauth": _forward_auth,
            "headers": _headers,
            "ratelimit": _rate,
            "ipallowlist": _allow,
            "ipwhitelist": _allow,
            "retry": _retry,
        }
        if kind in readers:
            found = readers[kind](inner)
            _rest(inner)
            return found
        if kind in ("compress", "contenttype"):
            inner.not_needed("`compress` knows what to compress" if kind == "compress" else "types pass as they came")
            return _setting("compress", value=True) if kind == "compress" else Middleware()
        nearest = _NEAREST.get(kind, "nothing comes near")
        inner.gap(f"{nearest}. Until you decide, all get 403" if kind in _GUARDS else nearest)
        return Middleware((_refuse,)) if kind in _GUARDS else Middleware()

    def _chain(self, section: Section) -> Middleware:
        parts = [found for each in section.texts("middlewares") if (found := self.named(each)) is not None]
        return Middleware(
            tuple(act for each in parts for act in each.acts),
            tuple(match for each in parts for match in each.about),
            next((each.allowed for each in parts if each.allowed), ()),
            max((each.attempts for each in parts), default=0),
        )

    def _basic_auth(self, section: Section, name: str) -> Middleware:
        users = self.draft.table("users", name)
        section.migration.place(section.directive, users)
        file, realm = section.text("usersFile"), section.text("realm")
        users["file"] = file or f"{name}.htpasswd"
        if realm:
            users["realm"] = realm
        line = section.line("users")
        if line is not None and not file:
            note = f"write its lines into {name}.htpasswd"
            section.migration.translated(line, "users.NAME.file", note)
        return _setting("auth", name)


def _rest(section: Section) -> None:
    """Say of the options that nothing has read that they have no counterpart."""
    for each in section.directive.block or ():
        if not section.migration.knows(each):
            section.migration.gap(each, "this option is not known here")


def _setting(key: str, value: DraftValue) -> Middleware:
    def act(keys: RouteEdits, _: RequestMatch, __: bool) -> bool:
        keys[key] = value
        return False

    return Middleware((act,))


# Paths


def _strip(section: Section) -> Middleware:
    prefixes = [each.rstrip("/") for each in section.texts("prefixes", "listeners.NAME.routes.strip_prefix")]
    section.texts("forceSlash")
    matches = tuple(RequestMatch(path=each) for each in prefixes if each)

    def act(keys: RouteEdits, match: RequestMatch, _: bool) -> bool:
        found = next((each.path for each in matches if each.covers(RequestMatch(path=match.path))), "")
        if found:
            keys["strip_prefix"] = found
            edit_header(keys, "request_headers", "set", "X-Forwarded-Prefix", found)
        return False

    return Middleware((act,), matches)


def _replace_path(section: Section) -> Middleware:
    pattern, replacement = section.text("regex"), section.text("replacement")
    found = prefix_change(pattern, replacement)
    if found is None:
        nearest = "`strip_prefix` takes segments off the path, `add_prefix` puts some before it"
        section.migration.gap(section.directive, nearest)
        return Middleware()
    old, new = found
    about = RequestMatch(path=old)

    def act(keys: RouteEdits, match: RequestMatch, _: bool) -> bool:
        if about.covers(RequestMatch(path=match.path)):
            change_prefixes(keys, old, new)
        return False

    return Middleware((act,), (about,))


# Answers


def _redirect_scheme(section: Section) -> Middleware:
    scheme, port, permanent = section.text("scheme"), section.text("port"), section.flag("permanent")
    suffix = "" if port in ("", "443" if scheme == "https" else "80") else f":{port}"

    def act(keys: RouteEdits, _: RequestMatch, is_tls: bool) -> bool:
        if (scheme == "https") is is_tls:
            return False
        answer_with(keys, redirect=f"{scheme}://{{host}}{suffix}{{uri}}", status=308 if permanent else 307)
        return True

    return Middleware((act,))


def _redirect_regex(section: Section) -> Middleware:
    pattern, replacement = section.text("regex"), section.text("replacement")
    permanent = section.flag("permanent")
    found = _REDIRECTED.fullmatch(f"{pattern} {replacement}")
    if found is None:
        nearest = "`redirect` of a route for the host and the path, with {host}, {path} and {uri}"
        section.migration.gap(section.directive, nearest)
        return Middleware()
    host, target = found["host"].replace("\\", ""), found["to"]
    about = RequestMatch(host=host)

    def act(keys: RouteEdits, match: RequestMatch, _: bool) -> bool:
        if not about.covers(RequestMatch(host=match.host)):
            return False
        answer_with(keys, redirect=f"{target}{{uri}}", status=308 if permanent else 307)
        return True

    return Middleware((act,), (about,))


# Who may pass


def _refuse(keys: RouteEdits, _: RequestMatch, __: bool) -> bool:
    answer_with(keys, respond="", status=403)
    return True


def _forward_auth(section: Section) -> Middleware:
    address, fields = section.text("address"), section.texts("authResponseHeaders")
    section.texts("trustForwardHeader")

    def act(keys: RouteEdits, _: RequestMatch, __: bool) -> bool:
        keys["forward_auth"] = address
        if fields:
            keys["auth_headers"] = [*fields]
        return False

    return Middleware((act,))


def _rate(section: Section) -> Middleware:
    average, burst = int(section.text("average") or "0"), int(section.text("burst") or "1")
    period = go_seconds(section.text("period") or "1s")
    if not average:
        return Middleware()
    unit, number = _PERIODS.get(round(period)), average
    if unit is None:
        unit, number = "h", max(1, round(average * 3600 / period))

    def act(keys: RouteEdits, _: RequestMatch, __: bool) -> bool:
        keys.update({"rate": f"{number}/{unit}", "burst": burst})
        return False

    return Middleware((act,))


def _retry(section: Section) -> Middleware:
    for each in section.directive.block or ():
        section.migration.not_needed(each, "the next server is tried at once")
    return Middleware(attempts=int(section.text("attempts") or "0"))


def _allow(section: Section) -> Middleware:
    return Middleware(allowed=section.texts("sourceRange", "listeners.NAME.allow"))


# Headers


def _headers(section: Section) -> Middleware:
    edits: list[tuple[HeaderSide, str, str]] = []
    sides: Sequence[tuple[str, HeaderSide]] = (
        ("customRequestHeaders", "request_headers"),
        ("customResponseHeaders", "response_headers"),
    )
    for name, side in sides:
        fields = section.child(name)
        for each in (fields.directive.block or ()) if fields is not None else ():
            section.migration.translated(each, f"listeners.NAME.routes.{side}")
            edits.append((side, each.name, each.args[0] if each.args else ""))
    edits += [("response_headers", name, value) for name, value in _security(section)]

    def act(keys: RouteEdits, _: RequestMatch, __: bool) -> bool:
        for side, name, value in edits:
            if value:
                edit_header(keys, side, "set", name, value)
            else:
                remove_header(keys, side, name)
        return False

    return Middleware((act,))


def _security(section: Section) -> Iterator[tuple[str, str]]:
    """Yield the fields that the options about security set."""
    for each in section.directive.block or ():
        name = each.name.lower()
        if name in _SECURITY and section.flag(each.name):
            yield _SECURITY[name]
        elif name in _SECURITY_TEXTS and section.text(each.name):
            yield _SECURITY_TEXTS[name], each.args[0]
        elif name == "stsseconds" and section.text(each.name) not in ("", "0"):
            text = f"max-age={each.args[0]}"
            text += "; includeSubDomains" if section.flag("stsIncludeSubdomains") else ""
            yield "Strict-Transport-Security", text + ("; preload" if section.flag("stsPreload") else "")
        elif name.startswith("accesscontrol"):
            section.migration.gap(each, "the server answers CORS: `response_headers` have fixed values")
        elif name == "sslredirect":
            section.migration.gap(each, "a listener without TLS that redirects")
