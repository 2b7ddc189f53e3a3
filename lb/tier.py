"""The servers of a pool that stand on one level, primaries or backups, and the strategy that chooses among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet

import attrs

from lb.address import Client
from lb.backend import Backend
from lb.model import Server
from lb.pacing import Pacing, gaps
from strategies.base import Strategy, View

__all__ = ["Tier"]


class Tier:
    """Keeps a strategy informed, and a plug-in's bugs away from the connection that met them: ``fault`` hears of each.

    A server that is leaving or has weight 0 is no member: the strategy does not know it.
    """

    def __init__(self, strategy: Strategy, fault: Callable[[Exception], None]) -> None:
        self.strategy = strategy
        self._fault = fault
        self._pacing: Pacing | None = None
        """Only while a server ramps."""

    def use(self, strategy: Strategy, built: object, members: Sequence[Backend]) -> None:
        """Take a strategy, or the same one again, for this list; ``built`` is what it made for it."""
        self.strategy = strategy
        if self._pacing is not None:
            self._pacing.keep(members)
        try:
            strategy.use(members, built)
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not leave a reload half done
            self._fault(exception)
        for backend in members:
            self.refresh(backend)

    # Choosing

    @property
    def has_any(self) -> bool:
        """A server could be picked."""
        held = self._pacing.held if self._pacing is not None else ()
        return bool(self.strategy.available) or any(backend.available for backend in held)

    def pick(self, client: Client, tried: Collection[Server]) -> Backend | None:
        """The strategy's answer; one that fails or answers nonsense has none."""
        if self._pacing is not None:
            return self._pick_paced(self._pacing, client, tried)
        return self._ask(client, tried)

    def _pick_paced(self, pacing: Pacing, client: Client, tried: Collection[Server]) -> Backend | None:
        pacing.free_those_due()
        backend = self._ask(client, tried)
        if backend is None and pacing.held:
            pacing.free_all()
            backend = self._ask(client, tried)
        if backend is not None:
            pacing.picked(backend)
        return backend

    def _ask(self, client: Client, tried: Collection[Server]) -> Backend | None:
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
        chosen = self._ask(client, tried)
        for backend in asked:
            self._tell(strategy.disable, backend)
        return chosen

    # Explaining

    @property
    def held_back(self) -> set[Backend]:
        """Members that a pick would pass over because they ramp, if there is another one."""
        return self._pacing.held_at_next_pick if self._pacing is not None else set()

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:
        """What the strategy would go by; one that fails, or tells nonsense, does not tell."""
        try:
            view = self.strategy.explain(client, candidates)
            figures = {server: {name: +figure for name, figure in seen.items()} for server, seen in view.order}
            return attrs.evolve(view, order=tuple(figures.items()))
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not reach the connection that met it
            self._fault(exception)
            return View("unknown", ())

    # What the strategy has to know

    def refresh(self, backend: Backend) -> None:
        """Whether this member may be chosen."""
        held = self._pacing is not None and backend in self._pacing.held
        self._tell(self.strategy.enable if backend.available and not held else self.strategy.disable, backend)

    def disable(self, backend: Backend) -> None:
        """This member leaves."""
        self._tell(self.strategy.disable, backend)

    def load_changed(self, backend: Backend) -> None:
        """A lease on this member was taken or given back."""
        self._tell(self.strategy.load_changed, backend)

    def share_changed(self, backend: Backend) -> None:
        """This member wants another share of its weight."""
        self._tell(self.strategy.share_changed, backend)

    def pace(self, *, ramping: bool) -> None:
        """Members may have come farther, as their ``ramp`` says; or nobody is ``ramping`` any more."""
        wanted = {}
        if ramping and self.strategy.paced:
            servers = self.strategy.servers
            wanted = gaps([server for server in servers if isinstance(server, Backend) and server.available])
        if wanted and self._pacing is None:
            self._pacing = Pacing(self.refresh)
        if self._pacing is not None:
            self._pacing.use(wanted)
            if not wanted:
                self._pacing = None

    def _tell(self, hook: Callable[[Server], None], backend: Backend) -> None:
        try:
            hook(backend)
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not reach the connection that met it
            self._fault(exception)
