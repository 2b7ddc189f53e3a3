"""Settings of a whole listener, which nginx has for each server or location: where they differ, the widest counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from lb.tools.migrate.draft import DraftTable
from lb.tools.migrate.migration import Directive
from lb.tools.migrate.nginx.access import CLIENT, zone_name
from lb.tools.migrate.nginx.listens import Group
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.units import as_duration, as_size, byte_count, time_in_seconds

__all__ = ["access_rules", "fill_access", "fill_connections", "fill_listener"]

_MEGABYTE = 1 << 20
_IDLE = 60.0
"""Seconds: what both sides take for the time in which no byte moves."""
_DURATIONS = {
    "keep_alive": ("keepalive_timeout",),
    "header_timeout": ("client_header_timeout",),
    "idle_timeout": (
        "proxy_read_timeout", "proxy_send_timeout", "grpc_read_timeout", "grpc_send_timeout", "client_body_timeout",
        "send_timeout",
    ),
}  # fmt: skip
_ONE_FOR_ALL = "it is one for the whole listener: the largest counts"


def fill_listener(listener: DraftTable, group: Group, places: Sequence[Scope]) -> None:
    """Fill the settings. ``places`` are the locations, and servers where there is none."""
    for key, names in _DURATIONS.items():
        _longest(listener, key, names, places)
    _body(listener, places)
    _header(listener, places)
    _log(listener, places)
    _proxies(listener, group)
    fill_connections(listener, places)
    for each in group.listens:
        for option in each.options:
            key, _, value = option.partition("=")
            if key == "backlog":
                listener["backlog"] = int(value)


def _given(name: str, places: Sequence[Scope]) -> list[Directive]:
    """Return the directives of a name that hold anywhere in the listener."""
    return [*dict.fromkeys(found for each in places if (found := each.last(name)) is not None and found.args)]


def _longest(listener: DraftTable, key: str, names: Sequence[str], places: Sequence[Scope]) -> None:
    times = {}
    for scope in places:
        for name in names:
            text = scope.read(name, as_duration)
            if text is not None:
                times[name, text] = time_in_seconds(text)
    found = max(times.values(), default=None)
    if found is None or (key == "idle_timeout" and found <= _IDLE):
        return
    listener[key] = as_duration(found)


def _widest(
    places: Sequence[Scope], name: str, default: int, read: Callable[[str], int]
) -> tuple[int, Sequence[Directive]]:
    """Return the largest value that holds in a place, 0 being no limit, and the directives that say less."""
    values = {each: read(each.args[0]) for each in _given(name, places)}
    held = [values[found] if (found := each.last(name)) in values else default for each in places]
    largest = 0 if 0 in held or not held else max(held)
    return largest, [each for each, value in values.items() if value != largest]


def _body(listener: DraftTable, places: Sequence[Scope]) -> None:
    """Fill the limit of bodies, which nginx has without a word, too."""
    name = "client_max_body_size"
    largest, smaller = _widest(places, name, _MEGABYTE, byte_count)
    if largest and any("pool" in each for each in listener.rows("routes")):
        listener["max_body"] = as_size(largest)
    for scope in places:
        scope.take(name)
    for each in smaller:
        places[0].migration.gap(each, _ONE_FOR_ALL)


def _header(listener: DraftTable, places: Sequence[Scope]) -> None:
    sizes = [int(each.args[0]) * byte_count(each.args[1]) for each in _given("large_client_header_buffers", places)]
    for scope in places:
        scope.take("large_client_header_buffers")
    if sizes:
        listener["max_header"] = as_size(max(1024, min(max(sizes), _MEGABYTE)))


def _log(listener: DraftTable, places: Sequence[Scope]) -> None:
    found = [each.last("access_log") for each in places]
    off = [each for each in found if each is not None and each.args[0] == "off"]
    if off and len(off) == len(found):
        listener["access_log"] = False
    for each in dict.fromkeys(each for each in found if each is not None):
        if each not in off:
            places[0].migration.not_needed(each, "the log goes to stderr, as JSON or text ([log])")
        elif len(off) == len(found):
            places[0].migration.translated(each)
        else:
            places[0].migration.gap(each, "`access_log` is of a whole listener")


def _proxies(listener: DraftTable, group: Group) -> None:
    """Fill which proxies in front are believed."""
    scope = group.servers[0]
    trusted = [each for server in group.servers for each in server.all("set_real_ip_from")]
    networks = [*dict.fromkeys(each.args[0] for each in trusted if not each.args[0].startswith("unix:"))]
    header = scope.last("real_ip_header")
    named = header.args[0].lower() if header is not None else ("x-real-ip" if trusted else "")
    if group.has("proxy_protocol"):
        listener["accept_proxy"] = [*networks] if networks and named == "proxy_protocol" else True
    if named == "x-forwarded-for" and networks:
        listener["trusted_proxies"] = [*networks]
    for each in (*trusted, *([header] if header is not None else [])):
        if named in ("x-forwarded-for", "proxy_protocol"):
            scope.migration.translated(
                each, "listeners.NAME.accept_proxy" if named == "proxy_protocol" else "listeners.NAME.trusted_proxies"
            )
        else:
            scope.migration.gap(each, "`trusted_proxies` are believed in X-Forwarded-For and Forwarded")


def fill_access(listener: DraftTable, servers: Sequence[Scope]) -> frozenset[Directive]:
    """Fill which networks may connect, if all servers say the same. Return the rules that hold so."""
    lists = [access_rules(each) for each in servers]
    spoken = [[(each.name, each.args[0]) for each in found] for found in lists]
    networks = _networks(spoken[0])
    if networks is None or any(each != spoken[0] for each in spoken):
        return frozenset()
    for key, values in networks.items():
        if values:
            listener[key] = [*values]
    held = frozenset(directive for each in lists for directive in each)
    for each in held:
        servers[0].migration.translated(each)
    return held


def access_rules(scope: Scope) -> list[Directive]:
    """Return the allow and deny that hold in a place, in their order."""
    block = next((each for each in reversed(scope.blocks) if each.below("allow") or each.below("deny")), None)
    return [each for each in (block.block or () if block is not None else ()) if each.name in ("allow", "deny")]


def _networks(rules: Sequence[tuple[str, str]]) -> dict[str, list[str]] | None:
    """Return rules of which the first match counts as two lists, of which ``deny`` counts more; None if they differ."""
    found: dict[str, list[str]] = {"allow": [], "deny": []}
    for name, network in rules:
        if network == "all":
            if name == "allow":
                found["allow"] = []
            return found if name == "allow" or found["allow"] else None
        if name == "deny" and any(_overlap(network, each) for each in found["allow"]):
            return None
        found[name].append(network)
    found["allow"] = []  # who is in no list may pass
    return found


def _overlap(one: str, other: str) -> bool:
    try:
        networks = [ipaddress.ip_network(each, strict=False) for each in (one, other)]
    except ValueError:
        return True
    return networks[0].version == networks[1].version and networks[0].overlaps(networks[1])


def fill_connections(listener: DraftTable, places: Sequence[Scope]) -> None:
    """Fill the limits of connections that hold in all places."""
    zones = {zone_name(each): each for place in places for each in place.all("limit_conn_zone")}
    everywhere = [*dict.fromkeys(each for place in places for each in place.all("limit_conn"))]
    for each in everywhere:
        zone = zones.get(each.args[0])
        migration = places[0].migration
        if zone is None or any(each not in place.all("limit_conn") for place in places):
            migration.gap(each, "`max_per_source` and `max_connections` are of a whole listener")
            if zone is not None:
                migration.translated(zone)
            continue
        key = "max_per_source" if zone.args[0] in CLIENT else "max_connections"
        if key == "max_connections" and zone.args[0] not in ("$server_name", "$server_port", "$server_addr"):
            migration.gap(each, "connections are counted by client, or all together")
            migration.gap(zone, "connections are counted by client, or all together")
            continue
        listener[key] = int(each.args[1])
        migration.translated(zone, f"listeners.NAME.{key}")
        migration.translated(each, f"listeners.NAME.{key}")
