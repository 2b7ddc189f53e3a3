"""The servers of a pool that stand on one level, primaries or backups, and the strategy that chooses among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from lb.address import Client
from lb.backend import Backend
from lb.model import Server
from strategies.base import Strategy

__all__ = ["Tier"]


class Tier:
    """Keeps a strategy informed, and a plug-in's bugs away from the connection that met them: ``fault`` hears of each.

    A server that is leaving or has weight 0 is no member: the strategy does not know it.
    """

    def __init__(self, strategy: Strategy, fault: Callable[[Exception], None]) -> None:
        self.strategy = strategy
        self._fault = fault

    def use(self, strategy: Strategy, built: object, members: Sequence[Backend]) -> None:
        """Take a strategy, or the same one again, for this list; ``built`` is what it made for it."""
        self.strategy = strategy
        try:
            strategy.use(members, built)
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not leave a reload half done
            self._fault(exception)
        for backend in members:
            self.refresh(backend)

    # Choosing

    def pick(self, client: Client, tried: Collection[Server]) -> Backend | None:
        """The strategy's answer; one that fails or answers nonsense has none."""
        strategy = self.strategy
        if not strategy.available:
            return None
        try:
            server = strategy.pick(client, tried)
            if server is None:
                return None
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must cost no more than this pick
            self._fault(exception)
            return None
        if not isinstance(server, Backend) or server not in strategy.available or server in tried:
            self._fault(ValueError(f"it chose {server!r}, which is not available"))
            return None
        return server

    def pick_any(self, client: Client, tried: Collection[Server]) -> Backend | None:
        """Health aside: the strategy chooses among all that are open to new connections.

        Dear with many servers, and rare: it is asked only when nothing else is left.
        """
        strategy = self.strategy
        unhealthy = [server for server in strategy.servers if isinstance(server, Backend) and not server.available]
        asked = [backend for backend in unhealthy if backend.open_to_new]
        for backend in asked:
            self._tell(strategy.enable, backend)
        chosen = self.pick(client, tried)
        for backend in asked:
            self._tell(strategy.disable, backend)
        return chosen

    # What the strategy has to know

    def refresh(self, backend: Backend) -> None:
        """Whether this member may be chosen."""
        self._tell(self.strategy.enable if backend.available else self.strategy.disable, backend)

    def disable(self, backend: Backend) -> None:
        """This member leaves."""
        self._tell(self.strategy.disable, backend)

    def load_changed(self, backend: Backend) -> None:
        """A lease on this member was taken or given back."""
        self._tell(self.strategy.load_changed, backend)

    def share_changed(self, backend: Backend) -> None:
        """This member wants another share of its weight."""
        self._tell(self.strategy.share_changed, backend)

    def _tell(self, hook: Callable[[Server], None], backend: Backend) -> None:
        try:
            hook(backend)
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not reach the connection that met it
            self._fault(exception)
