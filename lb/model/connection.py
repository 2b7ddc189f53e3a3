"""An open connection in the admin API, and the filter that selects connections."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

__all__ = ["ConnectionFilter", "LiveConnection", "LiveState"]

LiveState: TypeAlias = Literal["greeting", "connecting", "held", "open"]


@attrs.frozen
class LiveConnection:
    """An open connection."""

    id: int
    listener: str
    pool: str
    server: str | None
    client: str
    state: LiveState
    duration_ms: float
    bytes_in: int
    bytes_out: int


@attrs.frozen
class ConnectionFilter:
    """Selects the open connections that match all given fields, at most ``most`` of them."""

    id: int | None = None
    listener: str | None = None
    pool: str | None = None
    server: str | None = None
    client: str | None = None
    """A prefix of the client's address as text."""
    most: int = 100

    def fits(self, connection: LiveConnection) -> bool:
        return (
            self.id in (None, connection.id)
            and self.listener in (None, connection.listener)
            and self.pool in (None, connection.pool)
            and self.server in (None, connection.server)
            and (self.client is None or connection.client.startswith(self.client))
        )
