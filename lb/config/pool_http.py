"""Read what a pool has for HTTP: ``[pools.NAME.http]``, ``sticky``, and ``statuses`` of passive health checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from lb.config.secret_file import secret_in_file
from lb.model import HttpPoolSpec, Secret, StickySpec
from lb.model.http import RetryOn, StatusRange
from lb.model.shape import given, list_of, or_boolean, other_than, shaped, table_of, when, whole
from lb.model.suggestion import did_you_mean
from lb.model.table import Table
from lb.model.values import Reader, byte_size, choice, duration_above_zero, duration_or_never, shown, text, whole_number

__all__ = ["POOL_HTTP_TABLE", "STICKY_TABLE", "read_pool_http", "read_sticky", "status_ranges"]

_MOST_KEPT = 10_000
"""Idle connections to a server. An estimate: more would hold most of the descriptors that a process may have."""
_MOST_STREAMS = 10_000
"""Exchanges on a connection. An estimate: the buffers of more than that do not belong on one connection."""
_STATUSES = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@shaped(list_of({"enum": list(get_args(RetryOn))}))
def _retry_on(value: object) -> tuple[RetryOn, ...]:
    """Read what makes another attempt."""
    known: tuple[RetryOn, ...] = get_args(RetryOn)
    if not isinstance(value, list):
        raise ValueError(f"must be a list like ['reset', '503'], not {shown(value)}")  # noqa: TRY004
    for each in value:
        if each not in known:
            hint = did_you_mean(each, known) if isinstance(each, str) else ""
            raise ValueError(f"knows {', '.join(map(repr, known))}, not {shown(each)}{hint}")
    return tuple(dict.fromkeys(value))


POOL_HTTP_KEYS: Mapping[str, Reader[object]] = {
    "protocol": choice(HttpPoolSpec, "protocol"),
    "max_streams": whole_number(least=1, most=_MOST_STREAMS),
    "keep_alive": whole_number(most=_MOST_KEPT),
    "keep_alive_timeout": duration_above_zero,
    "response_timeout": duration_or_never,
    "retry_on": _retry_on,
    "retry_buffer": byte_size(),
}


POOL_HTTP_TABLE = table_of(
    POOL_HTTP_KEYS,
    rules=[
        when(given(max_streams=other_than(HttpPoolSpec().max_streams)), given(protocol={"const": "h2"})),
        when(given(retry_on={"contains": {"const": "grpc_unavailable"}}), given(protocol={"const": "h2"})),
    ],
)


def read_pool_http(pool: Table) -> HttpPoolSpec:
    """Read ``[pools.<name>.http]``."""
    table = pool.table("http")
    spec = HttpPoolSpec(**table.values(POOL_HTTP_KEYS))
    if spec.protocol != "h2":
        if spec.max_streams != HttpPoolSpec().max_streams:
            table.complain("has no effect without protocol = 'h2'", table.at("max_streams"))
        if "grpc_unavailable" in spec.retry_on:
            table.complain("'grpc_unavailable' needs protocol = 'h2'", table.at("retry_on"))
    table.finish()
    return spec


def read_sticky(pool: Table, directory: Path) -> StickySpec | None:
    """Read ``sticky``; None if it is absent or false. Paths are relative to ``directory``."""
    if not pool.has("sticky") or pool.content["sticky"] is False:
        return None
    table = pool.table("sticky")
    cookie = table.value("cookie", _cookie)
    if not table.has("cookie") and isinstance(pool.content["sticky"], dict):
        table.complain('missing, as in cookie = "lb"', table.at("cookie"))
    secret = None if table.content.get("secret_file") == "" else table.value("secret_file", secret_in_file(directory))
    table.known.add("secret_file")
    table.finish()
    return StickySpec(cookie or "", Secret(secret) if secret else None)


@shaped({"type": "string", "pattern": whole(_COOKIE_NAME.pattern)})
def _cookie(value: object) -> str:
    """Read the name of a cookie."""
    name = text(value)
    if not _COOKIE_NAME.fullmatch(name):
        raise ValueError(f"must be a name of letters, digits and -_.!#$%&'*+^`|~, not {shown(name)}")
    return name


@shaped(list_of({"type": "string", "pattern": whole(_STATUSES.pattern)}))
def status_ranges(value: object) -> tuple[StatusRange, ...]:
    """Read HTTP statuses and ranges of them, such as ``["500-599", "429"]``."""
    if not isinstance(value, list):
        raise ValueError(f"must be a list like ['500-599', '429'], not {shown(value)}")  # noqa: TRY004
    return tuple(map(_status_range, value))


def _status_range(value: object) -> StatusRange:
    match = _STATUSES.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must hold statuses like '429' and ranges like '500-599', not {shown(value)}")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise ValueError(f"a range goes from a status to a higher one, not {shown(value)}")
    return StatusRange(first, last)


STICKY_TABLE = or_boolean(table_of({"cookie": _cookie, "secret_file": text}, required=["cookie"]), False)
