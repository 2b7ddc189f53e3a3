"""The checks of the ledger's requests. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from chaos.ledger import Disturbance, Ledger, RequestSession

__all__ = ["request_fate", "request_violations"]

REPEATED = ("GET", "HEAD", "PUT", "DELETE")
KEPT_BODY = 64 * 1024
"""``retry_buffer``: a request with a longer body is not sent again."""
CAUSES: Mapping[str, Collection[str]] = {
    "server_reset": ("kill", "refuse", "freeze"),
    "bad_response": ("kill", "refuse"),
    "server_down": ("down", "remove"),
}
"""Kinds of disturbances that explain a reason."""
SLACK = 2.0
"""Seconds between a disturbance and its effect on a request that was begun later: a kept connection that was closed."""
EJECTED = 5.0
"""Maximum seconds for which an ejection lasts in a storm, on a busy machine. An estimate."""


def request_fate(request: RequestSession, ledger: Ledger) -> str:
    """Return what became of a request, for the table."""
    if request.rude:
        return "requests reset by their clients"
    if request.failure is None and not request.unserved:
        return "responses"
    if request.unserved:
        return "requests behind a closed connection"
    if not ledger.records.get(request.number):
        return "requests cut with a worker that died"
    return f"requests failed with {request.status if not request.is_answer else 'a busy or failing server'}"


def request_violations(request: RequestSession, ledger: Ledger, *, with_worker: bool) -> Iterator[str]:
    """Yield what is wrong with a request. ``with_worker``: a worker died meanwhile."""
    records = ledger.records.get(request.number, [])
    if len(records) > 1:
        yield f"{len(records)} records: {records}"
    if request.unserved:
        if request.closed_before and records:
            yield f"served, though the response before it has closed the connection: {records[0]}"
    elif not records:
        if not with_worker and not request.rude:
            yield f"no record, and no worker died ({request.failure or 'it succeeded'})"
    elif not request.rude:
        yield from _differences(request, records[0], ledger, with_worker=with_worker)


def _differences(
    request: RequestSession, record: Mapping[str, Any], ledger: Ledger, *, with_worker: bool
) -> Iterator[str]:
    if request.failure is None:
        if (record["reason"], record["status"]) != ("ok", request.status):
            yield f"it succeeded: {record}"
        elif record["bytes_out"] < request.received or (not request.chunked and record["bytes_in"] != request.up):
            yield f"it sent {request.up} bytes and received {request.received}: {record}"
    elif not with_worker and not _explained(request, record, ledger):
        yield f"{request.failure}; nothing explains it: {record}"


def _explained(request: RequestSession, record: Mapping[str, Any], ledger: Ledger) -> bool:
    """Return whether a request may fail like this."""
    servers = {record["server"], *(attempt["server"] for attempt in record["attempts"])}
    if request.is_answer and request.status == 503:  # from a busy server
        return not _repeatable(request) or _other_was_out(request, servers, ledger)
    begun = request.is_answer
    if _repeatable(request) and not begun and not _drowned(request, ledger):
        return False
    return (
        request.number in ledger.cuts
        or record["reason"] == "timeout"
        or _drowned(request, ledger)
        or any(
            each.kind in CAUSES.get(record["reason"], ()) and each.target in servers and _near(each, request)
            for each in ledger.disturbances
        )
    )


def _repeatable(request: RequestSession) -> bool:
    return request.method in REPEATED and request.up <= KEPT_BODY


def _near(each: Disturbance, request: RequestSession) -> bool:
    assert request.ended is not None
    return each.began <= request.ended and request.began <= each.ended + SLACK


def _other_was_out(request: RequestSession, servers: Collection[str | None], ledger: Ledger) -> bool:
    return any(
        each.target not in servers and request.began - EJECTED <= each.ended and each.began <= (request.ended or 0)
        for each in ledger.disturbances
    )


def _drowned(request: RequestSession, ledger: Ledger) -> bool:
    """Return whether a reset after a later response on the same connection has discarded this one."""
    later = (
        each
        for each in ledger.sessions.values()
        if isinstance(each, RequestSession) and each.unserved and each.connection == request.connection
    )
    return any(ledger.records.get(each.number) for each in later)
