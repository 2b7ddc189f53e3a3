"""What answers the requests of a location: servers, files, a redirect, a text."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import attrs

from lb.http.field_settings import REQUEST_VARIABLES, check_variables
from lb.tools.migrate.draft import DraftTable
from lb.tools.migrate.migration import Directive
from lb.tools.migrate.nginx.caching import fill_cache
from lb.tools.migrate.nginx.locations import LocationBlock
from lb.tools.migrate.nginx.pools import PoolDrafts, fill_tries_and_source
from lb.tools.migrate.nginx.route_headers import fill_request_headers, fill_response_headers
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.tls import fill_pool_tls
from lb.tools.migrate.nginx.units import as_duration, time_in_seconds
from lb.tools.migrate.nginx.variables import IN_REQUESTS, simplified
from lb.tools.migrate.route_edits import change_prefixes

__all__ = ["Proxied", "as_url_path", "fill_files", "fill_proxied", "fill_return", "proxied_by"]

_URL = re.compile(r"(https?|grpcs?)://(unix:[^:]+|\[[^\]]+\](?::[0-9]+)?|[^/:$]+(?::[0-9]+)?)(:?/.*)?")
_WHOLE_URI = ("$request_uri", "$uri$is_args$args", "$uri")
_EMPTY = ("204", "205", "304")
_REDIRECTS = {"301", "302", "303", "307", "308"}
_RETRIES = {
    "error": "reset",
    "timeout": "timeout",
    "invalid_header": "502",
    "http_502": "502",
    "http_503": "503",
    "http_504": "504",
}
_PLAIN_TYPES = ("text/plain", "application/octet-stream")
"""Types of a text that need no word."""
_EXACT_REWRITE = re.compile(r"\^?(/[\w/.-]*?)/?\(\.\*\)\$?")


@attrs.frozen
class Proxied:
    """A ``proxy_pass``, read."""

    directive: Directive
    scheme: str
    target: str
    """An upstream, or a host with or without a port."""
    path: str
    """The part of the URL that takes the place of the location's path; empty if there is none."""

    @property
    def has_tls(self) -> bool:
        return self.scheme in ("https", "grpcs")

    @property
    def host(self) -> str:
        """What nginx sends as Host, and takes for ``$proxy_host``."""
        default = ":443" if self.has_tls else ":80"
        return "localhost" if self.target.startswith("unix:") else self.target.removesuffix(default)

    @property
    def prefix(self) -> str:
        """How the directives of the module begin."""
        return "grpc" if self.scheme.startswith("grpc") else "proxy"


def proxied_by(scope: Scope) -> Proxied | None:
    """Return what the innermost block passes requests to; None if it passes none, or nothing that is known here."""
    found = [*scope.own("proxy_pass"), *scope.own("grpc_pass")]
    if not found:
        return None
    directive = found[-1]
    text = directive.args[0]
    if directive.name == "grpc_pass" and "://" not in text:
        text = f"grpc://{text}"
    known = scope.text(simplified(text), {"request_uri": "$request_uri", "uri": "$uri"})
    match = _URL.fullmatch(known) if known is not None else None
    path = (match[3] or "").removeprefix(":") if match is not None else "$"
    if known is not None and match is None:  # http://name$request_uri
        whole = next((each for each in _WHOLE_URI if known.endswith(each)), None)
        match = _URL.fullmatch(known.removesuffix(whole)) if whole is not None else None
        path = ""
    if match is None or "$" in path:
        scope.migration.gap(directive, "a route has a pool with fixed servers: one route for each, by host or path")
        return None
    return Proxied(directive, match[1], match[2], path)


