"""The ledger: all sessions with their results, all records of the balancer's log, all disturbances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from chaos.http_talk import FOREIGN, number_in

__all__ = ["ORDERLY_END", "Disturbance", "Ledger", "RequestSession", "Session", "number_of", "source_of"]

ORDERLY_END = "an orderly end too soon"
"""The failure of a session that ended without a reset."""
FIRST_SOURCE = (127 << 24) + (1 << 16)
"""127.1.0.0. Each session has its own address, which identifies its record."""


def source_of(number: int) -> str:
    """Return the source address of a session."""
    value = FIRST_SOURCE + number
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def number_of(client: str) -> int:
    """Return the session number of a record's ``client``."""
    value = 0
    for part in client.partition(":")[0].split("."):
        value = value << 8 | int(part)
    return value - FIRST_SOURCE


@attrs.define
class Session:
    """A session as its client sees it. Times are those of trio's clock, in seconds."""

    number: int
    kind: str
    began: float
    ended: float | None = None
    failure: str | None = None
    """Why it failed; None for success, and for a client that reset it on purpose."""
    sent: int = 0
    received: int = 0
    """Correct bytes."""


@attrs.define
class RequestSession(Session):
    """A request to the http listener. ``received`` counts the body of its response."""

    connection: int = 0
    """The number of its connection."""
    connected: float = 0.0
    """When its connection began."""
    method: str = "GET"
    up: int = 0
    """Bytes of its body."""
    chunked: bool = False
    status: int | None = None
    is_answer: bool = False
    """The response began, and is that of a server."""
    unserved: bool = False
    """The connection ended before its turn."""
    closed_before: bool = False
    """A response before it has closed the connection in order."""
    rude: bool = False
    """Its client resets the connection in the middle."""


@attrs.frozen
class Disturbance:
    """A cause of cut sessions: ``kill``, ``refuse``, ``freeze``, ``remove``, ``down`` of a server, or
    ``death`` of a worker.

    A death begins with the last record of the worker: it takes with it the records of what has ended since then.
    """

    kind: str
    target: str
    began: float
    ended: float

    def during(self, session: Session, after: float = 0.0) -> bool:
        """Return whether it happened during the session (of a request: its connection), or ``after`` seconds later."""
        assert session.ended is not None
        since = session.connected if isinstance(session, RequestSession) else session.began
        return self.began <= session.ended + after and since <= self.ended


@attrs.define
class Ledger:
    """All data that the judge checks."""

    sessions: dict[int, Session] = attrs.field(factory=dict)
    records: dict[int, list[Mapping[str, Any]]] = attrs.field(factory=dict)
    """``connection.closed`` and ``http.request`` lines, by number of the session."""
    disturbances: list[Disturbance] = attrs.field(factory=list)
    cuts: dict[int, str] = attrs.field(factory=dict)
    """Sessions that a server cut on purpose -> name of the server."""
    http_connections: int = 0
    """Connections of clients to the http listener."""
    busy: int = 0
    """Requests that servers have answered with 503."""
    short: list[int] = attrs.field(factory=list)
    """Sessions whose server saw an orderly end before the last byte."""
    wrong: list[str] = attrs.field(factory=list)
    """Wrong bytes, on either side."""
    broken: list[str] = attrs.field(factory=list)
    """Other violations: a fault in the log, a reload with the wrong verdict."""

    def begin(self, kind: str, now: float) -> Session:
        """Add and return the next session."""
        session = Session(len(self.sessions), kind, now)
        self.sessions[session.number] = session
        return session

    def begin_request(self, kind: str, now: float, connection: int, connected: float) -> RequestSession:
        """Add and return the next session, a request."""
        request = RequestSession(len(self.sessions), kind, now, connection=connection, connected=connected)
        self.sessions[request.number] = request
        return request

    def record(self, line: Mapping[str, Any]) -> None:
        """Add a ``connection.closed`` or ``http.request`` line."""
        number = number_of(line["client"]) if line["event"] == "connection.closed" else number_in(line["path"])
        if number != FOREIGN:
            self.records.setdefault(number, []).append(line)

    def unserved(self) -> set[int]:
        """Return the numbers of the requests that need no record."""
        return {
            each.number
            for each in self.sessions.values()
            if isinstance(each, RequestSession) and (each.unserved or each.rude)
        }

    def thawed(self, frozen: float, until: float) -> None:
        """A worker was frozen since then: it may be late to act on what it has not heard, that a server is down."""
        self.disturbances = [
            attrs.evolve(each, ended=max(each.ended, until)) if each.kind == "down" and each.ended >= frozen else each
            for each in self.disturbances
        ]

    def report(self, server: str, line: str) -> None:
        """Add a report of a server, see :mod:`chaos.server`."""
        kind, number, *text = line.split(maxsplit=2)
        if kind == "cut":
            self.cuts[int(number)] = server
        elif kind == "busy":
            self.busy += 1
        elif kind == "short":
            self.short.append(int(number))
        else:
            self.wrong.append(f"session {number}, at server {server}: {' '.join(text)}")
