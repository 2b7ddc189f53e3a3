"""What a listener hears from a client before a server is picked: a header, a handshake.

Plain listeners have no greeting; with one, a connection has a task of its own until it goes on. Nothing is read beyond
what the greeting needs: what belongs to the stream stays in the kernel, for the splicer or for the handshake.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from lb.events import EndedBy, Reason

if TYPE_CHECKING:
    from lb.connection import Connection

__all__ = ["Gate", "Greeting", "GreetingFailed", "Step"]


class GreetingFailed(Exception):  # noqa: N818 - what a client did, not an error of the program
    """The client is refused, with the step's reason. ``ended_by`` is "client" if it went away by itself."""

    def __init__(self, ended_by: EndedBy = "lb") -> None:
        super().__init__()
        self.ended_by: EndedBy = ended_by


class Step(Protocol):
    """One thing that has to be heard. One object serves all connections of a listener."""

    @property
    def reason(self) -> Reason:
        """What the record says of a connection whose step fails, or is late."""

    async def hear(self, connection: Connection) -> None:
        """Return when the connection may go on. Raises GreetingFailed.

        It is cancelled when time is up or the connection ends for another reason. OSError of the client's socket means
        that the client is gone.
        """


class Gate(Protocol):
    """What a client has to pass before a server is picked for it."""

    def begin(self, connection: Connection) -> None:
        """Let the connection go on (``greeted``) or end (``refuse``), now or later."""


@attrs.frozen
class Greeting:
    """The steps of a listener, in order, within ``timeout`` seconds for all. Implements :class:`Gate`."""

    steps: Sequence[Step]
    timeout: float

    def begin(self, connection: Connection) -> None:
        connection.in_task(partial(self._hear, connection))

    async def _hear(self, connection: Connection) -> None:
        reason = self.steps[0].reason
        ended_by: EndedBy = "lb"
        with trio.move_on_after(self.timeout):
            try:
                for step in self.steps:
                    reason = step.reason
                    await step.hear(connection)
            except GreetingFailed as failure:
                ended_by = failure.ended_by
            except OSError:
                ended_by = "client"
            else:
                connection.greeted()
                return
        connection.refuse(ended_by, reason)
