"""Whom a listener lets in: by address, and not too many or too fast from one source."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs

from lb.events import Reason
from lb.greeting import GreetingFailed
from lb.model import ListenerSpec
from lb.networks import IPAddress, address_of
from lb.sources import Sources

if TYPE_CHECKING:
    from lb.connection import Connection

__all__ = ["Access"]


@attrs.frozen
class Access:
    """Implements :class:`lb.greeting.Gate` for listeners that need nothing else, and :class:`lb.greeting.Step`."""

    spec: ListenerSpec
    sources: Sources
    clock: Callable[[], float] = time.monotonic
    """Seconds of a clock that all processes share."""

    @property
    def reason(self) -> Reason:
        return "denied"

    def begin(self, connection: Connection) -> None:
        if self._admits(connection):
            connection.start()
        else:
            connection.refuse("lb", "denied")

    async def hear(self, connection: Connection) -> None:
        if not self._admits(connection):
            raise GreetingFailed

    def _admits(self, connection: Connection) -> bool:
        spec = self.spec
        address = address_of(connection.client.host)
        if not spec.admits(address):
            return False
        return address is None or self._has_room(connection, address)

    def _has_room(self, connection: Connection, address: IPAddress) -> bool:
        """Whether its source may have one more connection, now; if so, it has it until the connection ends."""
        spec, sources = self.spec, self.sources
        if not (spec.max_per_source or spec.rate_per_source):
            return True
        cells = sources.cells(spec.name, address)
        if not sources.enter(cells, spec.max_per_source):
            return False
        if spec.rate_per_source and not sources.may_come(cells, spec.rate_per_source, self.clock()):
            sources.leave(cells)
            return False
        connection.leave_source = partial(sources.leave, cells)
        return True
