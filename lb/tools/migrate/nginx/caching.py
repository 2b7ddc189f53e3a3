"""proxy_cache and its kin."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import partial

from lb.cache.cache_key import KeyTemplate
from lb.tools.migrate.draft import Draft, DraftTable
from lb.tools.migrate.migration import Directive
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.units import as_duration, as_size
from lb.tools.migrate.nginx.variables import condition, key_text

__all__ = ["cache_zones", "fill_cache"]

_DEFAULT_STATUSES = ("200", "301", "302")
_STALE = {
    "error", "timeout", "updating", "http_500", "http_502", "http_503", "http_504", "http_403", "http_404", "http_429",
}  # fmt: skip
_HEEDED = {"cache-control", "expires", "set-cookie", "vary", "x-accel-expires"}
_DEFAULT_KEY = "{scheme}{host}{uri}"


def cache_zones(http: Scope, draft: Draft) -> set[str]:
    """Add the caches, and return their names."""
    found = set()
    for each in http.own("proxy_cache_path"):
        options = {key: value for key, _, value in (word.partition("=") for word in each.args[1:])}
        name = options.get("keys_zone", "").partition(":")[0]
        table = draft.table("caches", name)
        table["path"] = _own_directory(each.args[0])
        note = ""
        if "max_size" in options:
            table["max_size"] = as_size(options["max_size"], least=1 << 20)
        else:
            note = "without max_size nginx fills the disk; here it is 1 GiB unless `max_size` says more"
        table["inactive"] = as_duration(options.get("inactive", "10m"))
        http.migration.place(each, table)
        http.migration.translated(each, note=note)
        found.add(name)
    return found


def _own_directory(path: str) -> str:
    """Return another directory than nginx's, as the files are other ones: beside it, or the same below trio-lb."""
    parts = path.rstrip("/").split("/")
    if "nginx" in parts:
        return "/".join("trio-lb" if each == "nginx" else each for each in parts)
    return f"{posixpath.normpath(path)}-lb"


def fill_cache(route: DraftTable, scope: Scope, zones: set[str], *, host: str) -> bool:
    """Fill what a route keeps. ``host`` is that of nginx's default key. Return whether it keeps anything."""
    zone = scope.last("proxy_cache")
    if zone is None or zone.args[0] == "off":
        if zone is not None:
            scope.migration.translated(zone)
        return False
    if zone.args[0] not in zones:
        scope.migration.gap(zone, "`zone` of a cache is the name of one of [caches]")
        return False
    scope.migration.translated(zone)
    cache = route.table("cache")
    cache["zone"] = zone.args[0]
    _key(route, cache, scope, host)
    _valid(cache, scope)
    _stale(cache, scope)
    uses = scope.take("proxy_cache_min_uses")
    if uses not in (None, "1"):
        cache["min_uses"] = int(uses)
    _conditions(cache, "bypass", scope, "proxy_cache_bypass")
    _conditions(cache, "no_store", scope, "proxy_no_cache")
    _ignored(cache, scope)
    if scope.last("slice") is not None and scope.take("slice") != "0":
        cache["slice"] = scope.read("slice", partial(as_size, least=4096)) or "0"
    methods = scope.last("proxy_cache_methods")
    if methods is not None and "POST" in methods.args:
        scope.migration.gap(methods, "responses to GET and HEAD are stored")
    return True


def _key(route: DraftTable, cache: DraftTable, scope: Scope, host: str) -> None:
    directive = scope.last("proxy_cache_key")
    constants = {**scope.constants(), "proxy_host": host}
    if directive is None:
        if route.get("host_header"):  # else servers see the client's Host, and each host has responses of its own
            cache["key"] = f"{{scheme}}{host}{{uri}}"
        return
    found = key_text(" ".join(directive.args), constants)
    if found is None or not _is_key(found):
        scope.migration.gap(
            directive,
            "`key` may hold {scheme} {host} {uri} {path} {query} {method} {header:NAME} {cookie:NAME} {argument:NAME}",
        )
        return
    scope.migration.translated(directive)
    if found != _DEFAULT_KEY:
        cache["key"] = found


def _is_key(text: str) -> bool:
    try:
        KeyTemplate(text)
    except ValueError:
        return False
    return True


def _valid(cache: DraftTable, scope: Scope) -> None:
    """Fill how long responses are kept that do not say it: without a word, nginx does not keep them."""
    found = scope.all("proxy_cache_valid")
    for each in found:
        *statuses, time = each.args
        for status in statuses or _DEFAULT_STATUSES:
            cache.put("valid", status, as_duration(time))
        scope.migration.translated(each)
    if not found:
        cache.put("valid", "any", "0")


def _stale(cache: DraftTable, scope: Scope) -> None:
    directive = scope.last("proxy_cache_use_stale")
    reasons = () if directive is None else directive.args
    known = [each for each in reasons if each in _STALE]
    cache["use_stale"] = [*known]
    if directive is not None:
        scope.migration.translated(directive)
    if "updating" in known and not scope.is_on("proxy_cache_background_update"):
        cache["background_update"] = False
    if not scope.is_on("proxy_cache_revalidate"):
        cache["revalidate"] = False
    scope.take("proxy_cache_lock")


def _conditions(cache: DraftTable, key: str, scope: Scope, name: str) -> None:
    for directive in scope.all(name):
        _condition(cache, key, scope, directive)


def _condition(cache: DraftTable, key: str, scope: Scope, directive: Directive) -> None:
    constants: Mapping[str, str] = scope.constants()
    unknown = []
    for word in directive.args:
        found = condition(word)
        if found is not None:
            cache.extend(key, found)
        elif word.lstrip("$") not in constants:
            unknown.append(word)
    if unknown:
        scope.migration.gap(directive, f"{' '.join(unknown)}: conditions are cookie:NAME, header:NAME and query:NAME")
    else:
        scope.migration.translated(directive)


def _ignored(cache: DraftTable, scope: Scope) -> None:
    for each in scope.all("proxy_ignore_headers"):
        for name in each.args:
            if name.lower() in _HEEDED:
                cache.extend("ignore", name)
        scope.migration.translated(each)
