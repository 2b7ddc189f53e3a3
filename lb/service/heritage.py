"""What a balancer begins with: sockets that are open already, and what a process before it knew of the servers."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import attrs

from lb.carrier import Opened
from lb.service.given_sockets import GivenSockets
from lb.service.handover import Knowledge

__all__ = ["Heritage"]


async def _nothing() -> Knowledge:
    return Knowledge()


@attrs.frozen
class Heritage:
    opened: Opened = attrs.field(factory=dict)
    """By the listener and the address that they are for; they belong to the balancer."""
    given: GivenSockets = attrs.field(factory=GivenSockets)
    """Where listeners find what a service manager has opened."""
    admin: list[socket.socket] = attrs.field(factory=list)
    """Those of the admin endpoint."""
    knowledge: Callable[[], Awaitable[Knowledge]] = _nothing
    """Asked before anything is prepared, and again right before the first client is accepted."""