def fill_proxied(
    route: DraftTable, location: LocationBlock, proxied: Proxied, *, pools: PoolDrafts, zones: set[str], hint: str,
    copied: dict[str, str], directory: Path,
) -> None:  # fmt: skip
    """Fill a route to a pool, and the pool with what the location says of it."""
    scope = location.scope
    kind = "-".join(filter(None, ("h2" if proxied.prefix == "grpc" else "", "tls" if proxied.has_tls else "")))
    name, pool = pools.use(proxied.target, kind=kind, hint=hint, port=443 if proxied.has_tls else 80)
    route["pool"] = name
    scope.migration.translated(proxied.directive)
    if proxied.prefix == "grpc":
        pool.table("http")["protocol"] = "h2"
    if proxied.has_tls:
        host = re.sub(r":[0-9]+$", "", proxied.host)
        fill_pool_tls(pool, scope, directory, host=host, prefix=proxied.prefix)
    _paths(route, location, proxied)
    fill_request_headers(route, scope, prefix=proxied.prefix, host=_sent_host(proxied), copied=copied)
    is_cached = fill_cache(route, scope, zones, host=proxied.host)
    status_header = fill_response_headers(route, scope, is_cached=is_cached, from_server=True)
    if status_header:
        route.table("cache")["status_header"] = status_header
    _pool_settings(pool, scope, proxied.prefix)


def _sent_host(proxied: Proxied) -> str:
    return "server" if re.search(r":[0-9]+$", proxied.host) else proxied.host


def _paths(route: DraftTable, location: LocationBlock, proxied: Proxied) -> None:
    """Fill what becomes of the path on its way to the server."""
    scope = location.scope
    rewrites = [each for each in scope.own("rewrite") if each.args[-1] == "break"]
    for each in scope.own("rewrite"):
        if each not in rewrites:
            scope.migration.gap(each, "a request takes one route: `strip_prefix` and `add_prefix` change its path")
    for each in scope.own("try_files"):
        scope.migration.gap(each, "a route has files or a pool: give the paths of files one of their own with `files`")
    for each in rewrites[1:]:
        scope.migration.gap(each, "`strip_prefix` and `add_prefix` change the beginning of a path")
    if rewrites:
        _rewritten(route, location, rewrites[0])
    elif proxied.path and (location.kind != "=" or proxied.path != location.path):
        _replaced(route, location, proxied)


def _replaced(route: DraftTable, location: LocationBlock, proxied: Proxied) -> None:
    """Fill ``location /a/ { proxy_pass http://b/c/; }``: the path of the URL takes the place of the location's."""
    migration = location.scope.migration
    taken, given = location.path.rstrip("/"), proxied.path.rstrip("/")
    even = location.path.endswith("/") == proxied.path.endswith("/")
    if location.kind == "=":
        even = proxied.path.endswith("/")
    elif not even and not given:
        migration.translated(proxied.directive, note="nginx sends // here; the server gets a path with one slash")
        even = True
    if not even or "?" in proxied.path or location.is_regex:
        migration.gap(proxied.directive, "`strip_prefix` and `add_prefix` change whole segments of a path")
    elif taken != given:
        change_prefixes(route.keys, taken, as_url_path(given))


def as_url_path(path: str) -> str:
    """Return a path as it stands in a URL."""
    return quote(path, safe="/!$&'()*+,;=:@-._~%")


def _rewritten(route: DraftTable, location: LocationBlock, directive: Directive) -> None:
    r"""Fill ``rewrite ^/api/(.*)$ /$1 break``."""
    expression, replacement = directive.args[:2]
    match = _EXACT_REWRITE.fullmatch(expression)
    taken = match[1].rstrip("/") if match is not None else None
    if taken is None or not replacement.endswith("$1") or not (f"{location.path}/").startswith(f"{taken}/"):
        location.scope.migration.gap(directive, "`strip_prefix` and `add_prefix` change the beginning of a path")
        return
    given = replacement.removesuffix("$1").rstrip("/")
    location.scope.migration.translated(directive)
    change_prefixes(route.keys, taken, as_url_path(given))


def _pool_settings(pool: DraftTable, scope: Scope, prefix: str) -> None:
    """Fill what is said where a pool is used. Where two say it, the longer time counts."""
    connect = scope.read(f"{prefix}_connect_timeout", as_duration)
    if connect is not None:
        _longer(pool, "connect_timeout", connect)
    answer = scope.read(f"{prefix}_read_timeout", as_duration)
    if answer is not None:
        _longer(pool.table("http"), "response_timeout", answer)
    directive = scope.last(f"{prefix}_next_upstream")
    if directive is not None:
        _retries(pool, scope, directive)
    fill_tries_and_source(pool, scope, prefix)


