"""Listener filters: conditions that a client passes before a server is picked, such as a PROXY header or TLS handshake.

Plain listeners have none. With filters, a connection has its own task until it has passed them. Filters read only what
they need. The stream's bytes stay in the kernel, for the relay or the handshake.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import attrs
import trio

from lb.events import EndedBy, Reason
from lb.proxy.downstream import Downstream

__all__ = ["Admission", "Filter", "FilterChain", "FilterFailed"]


class FilterFailed(Exception):  # noqa: N818 - a client's error, not the program's
    """The client is refused, with the filter's reason. ``ended_by`` is "client" if the client disconnected."""

    def __init__(self, ended_by: EndedBy = "lb") -> None:
        super().__init__()
        self.ended_by: EndedBy = ended_by


class Filter(Protocol):
    """A listener filter. One object serves all connections of a listener."""

    @property
    def reason(self) -> Reason:
        """The reason in the log record when the filter fails or times out."""

    async def apply(self, downstream: Downstream) -> None:
        """Return when the client passes the filter. Raises FilterFailed.

        The call is cancelled when the timeout passes or the connection ends. An OSError of the client's socket means
        that the client is gone.
        """


class Admission(Protocol):
    """Admits or refuses the clients of a listener."""

    def begin(self, downstream: Downstream) -> None:
        """Admit the client (``start``, ``let_in``) or end the connection (``refuse``), now or later."""


@attrs.frozen
class FilterChain:
    """The filters of a listener, in order, with one ``timeout`` in seconds for all. Implements :class:`Admission`."""

    filters: Sequence[Filter]
    timeout: float

    def begin(self, downstream: Downstream) -> None:
        downstream.run_task(partial(self._run, downstream))

    async def _run(self, downstream: Downstream) -> None:
        reason = self.filters[0].reason
        ended_by: EndedBy = "lb"
        with trio.move_on_after(self.timeout):
            try:
                for each in self.filters:
                    reason = each.reason
                    await each.apply(downstream)
            except FilterFailed as failure:
                ended_by = failure.ended_by
            except OSError:
                ended_by = "client"
            else:
                downstream.let_in()
                return
        downstream.refuse(ended_by, reason)
