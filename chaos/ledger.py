"""The ledger: every session with what became of it, every record of the balancer's log, every deed of the storm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["ORDERLY_END", "Deed", "Ledger", "Session", "number_of", "source_of"]

ORDERLY_END = "an orderly end too soon"
"""The failure of a session that ended without a reset."""
FIRST_SOURCE = (127 << 24) + (1 << 16)
"""127.1.0.0: each session has an address of its own, so that its record cannot be anybody else's."""


def source_of(number: int) -> str:
    """The address that a session connects from."""
    value = FIRST_SOURCE + number
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def number_of(client: str) -> int:
    """The session of a record's ``client``."""
    value = 0
    for part in client.partition(":")[0].split("."):
        value = value << 8 | int(part)
    return value - FIRST_SOURCE


@attrs.define
class Session:
    """What its client knows. Times are those of trio's clock, seconds."""

    number: int
    kind: str
    began: float
    ended: float | None = None
    failure: str | None = None
    """Why it did not go well; None for one that did, and for a client that reset it on purpose."""
    sent: int = 0
    received: int = 0
    """Bytes, and the right ones."""


@attrs.frozen
class Deed:
    """Something that cuts sessions: ``kill``, ``refuse``, ``remove``, ``down`` of a server, ``death`` of a worker."""

    kind: str
    target: str
    began: float
    ended: float

    def during(self, session: Session, after: float = 0.0) -> bool:
        """Whether it happened while the session lived, or up to so many seconds after."""
        assert session.ended is not None
        return self.began <= session.ended + after and session.began <= self.ended


@attrs.define
class Ledger:
    """Everything, for the judge."""

    sessions: dict[int, Session] = attrs.field(factory=dict)
    records: dict[int, list[Mapping[str, Any]]] = attrs.field(factory=dict)
    """``connection.closed`` lines, by the number of the session."""
    deeds: list[Deed] = attrs.field(factory=list)
    cuts: dict[int, str] = attrs.field(factory=dict)
    """Sessions that a server cut on purpose, and which one did."""
    short: list[int] = attrs.field(factory=list)
    """Sessions of which a server saw an orderly end before the last byte."""
    wrong: list[str] = attrs.field(factory=list)
    """Wrong bytes, wherever they were seen."""
    broken: list[str] = attrs.field(factory=list)
    """Whatever else must not be: a fault in the log, a reload with the wrong verdict."""

    def begin(self, kind: str, now: float) -> Session:
        """The next session."""
        session = Session(len(self.sessions), kind, now)
        self.sessions[session.number] = session
        return session

    def record(self, line: Mapping[str, Any]) -> None:
        self.records.setdefault(number_of(line["client"]), []).append(line)

    def report(self, server: str, line: str) -> None:
        """What a server says; see :mod:`chaos.server`."""
        kind, number, *text = line.split(maxsplit=2)
        if kind == "cut":
            self.cuts[int(number)] = server
        elif kind == "short":
            self.short.append(int(number))
        else:
            self.wrong.append(f"session {number}, at server {server}: {' '.join(text)}")
