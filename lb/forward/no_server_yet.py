"""What serves an exchange before any server has its request."""

from __future__ import annotations

import abc

from lb.events import Attempt
from lb.pools.backend import Backend

__all__ = ["NoServerYet"]


class NoServerYet(abc.ABC):
    """Implements :class:`lb.http.carrier.Upstream`."""

    used: Backend | None = None
    server_name_used: str | None = None
    last_activity = 0.0
    stuck = may_end_unfinished = done = False

    @property
    def backend(self) -> Backend | None:
        return None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return ()

    def let_go(self) -> None:  # noqa: B027 - there is nothing
        """No server's socket is relayed."""

    def server_removed(self) -> None:  # noqa: B027 - the same
        """No server is leased."""

    def server_down(self) -> None:  # noqa: B027 - the same
        """No server has the request."""

    @abc.abstractmethod
    def end(self) -> None: ...
