"""The listener keys of mode ``forward``: protocols, who may go where, parents, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from lb.forward.rule_settings import target_rule
from lb.forward.target import LAST_PORT
from lb.http.reference_settings import auth_of, cache_of
from lb.http.settings import CLIENT_KEYS
from lb.model.forward import ForwardProtocol, ForwardSettings
from lb.model.modes import References, complain_of_no_pool
from lb.model.shape import LOCAL_PATTERN, NOWHERE, Shape, given, list_of, other_than, shaped, table_of, when, whole
from lb.model.suggestion import did_you_mean
from lb.model.table import Table
from lb.model.values import (
    Reader,
    boolean,
    duration_above_zero,
    duration_or_never,
    ip_address,
    shown,
    text,
    whole_number,
)

__all__ = ["forward_table", "read_settings"]

_PROTOCOLS: tuple[ForwardProtocol, ...] = get_args(ForwardProtocol)

FORWARD_KEYS: Mapping[str, Reader[object]] = {
    **CLIENT_KEYS,
    "private": boolean,
    "source_address": ip_address,
    "connect_timeout": duration_above_zero,
    "response_timeout": duration_or_never,
    "hide_client": boolean,
}


def read_settings(
    listener: str,  # noqa: ARG001 - no default depends on it
    table: Table,
    references: References,
) -> ForwardSettings:
    """Read the settings of one listener. Errors are reported to ``table``."""
    for key in ("pool", "servers"):
        if table.has(key):
            message = "has no effect: clients name their targets; name a pool of further proxies in 'parents'"
            table.complain(message, table.at(key))
    values = table.values(FORWARD_KEYS)
    protocols = _protocols(table)
    if protocols:
        values["protocols"] = protocols
    settings = ForwardSettings(
        auth=auth_of(table, references),
        connect_ports=_connect_ports(table),
        allow_to=table.each("allow_to", target_rule),
        deny_to=table.each("deny_to", target_rule),
        parents=_parents(table, references),
        cache=cache_of(table, references),
        **values,
    )
    _complain_of_contradictions(settings, table)
    return settings


def _protocols(table: Table) -> tuple[ForwardProtocol, ...]:
    if table.content.get("protocols") == []:
        table.complain("must name at least one protocol", table.at("protocols"))
    return table.each("protocols", _protocol)


@shaped({"enum": list(_PROTOCOLS)})
def _protocol(value: object) -> ForwardProtocol:
    given = text(value)
    for protocol in _PROTOCOLS:
        if given == protocol:
            return protocol
    known = " or ".join(map(repr, _PROTOCOLS))
    raise ValueError(f"must be {known}, not {shown(given)}{did_you_mean(given, _PROTOCOLS)}")


def _connect_ports(table: Table) -> tuple[int, ...] | None:
    """Read ``connect_ports``: a list of ports, or ``any``: None."""
    if not table.has("connect_ports"):
        return ForwardSettings().connect_ports
    given = table.content["connect_ports"]
    if isinstance(given, str):
        if given != "any":
            table.complain(f"must be a list of ports or 'any', not {shown(given)}", table.at("connect_ports"))
        return None
    return table.each("connect_ports", whole_number(least=1, most=LAST_PORT))


def _parents(table: Table, references: References) -> str:
    pool = table.value("parents", text) or ""
    if pool and pool not in references.pools:
        complain_of_no_pool(table, "parents", pool, references.pools)
    elif pool and references.pools[pool].http.protocol != "http/1.1":
        table.complain("proxies get HTTP/1.1: the pool must not have http.protocol = 'h2'", table.at("parents"))
    return pool


def _complain_of_contradictions(settings: ForwardSettings, table: Table) -> None:
    """Report the keys that say something but cannot have an effect."""
    if settings.parents and settings.source_address:
        table.complain("has no effect with 'parents': use the pool's 'source'", table.at("source_address"))
    if settings.cache is not None and "http" not in settings.protocols:
        table.complain("has no effect: 'http' is not among the protocols", table.at("cache"))
    if settings.auth is not None and settings.protocols == ("socks4",):
        table.complain("lets nobody in: 'socks4' has no passwords", table.at("auth"))


def forward_table() -> Shape:
    """Return the shape of what a listener of this mode has beside the keys of every mode."""
    from lb.http.cache_settings import ROUTE_CACHE_TABLE  # noqa: PLC0415 - a process without caches loads none of it

    elsewhere: Shape = {"type": "string", "not": {"pattern": whole(LOCAL_PATTERN)}}
    named: Shape = {"anyOf": [{"required": ["auth"]}, given(allow={"minItems": 1})]}
    return table_of(
        {
            **FORWARD_KEYS,
            "pool": NOWHERE,
            "servers": NOWHERE,
            "protocols": list_of(_protocol, least=1),
            "auth": text,
            "connect_ports": {"anyOf": [{"const": "any"}, list_of(whole_number(least=1, most=LAST_PORT))]},
            "allow_to": list_of(target_rule),
            "deny_to": list_of(target_rule),
            "parents": text,
            "cache": ROUTE_CACHE_TABLE,
        },
        rules=[
            when({"anyOf": [given(bind=elsewhere), given(bind={"type": "array", "contains": elsewhere})]}, named),
            when(given(parents=other_than("")), {"properties": {"source_address": {"const": ""}}}),
            when(
                given(protocols={"type": "array", "not": {"contains": {"const": "http"}}}),
                {"properties": {"cache": {"maxProperties": 0}}},
            ),
            when(given(auth={}), {"properties": {"protocols": other_than(["socks4"])}}),
        ],
    )
