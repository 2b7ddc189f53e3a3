"""Listener filters: conditions that a client passes before a server is picked, such as a PROXY header or TLS handshake.

Plain listeners have none. Filters read only what they need. The stream's bytes stay in the kernel, for the relay or the
next filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import attrs

from lb.events import EndedBy, Reason
from lb.net.deadlines import DeadlineQueue
from lb.proxy.downstream import Downstream

__all__ = ["Admission", "Filter", "FilterChain", "FilterFailed", "FilterRun"]


class FilterFailed(Exception):  # noqa: N818 - a client's error, not the program's
    """The client is refused, with the filter's reason. ``ended_by`` is "client" if the client disconnected."""

    def __init__(self, ended_by: EndedBy = "lb") -> None:
        super().__init__()
        self.ended_by: EndedBy = ended_by


class FilterRun(Protocol):
    """A filter at work on one client, whose bytes it needs. See :class:`lb.relay.splicer.Handshake`."""

    @property
    def costly(self) -> bool: ...

    @property
    def writing(self) -> bool: ...

    @property
    def unread(self) -> int: ...

    def proceed(self) -> bool:
        """Continue: the socket may be ready. Return True when the client passes, False if the socket would block.

        Raises FilterFailed. An OSError of the client's socket means that the client is gone.
        """

    def time_over(self) -> bool:
        """The client's time is over. Return True if it may pass nevertheless: the next ``proceed`` lets it."""


class Filter(Protocol):
    """A listener filter. One object serves all connections of a listener."""

    @property
    def reason(self) -> Reason:
        """The reason in the log record when the filter fails or times out."""

    def begin(self, downstream: Downstream) -> FilterRun | None:
        """Filter a client. Return None if it passes at once, without a byte from it. Raises FilterFailed."""


class Admission(Protocol):
    """Admits or refuses the clients of a listener."""

    def begin(self, downstream: Downstream) -> None:
        """Admit the client (``start``, ``let_in``) or end the connection (``refuse``), now or later."""


@attrs.frozen
class FilterChain:
    """The filters of a listener, in order. Implements :class:`Admission`.

    ``deadlines`` is the queue with the timeout of a client's whole way through the chain.
    """

    filters: Sequence[Filter]
    deadlines: DeadlineQueue

    def begin(self, downstream: Downstream) -> None:
        filtering = _Filtering(self, downstream)
        if not filtering.advance():
            self.deadlines.enter(filtering, downstream.accepted_at)
            downstream.on_close(partial(self.deadlines.discard, filtering))
            downstream.handshake(filtering)


class _Filtering:
    """A client on its way through the filters. Implements :class:`lb.relay.splicer.Handshake`."""

    __slots__ = ("_deadlines", "_downstream", "_filters", "_reason", "_run", "unread")
    _reason: Reason

    def __init__(self, chain: FilterChain, downstream: Downstream) -> None:
        self._deadlines = chain.deadlines
        self._filters = iter(chain.filters)
        self._downstream = downstream
        self._run: FilterRun | None = None
        """The filter that needs bytes of the client."""
        self.unread = 0

    @property
    def costly(self) -> bool:
        return self._run is not None and self._run.costly

    @property
    def writing(self) -> bool:
        return self._run is not None and self._run.writing

    def proceed(self) -> bool:
        """Let the filters proceed. The next costly one waits for its turn."""
        while True:
            run = self._run
            assert run is not None  # noqa: S101 - the splicer has taken over because there is one
            try:
                passed = run.proceed()
            except FilterFailed as failure:
                return self._refuse(failure.ended_by)
            except OSError:
                return self._refuse("client")
            self.unread = run.unread
            if not passed:
                return False
            if self.advance():
                return True
            self.unread = 0  # the next filter has seen none of the bytes
            if self.costly:
                return False

    def advance(self) -> bool:
        """Begin the next filters, until one needs bytes. Return True if the client is let in or refused."""
        try:
            for each in self._filters:
                self._reason = each.reason
                self._run = each.begin(self._downstream)
                if self._run is not None:
                    return False
        except FilterFailed as failure:
            return self._refuse(failure.ended_by)
        self._deadlines.discard(self)
        self._downstream.let_in()
        return True

    def expired(self, queue: DeadlineQueue) -> None:  # noqa: ARG002 - there is only one queue
        """The client has not passed in time."""
        if self._run is not None and self._run.time_over():
            self._downstream.wake_handshake()
        else:
            self._downstream.refuse("lb", self._reason)

    def _refuse(self, ended_by: EndedBy) -> bool:
        self._deadlines.discard(self)
        self._downstream.refuse(ended_by, self._reason)
        return True

    def failed(self) -> None:
        self._deadlines.discard(self)
        self._downstream.failed()
