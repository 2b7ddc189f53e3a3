"""A client's connection, as its exchanges, its SOCKS negotiation and its tunnel see it."""

from __future__ import annotations

from collections.abc import Callable

from lb.events import EndedBy, Reason, TunnelClosed
from lb.forward.asked import Asked
from lb.forward.proxy_frontend import ProxyFrontend
from lb.http.client_connection import ClientConnection

__all__ = ["ForwardCarrier"]


class ForwardCarrier(ClientConnection):
    """A connection of mode ``forward``: its record says what the client has asked for."""

    __slots__ = ("asked",)
    frontend: ProxyFrontend
    asked: Asked | None
    """What the client has asked for last, if that was a tunnel."""

    def contained(self, step: Callable[[], None]) -> None:
        """Do a step that may find that the client is gone."""
        try:
            step()
        except OSError:
            self.lost("client", "reset")

    @property
    def is_ending(self) -> bool:
        """What the client still sends counts no more."""
        return self.closed or self._lingering

    def negotiated(self) -> None:
        """The client has asked for its target: the connect has a deadline of its own."""
        self._stop_reading_head()

    def end_with(self, data: bytes) -> None:
        """Send the last bytes, and end. Raises OSError."""
        if data:
            self.write(data)
        self._end_orderly("lb")

    def _report(self, ended_by: EndedBy, reason: Reason) -> None:
        asked = self.asked
        if asked is None:
            super()._report(ended_by, reason)
            return
        if asked.reason is not None:
            ended_by, reason = "lb", asked.reason
        self._context.sink(
            TunnelClosed(
                self.id,
                self.frontend.name,
                self.frontend.proxy.parents,
                None,
                self.client,
                asked.attempts,
                None,
                (self._context.clock() - self.accepted_at) * 1000,
                0,
                0,
                ended_by,
                reason,
                self.peer,
                None,
                asked.target,
                asked.user,
                asked.protocol,
            )
        )
