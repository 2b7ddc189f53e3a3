"""The verdict over a ledger. Pure: what must hold is said here, and tested without a balancer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from chaos.ledger import ORDERLY_END, Deed, Ledger, Session

__all__ = ["LATE", "fates", "judge"]

LATE = 1.0
"""Seconds between the end of a session and its line in the log, within which a worker that dies takes the line along.

A guess: the lines of a worker gather for 20 ms.
"""


def judge(ledger: Ledger) -> list[str]:
    """Everything that must not be, one line each, by name."""
    complaints = [f"wrong byte: {text}" for text in ledger.wrong]
    complaints += ledger.broken
    for number in ledger.records.keys() - ledger.sessions.keys():
        complaints.append(f"a record of a client that there was not: {ledger.records[number][0]}")
    for session in ledger.sessions.values():
        complaints += (f"session {session.number} ({session.kind}): {text}" for text in _complaints(session, ledger))
    complaints += (
        f"session {number}: cut, but its server saw an orderly end"
        for number in ledger.short
        if number in ledger.records or not _died_with_worker(ledger.sessions[number], ledger)
    )
    return complaints


def fates(ledger: Ledger) -> Counter[str]:
    """How many sessions had which fate."""
    return Counter(_fate(session, ledger) for session in ledger.sessions.values())


def _fate(session: Session, ledger: Ledger) -> str:
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
        return "cut by a server that failed to order"
    deed = _deed(session, records[0], ledger)
    return f"cut by the {deed.kind} of a server" if deed else "lost"


def _complaints(session: Session, ledger: Ledger) -> Iterator[str]:
    if session.ended is None:
        yield "it never ended"
        return
    records = ledger.records.get(session.number, [])
    if len(records) > 1:
        yield f"{len(records)} records: {records}"
    if not records:
        if not _died_with_worker(session, ledger):
            yield f"no record, and no worker has died ({session.failure or 'it went well'})"
        return
    yield from _differences(session, records[0], ledger)


def _differences(session: Session, record: Mapping[str, Any], ledger: Ledger) -> Iterator[str]:
    """Between what the client saw and what the record says."""
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
        elif not cut and _deed(session, record, ledger) is None:
            yield f"{session.failure or 'it went well'}; nothing was done to it: {record}"
    elif (record["bytes_in"], record["bytes_out"]) != (session.sent, session.received):
        yield f"it sent {session.sent} bytes and received {session.received}: {record}"


def _deed(session: Session, record: Mapping[str, Any], ledger: Ledger) -> Deed | None:
    """What was done to the server that it was joined to, while it lived, and is a reason for the record's reason."""
    kinds = {"server_removed": ("remove",), "server_down": ("down",), "reset": ("kill", "refuse"), "eof": ("kill",)}
    allowed = kinds.get(record["reason"], ())
    return next(
        (
            deed
            for deed in ledger.deeds
            if deed.kind in allowed and deed.target == record["server"] and deed.during(session)
        ),
        None,
    )


def _died_with_worker(session: Session, ledger: Ledger) -> bool:
    return any(deed.kind == "death" and deed.during(session, LATE) for deed in ledger.deeds)