def _longer(table: DraftTable, key: str, value: str) -> None:
    before = table.get(key)
    if not isinstance(before, str) or time_in_seconds(value) > time_in_seconds(before):
        table[key] = value


def _retries(pool: DraftTable, scope: Scope, directive: Directive) -> None:
    if "off" in directive.args:
        pool["retries"] = 0
        pool.table("http")["retry_on"] = []
        scope.migration.translated(directive)
        return
    pool.table("http")["retry_on"] = [*dict.fromkeys(_RETRIES[each] for each in directive.args if each in _RETRIES)]
    unknown = [each for each in directive.args if each not in _RETRIES]
    if unknown:
        scope.migration.gap(directive, f"{' '.join(unknown)}: `retry_on` has reset, timeout, 502, 503 and 504")
    else:
        scope.migration.translated(directive)


def fill_files(route: DraftTable, location: LocationBlock, media: Mapping[str, str]) -> bool:
    """Fill a route to files, or to live streams. Return False if the location has no directory."""
    scope = location.scope
    alias, root = scope.own("alias"), scope.last("root")
    directive = alias[-1] if alias else root
    if directive is None:
        return False
    path = scope.text(directive.args[0], {})
    if path is None:
        scope.migration.gap(directive, "a directory has a fixed name: one route for each, by host or path")
        return False
    scope.migration.translated(directive)
    streams = media.get(path.rstrip("/") if alias else posixpath.join(path, location.path.strip("/")))
    if streams is not None:
        route["media"] = streams
        scope.migration.translated(
            directive, "listeners.NAME.routes.media", note="a stream is at NAME/master.m3u8 and NAME/manifest.mpd"
        )
        return True
    route["files"] = path.rstrip("/") or "/"
    if alias:
        if location.path.endswith("/") != directive.args[0].endswith("/") or location.is_regex:
            scope.migration.gap(directive, "a directory takes the place of whole segments of a path")
        elif location.path != "/":
            route["strip_prefix"] = location.path.rstrip("/")
    _index(scope)
    for each in scope.own("default_type"):
        scope.migration.gap(each, "types follow from the names of files; `response_headers` sets Content-Type of all")
    fill_response_headers(route, scope, is_cached=False, from_server=False)
    return True


def _index(scope: Scope) -> None:
    directive = scope.last("index")
    if directive is None:
        return
    if "index.html" in directive.args:
        scope.migration.translated(directive)
    else:
        scope.migration.gap(directive, "the file of a directory is index.html")


def _is_location(text: str) -> bool:
    try:
        check_variables(text, REQUEST_VARIABLES)
    except ValueError:
        return False
    return re.fullmatch("[!-~]+", text) is not None


def fill_return(route: DraftTable, scope: Scope, directive: Directive) -> bool:
    """Fill a route that answers itself: ``return``. Return False if it cannot be."""
    status, *rest = directive.args
    text = rest[0] if rest else ""
    if not status.isdigit():
        status, text = "302", status
    if status == "444":
        scope.migration.gap(directive, "connections are not closed without a response: 404 takes its place")
        status = "404"
    known = scope.text(simplified(text), IN_REQUESTS)
    if known is None:
        scope.migration.gap(
            directive, "texts may hold {client_ip} {host} {path} {uri} {query} {method} {scheme} {request_id}"
        )
        return False
    if text and status in _REDIRECTS:
        if not _is_location(known):
            scope.migration.gap(directive, "a redirect has no spaces, and no other words in braces than variables")
            return False
        route["redirect"] = known
        if status != "308":
            route["status"] = int(status)
        scope.migration.translated(directive)
    else:
        text = "" if status in _EMPTY else text
        route["respond"] = (
            "" if status in _EMPTY else known.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")
        )
        if status != "200":
            route["status"] = int(status)
        scope.migration.translated(directive, "listeners.NAME.routes.respond")
        kind = scope.last("default_type")
        if text and kind is not None and kind.args[0] not in _PLAIN_TYPES:
            route["response_headers"] = {"set": {"Content-Type": kind.args[0]}}
            scope.migration.translated(kind)
    fill_response_headers(route, scope, is_cached=False, from_server=False)
    return True
