"""What a client has asked a forward proxy for, and what became of it, as records have it."""

from __future__ import annotations

from collections.abc import Mapping

from lb.events import Attempt, Reason, RequestReason, TunnelProtocol

__all__ = ["Asked"]

_REASONS: Mapping[RequestReason, Reason] = {
    "denied_target": "denied_target",
    "resolve_failed": "resolve_failed",
    "connect_failed": "connect_failed",
    "no_server": "no_server",
    "auth": "auth",
    "bad_request": "bad_request",
}


class Asked:
    """What a client has asked a forward proxy for, as records have it."""

    __slots__ = ("attempts", "protocol", "reason", "target", "user")

    def __init__(self, protocol: TunnelProtocol, target: str, user: str | None) -> None:
        self.protocol: TunnelProtocol = protocol
        self.target = target
        self.user = user
        self.reason: Reason | None = None
        """Why it got no tunnel."""
        self.attempts: tuple[Attempt, ...] = ()
        """The connects that have failed then."""

    def failed_with(self, reason: RequestReason, attempts: tuple[Attempt, ...] = ()) -> None:
        """There is no tunnel. Reasons that connections do not have are those of their end."""
        self.reason, self.attempts = _REASONS.get(reason), attempts
