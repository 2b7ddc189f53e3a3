"""Who may pass a route, and how fast: limit_req, limit_rate, auth_basic, auth_request, gzip."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lb.tools.migrate.draft import Draft, DraftTable
from lb.tools.migrate.migration import Directive
from lb.tools.migrate.nginx.pools import PoolDrafts, with_port
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.targets import Proxied
from lb.tools.migrate.nginx.units import as_size

__all__ = ["copied_fields", "fill_auth", "fill_compress", "fill_forward_auth", "fill_rates", "zone_name"]

CLIENT = ("$binary_remote_addr", "$remote_addr")
"""Keys of zones that count by client."""


def fill_compress(route: DraftTable, scope: Scope) -> None:
    """Fill whether responses are compressed."""
    on = [name for name in ("gzip", "brotli", "zstd") if scope.is_on(name)]
    if on:
        route["compress"] = True


def fill_rates(route: DraftTable, scope: Scope) -> None:
    """Fill the limits of requests and of bytes."""
    found = scope.all("limit_req")
    for each in found[1:]:
        scope.migration.gap(each, "a route has one `rate`")
    if found:
        _rate(route, scope, found[0])
    rate = scope.read("limit_rate", partial(as_size, least=1024))
    if rate not in (None, "0"):
        route["limit_rate"] = rate
        after = scope.read("limit_rate_after", as_size)
        if after not in (None, "0"):
            route["limit_rate_after"] = after


def _rate(route: DraftTable, scope: Scope, directive: Directive) -> None:
    options = {key: value for key, _, value in (word.partition("=") for word in directive.args)}
    zone = next((each for each in scope.all("limit_req_zone") if zone_name(each) == options.get("zone")), None)
    if zone is None or zone.args[0] not in CLIENT:
        scope.migration.gap(directive, "`rate` counts by client")
        if zone is not None:
            scope.migration.gap(zone, "`rate` counts by client")
        return
    match = re.fullmatch(r"([0-9]+)r/([sm])", zone.option("rate"))
    if match is None:
        scope.migration.gap(zone, "`rate` is a number a second, a minute or an hour")
        return
    route["rate"] = f"{match[1]}/{match[2]}"
    route["burst"] = int(options.get("burst", "0")) + 1
    scope.migration.translated(zone)
    status = scope.last("limit_req_status")
    notes = [] if status is not None and status.args[0] == "429" else ["what is too much gets 429, not 503"]
    if "burst" in options and "nodelay" not in options:
        notes.append("what is within the burst is not delayed")
    scope.migration.translated(directive, note="; ".join(notes))


def zone_name(zone: Directive) -> str:
    """Return the name in ``zone=NAME:SIZE``."""
    return zone.option("zone").partition(":")[0]


def fill_auth(route: DraftTable, scope: Scope, draft: Draft, directory: Path) -> None:
    """Fill basic authentication."""
    realm = scope.last("auth_basic")
    if realm is None:
        return
    scope.migration.translated(realm)
    file = scope.last("auth_basic_user_file")
    if realm.args[0] == "off" or file is None:
        return
    scope.migration.translated(file)
    path = str(directory / file.args[0])
    name = re.sub(r"^\.?ht|[^A-Za-z0-9_-]+", "", posixpath.basename(path).removesuffix(".htpasswd")) or "users"
    name = {"passwd": "users"}.get(name, name)
    users = draft.table("users", name)
    if users.get("file") not in (None, path) or users.get("realm") not in (None, realm.args[0]):
        name = f"{name}-{len(draft.table('users').below)}"
        users = draft.table("users", name)
    users["file"], users["realm"] = path, realm.args[0]
    route["auth"] = name


def copied_fields(scope: Scope) -> dict[str, str]:
    """Return the variables of ``auth_request_set``, with the fields that they have the values of."""
    found = {}
    for each in scope.all("auth_request_set"):
        match = re.fullmatch(r"\$\{?(?:upstream|sent)_http_([a-z0-9_]+)\}?", each.args[1])
        if match is None:
            scope.migration.gap(each, "`auth_headers` are fields of the answer")
        else:
            found[each.args[0].lstrip("$")] = match[1].replace("_", "-")
            scope.migration.translated(each)
    return found


def fill_forward_auth(
    route: DraftTable, scope: Scope, services: Mapping[str, tuple[Scope, Proxied]], pools: PoolDrafts
) -> None:
    """Fill the URL that is asked first. ``services`` has the locations of the server that pass requests on."""
    directive = scope.last("auth_request")
    if directive is None:
        return
    if directive.args[0] == "off":
        scope.migration.translated(directive)
        return
    service = services.get(directive.args[0])
    if service is None:
        scope.migration.gap(directive, "`forward_auth` is the URL of a service")
        return
    place, proxied = service
    upstream = pools.upstream(proxied.target)
    servers = [each.args[0] for each in upstream.below("server")] if upstream is not None else [proxied.target]
    address = with_port(servers[0], 80) if upstream is not None else servers[0]
    route["forward_auth"] = f"{proxied.scheme}://{address}{proxied.path or directive.args[0]}"
    scope.migration.translated(directive)
    why = "`forward_auth` asks with a GET, X-Forwarded-Method and X-Forwarded-Uri"
    scope.migration.all_not_needed(place.block, why)
    if len(servers) > 1:
        scope.migration.gap(
            proxied.directive, "`forward_auth` asks one service: a listener in front of several has one URL"
        )
