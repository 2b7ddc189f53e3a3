"""The record of a client's connection, whatever version of HTTP it has spoken."""

from __future__ import annotations

from typing import Protocol

from lb.events import EndedBy, HttpConnectionClosed, Reason
from lb.http.frontend import HttpFrontend
from lb.model.address import Client

__all__ = ["EndedConnection", "report_connection"]


class EndedConnection(Protocol):
    """A connection that has ended."""

    id: int
    client: Client
    accepted_at: float
    received: int
    sent: int
    frontend: HttpFrontend

    @property
    def peer(self) -> Client | None: ...


def report_connection(connection: EndedConnection, ended_by: EndedBy, reason: Reason) -> None:
    """Write the record, if somebody wants it."""
    frontend = connection.frontend
    if not frontend.records_connections:
        return
    context = frontend.context
    context.sink(
        HttpConnectionClosed(
            connection.id,
            frontend.name,
            "",
            None,
            connection.client,
            (),
            None,
            (context.clock() - connection.accepted_at) * 1000,
            connection.received,
            connection.sent,
            ended_by,
            reason,
            connection.peer,
        )
    )
