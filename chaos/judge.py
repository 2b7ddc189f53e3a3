"""The checks of a ledger. No I/O, so they are tested without a balancer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from chaos.http_judge import request_fate, request_violations
from chaos.ledger import ORDERLY_END, Disturbance, Ledger, RequestSession, Session

__all__ = ["LATE", "fates", "judge"]

LATE = 1.0
"""Seconds by which a session may have ended before the last record of its worker, and have its own after that.

An estimate: a busy worker may notice late that a client has reset its connection.
"""


def judge(ledger: Ledger) -> list[str]:
    """Return all violations, a line each."""
    violations = [f"wrong byte: {text}" for text in ledger.wrong]
    violations += ledger.broken
    for number in ledger.records.keys() - ledger.sessions.keys():
        violations.append(f"a record of an unknown client: {ledger.records[number][0]}")
    for session in ledger.sessions.values():
        violations += (f"session {session.number} ({session.kind}): {text}" for text in _violations(session, ledger))
    violations += (
        f"session {number}: cut, but its server saw an orderly end"
        for number in ledger.short
        if number in ledger.records or not _died_with_worker(ledger.sessions[number], ledger)
    )
    return violations


def fates(ledger: Ledger) -> Counter[str]:
    """Count the sessions per result."""
    return Counter(_fate(session, ledger) for session in ledger.sessions.values())


def _fate(session: Session, ledger: Ledger) -> str:
    if isinstance(session, RequestSession):
        return request_fate(session, ledger)
    if session.kind == "rude":
        return "reset by their clients"
    if session.kind == "refused":
        return "refused beyond a limit"
    if session.failure is None:
        return "answered"
    records = ledger.records.get(session.number)
    if not records:
        return "cut with a worker that died"
    if session.number in ledger.cuts:
        return "cut by a server on purpose"
    disturbance = _disturbance(session, records[0], ledger)
    return f"cut by server {disturbance.kind}" if disturbance else "lost"


def _violations(session: Session, ledger: Ledger) -> Iterator[str]:
    if session.ended is None:
        yield "it did not end"
        return
    if isinstance(session, RequestSession):
        yield from request_violations(session, ledger, with_worker=_died_with_worker(session, ledger))
        return
    records = ledger.records.get(session.number, [])
    if len(records) > 1:
        yield f"{len(records)} records: {records}"
    if not records:
        if not _died_with_worker(session, ledger):
            yield f"no record, and no worker died ({session.failure or 'it succeeded'})"
        return
    yield from _differences(session, records[0], ledger)


def _differences(session: Session, record: Mapping[str, Any], ledger: Ledger) -> Iterator[str]:
    """Yield the differences between the session of the client and its record."""
    cut = session.number in ledger.cuts
    if session.kind == "rude":
        if record["bytes_in"] > session.sent:
            yield f"{record['bytes_in']} bytes in, of {session.sent} sent"
    elif session.kind == "refused":
        if record["reason"] != "hold_timeout":
            yield f"served beyond the limit: {record}"
    elif session.failure is not None or record["reason"] != "eof":
        if cut and record["reason"] == "reset" and session.failure == ORDERLY_END:
            yield f"a reset by its server became an orderly end: {record}"
        elif not cut and _disturbance(session, record, ledger) is None:
            yield f"{session.failure or 'it succeeded'}; no disturbance explains it: {record}"
    elif (record["bytes_in"], record["bytes_out"]) != (session.sent, session.received):
        yield f"it sent {session.sent} bytes and received {session.received}: {record}"


def _disturbance(session: Session, record: Mapping[str, Any], ledger: Ledger) -> Disturbance | None:
    """Return the disturbance of the session's server, during the session, that explains the reason of the record."""
    kinds = {"server_removed": ("remove",), "server_down": ("down",), "reset": ("kill", "refuse"), "eof": ("kill",)}
    allowed = kinds.get(record["reason"], ())
    return next(
        (
            each
            for each in ledger.disturbances
            if each.kind in allowed and each.target == record["server"] and each.during(session)
        ),
        None,
    )


def _died_with_worker(session: Session, ledger: Ledger) -> bool:
    return any(each.kind == "death" and each.during(session, LATE) for each in ledger.disturbances)
